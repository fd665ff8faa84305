"""What stores and web servers answer, as one error, and the retries."""

import socket
from types import SimpleNamespace

import pytest

from deepscan.errors import ExitCode, MissingError, UsageError
from deepscan.storage.errors import GIVE_UP, LONGEST_PAUSE, ObjectError, object_error, retrying

botocore = pytest.importorskip("botocore.exceptions")
aiohttp = pytest.importorskip("aiohttp")


def of_s3(code):
    """Return the error that s3fs raises for a code: its own, with botocore's as the cause."""
    from s3fs.errors import translate_boto_error

    error = botocore.ClientError({"Error": {"Code": code, "Message": "words"}}, "GetObject")
    try:
        raise translate_boto_error(error)
    except Exception as translated:
        return translated


REQUEST = SimpleNamespace(real_url="https://example.org/k")


def of_web(status):
    return aiohttp.ClientResponseError(REQUEST, (), status=status, message="words")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (of_s3("NoSuchKey"), "missing"),
        (of_s3("404"), "missing"),
        (of_s3("NoSuchBucket"), "no_bucket"),
        (of_s3("AccessDenied"), "forbidden"),
        (of_s3("InvalidObjectState"), "forbidden"),
        (of_s3("PreconditionFailed"), "changed"),
        (of_s3("ExpiredToken"), "credentials"),
        (of_s3("InvalidAccessKeyId"), "credentials"),
        (of_s3("SignatureDoesNotMatch"), "credentials"),
        (of_s3("SlowDown"), "busy"),
        (of_s3("503"), "busy"),
        (of_s3("InternalError"), "busy"),
        (of_s3("MalformedXML"), "failed"),
        (botocore.NoCredentialsError(), "credentials"),
        (botocore.PartialCredentialsError(provider="env", cred_var="secret"), "credentials"),
        (botocore.EndpointConnectionError(endpoint_url="http://nowhere"), "unreachable"),
        (botocore.ConnectTimeoutError(endpoint_url="http://nowhere"), "unreachable"),
        (botocore.ReadTimeoutError(endpoint_url="http://nowhere"), "unreachable"),
        (of_web(404), "missing"),
        (of_web(403), "forbidden"),
        (of_web(401), "credentials"),
        (of_web(412), "changed"),
        (of_web(429), "busy"),
        (of_web(503), "busy"),
        (of_web(418), "failed"),
        (aiohttp.ClientPayloadError("short"), "truncated"),
        (aiohttp.ServerDisconnectedError(), "unreachable"),
        (aiohttp.ServerTimeoutError(), "unreachable"),
        (aiohttp.TooManyRedirects(REQUEST, (), status=302), "failed"),
        (FileNotFoundError("k"), "missing"),
        (PermissionError("k"), "forbidden"),
        (TimeoutError(), "unreachable"),
        (ConnectionResetError(), "unreachable"),
        (socket.gaierror(-2, "Name or service not known"), "unreachable"),
        (RuntimeError("odd\nthing"), "failed"),
    ],
)
def test_every_answer_has_its_problem_and_one_line(error, problem):
    failure = object_error(error)
    assert failure.problem == problem
    assert failure.detail
    assert "\n" not in failure.detail


def test_an_error_of_ours_stays_as_it_is():
    failure = ObjectError("changed", "words")
    assert object_error(failure) is failure


@pytest.mark.parametrize(
    ("problem", "kind", "code"),
    [
        ("credentials", UsageError, ExitCode.USAGE),
        ("no_bucket", UsageError, ExitCode.USAGE),
        ("unreachable", MissingError, ExitCode.MISSING),
    ],
)
def test_what_concerns_a_whole_store_ends_the_run(problem, kind, code):
    failure = ObjectError(problem, "words")
    assert failure.ends_run("s3://b/k")
    assert not failure.ends_run("https://example.org/k"), "a list may name many servers"
    error = failure.of_run("s3://b/k")
    assert isinstance(error, kind)
    assert (error.exit_code, "words" in error.message, bool(error.hint)) == (code, True, True)


@pytest.mark.parametrize("problem", ["missing", "forbidden", "changed", "busy", "truncated", "no_space"])
def test_what_concerns_one_object_does_not_end_the_run(problem):
    assert not ObjectError(problem, "words").ends_run("s3://b/k")


class Time:
    """A clock that advances only while somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


def attempt(outcomes, **options):
    """Retry a call with these outcomes in turn; return the result or error, and the time."""
    time, left = Time(), iter(outcomes)

    def call():
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    try:
        result = retrying(call, sleep=time.sleep, clock=time.clock, **options)
    except ObjectError as failure:
        result = failure
    return result, time


def test_a_busy_store_is_asked_again_with_growing_pauses():
    result, time = attempt([of_s3("SlowDown")] * 5 + ["done"], jitter=lambda: 1.0)
    assert result == "done"
    assert time.slept == [0.25, 0.5, 1, 2, 4]


def test_a_store_that_stays_busy_is_given_up_after_two_minutes():
    result, time = attempt([of_s3("503")] * 1000, jitter=lambda: 1.0)
    assert result.problem == "busy"
    assert GIVE_UP <= time.now < GIVE_UP + LONGEST_PAUSE
    assert max(time.slept) == LONGEST_PAUSE
    assert len(time.slept) < 20


def test_pauses_are_spread_so_that_workers_do_not_return_together():
    shortest, longest = (
        attempt([of_s3("503")] * 9 + ["done"], jitter=jitter)[1].slept
        for jitter in (lambda: 0.0, lambda: 1.0)
    )
    assert shortest == [pause / 2 for pause in longest]


def test_a_store_that_was_never_reached_is_given_up_sooner_than_a_busy_one():
    result, time = attempt([ConnectionRefusedError()] * 99, unreachable=10)
    assert result.problem == "unreachable"
    assert time.now < 10 + LONGEST_PAUSE
    assert attempt([of_s3("503")] * 99, unreachable=10)[1].now >= GIVE_UP


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied", "ExpiredToken", "NoSuchBucket"])
def test_what_does_not_pass_is_not_tried_again(code):
    result, time = attempt([of_s3(code)] * 2)
    assert isinstance(result, ObjectError)
    assert time.slept == []


def test_a_body_that_always_ends_early_is_given_up_soon():
    result, time = attempt([aiohttp.ClientPayloadError("short")] * 10)
    assert result.problem == "truncated"
    assert len(time.slept) == 2
