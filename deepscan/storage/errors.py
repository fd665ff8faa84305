"""One error for everything that stores and web servers answer, and retries where waiting helps."""

import random
import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

from deepscan.errors import DeepscanError, MissingError, UsageError, first_line
from deepscan.logs import get_logger
from deepscan.storage.address import scheme_of

LOG = get_logger(__name__)
_Result = TypeVar("_Result")
Problem: TypeAlias = Literal[
    "missing",
    "no_bucket",
    "forbidden",
    "changed",
    "exists",
    "credentials",
    "busy",
    "unreachable",
    "truncated",
    "no_space",
    "unsupported",
    "failed",
]
#: Code of an S3 error, or HTTP status -> the problem.
_CODES: dict[str, Problem] = {
    **dict.fromkeys(("NoSuchKey", "404", "410", "NoSuchVersion"), "missing"),
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName", "AllAccessDisabled"), "no_bucket"),
    **dict.fromkeys(("AccessDenied", "403", "AccountProblem", "InvalidObjectState"), "forbidden"),
    **dict.fromkeys(("PreconditionFailed", "412"), "changed"),
    **dict.fromkeys(("NotImplemented", "501"), "unsupported"),
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidAccessKeyId",
            "InvalidToken",
            "SignatureDoesNotMatch",
            "RequestTimeTooSkewed",
            "RequestExpired",
            "TokenRefreshRequired",
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "AuthorizationHeaderMalformed",
            "401",
        ),
        "credentials",
    ),
    **dict.fromkeys(
        (
            "SlowDown",
            "ServiceUnavailable",
            "InternalError",
            "RequestTimeout",
            "Throttling",
            "ThrottlingException",
            "TooManyRequests",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "OperationAborted",
            "ConditionalRequestConflict",
            *("408", "409", "429", "500", "502", "503", "504"),
        ),
        "busy",
    ),
}
#: Name of an exception's class -> the problem, and its description. The packages of some may be missing.
_CLASSES: dict[str, tuple[Problem, str]] = {
    **dict.fromkeys(
        (
            "NoCredentialsError",
            "PartialCredentialsError",
            "CredentialRetrievalError",
            "TokenRetrievalError",
            "SSOError",
            "ProfileNotFound",
            "DefaultCredentialsError",
            "RefreshError",
            "ClientAuthenticationError",
        ),
        ("credentials", "no valid credentials: {}"),
    ),
    **dict.fromkeys(
        ("ClientPayloadError", "IncompleteRead", "ResponseStreamingError", "ContentLengthError"),
        ("truncated", "its body ended early"),
    ),
    **dict.fromkeys(
        ("FSTimeoutError", "ServerTimeoutError", "ConnectTimeoutError", "ReadTimeoutError", "TimeoutError"),
        ("unreachable", "the server does not answer: {}"),
    ),
    **dict.fromkeys(
        ("ConnectionError", "ClientConnectionError", "HTTPClientError", "gaierror"),
        ("unreachable", "the server cannot be reached: {}"),
    ),
    "FlexibleChecksumError": ("truncated", "its body does not match the checksum of the store"),
    "TooManyRedirects": ("failed", "it redirects too often"),
    "FileNotFoundError": ("missing", "the object does not exist"),
    "FileExistsError": ("exists", "the object exists already"),
    "PermissionError": ("forbidden", "no permission to read it"),
}
#: Problems that may pass.
_PASSING = ("busy", "unreachable", "truncated")
#: Most attempts where a body ends early.
_TRUNCATED_ATTEMPTS = 3
#: Seconds: the first pause, the longest pause, and the total after which an operation is given up.
FIRST_PAUSE, LONGEST_PAUSE, GIVE_UP = 0.25, 20.0, 120.0
#: The total for web servers, of which a list may name many that no longer exist; and for a store that has not
#: answered before, because its endpoint is probably wrong.
GIVE_UP_WEB, FIRST_CONTACT = 30.0, 10.0


class ObjectError(Exception):
    """An object or its store cannot be read or written.

    Args:
        problem: What is wrong.
        detail: One line for people, which does not name the object.
    """

    def __init__(self, problem: Problem, detail: str) -> None:
        super().__init__(problem, detail)
        self.problem, self.detail = problem, detail

    def __str__(self) -> str:
        return self.detail

    @property
    def may_pass(self) -> bool:
        """Whether it helps to wait and try again."""
        return self.problem in _PASSING

    def ends_run(self, address: str) -> bool:
        """Return whether all objects of the store are affected, so that a scan must end.

        A store that does not answer is; a web server is only one of many in a list.
        """
        store = scheme_of(address) not in ("http", "https")
        return store and self.problem in ("no_bucket", "credentials", "unreachable")

    def of_run(self, address: str) -> DeepscanError:
        """Return the error that ends a command because of this problem with `address`."""
        message = f"{address!r} cannot be read: {self.detail}"
        if self.problem in ("busy", "unreachable"):
            return MissingError(message, "check the network and the endpoint, then repeat the command")
        hints: dict[str, str] = {
            "credentials": "check or renew the credentials, for example with: aws sts get-caller-identity",
            "no_bucket": "check the name of the bucket, and AWS_ENDPOINT_URL if it is not in AWS",
            "forbidden": "check which objects these credentials may list and read",
            "missing": "check the address",
        }
        return UsageError(message, hints.get(self.problem, "check the address"))


def object_error(error: BaseException) -> ObjectError:
    """Return what fsspec, botocore or aiohttp have raised, as one error."""
    if isinstance(error, ObjectError):
        return error
    code, text = _code_of(error), first_line(error)
    if code == "PreconditionFailed" and isinstance(error, FileExistsError):
        return ObjectError("exists", "the object exists already")
    if code in _CODES:
        return ObjectError(_CODES[code], _words(_CODES[code], code, text))
    for kind in type(error).__mro__:
        if kind.__name__ in _CLASSES:
            problem, words = _CLASSES[kind.__name__]
            return ObjectError(problem, words.format(text))
    return ObjectError("failed", f"{type(error).__name__}: {text}")


class Backoff:
    """How long to wait before an operation is tried again: exponential, with jitter.

    With jitter, many workers that a store has turned away together do not come back together.

    Args:
        limit: Seconds after which to give up.
        unreachable: The same for a server that cannot be reached.
        clock: Returns the time in seconds.
        jitter: Returns random numbers in [0, 1).
    """

    def __init__(
        self,
        limit: float = GIVE_UP,
        unreachable: float = GIVE_UP,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._limit, self._unreachable = limit, min(unreachable, limit)
        self._clock, self._jitter = clock, jitter
        self._began, self._pause, self._attempts = clock(), FIRST_PAUSE, 0

    def pause(self, failure: ObjectError) -> float | None:
        """Return the seconds to wait after a failure, None if the operation must be given up."""
        self._attempts += 1
        limit = self._unreachable if failure.problem == "unreachable" else self._limit
        if not failure.may_pass or self._clock() - self._began >= limit:
            return None
        if failure.problem == "truncated" and self._attempts >= _TRUNCATED_ATTEMPTS:
            return None
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause * (0.5 + 0.5 * self._jitter())


def retrying(
    call: Callable[[], _Result],
    *,
    limit: float = GIVE_UP,
    unreachable: float = GIVE_UP,
    sleep: Callable[[float], Any] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    jitter: Callable[[], float] = random.random,
) -> _Result:
    """Return the result of a call that is repeated while a store is busy or unreachable.

    Args:
        call: Raises what fsspec raises, or `ObjectError`.
        limit: As for `Backoff`.
        unreachable: As for `Backoff`.
        sleep: Waits for seconds.
        clock: As for `Backoff`.
        jitter: As for `Backoff`.

    Raises:
        ObjectError: It failed, after the retries if these could help.
    """
    backoff = Backoff(limit, unreachable, clock=clock, jitter=jitter)
    while True:
        try:
            return call()
        except Exception as error:
            failure = object_error(error)
            pause = backoff.pause(failure)
            if pause is None:
                raise failure from error
        LOG.info("%s; trying again in %.1f s", failure.detail, pause)
        sleep(pause)


def _code_of(error: BaseException) -> str | None:
    """Return the code of an S3 error or the HTTP status, None if it has none."""
    for each in (error, error.__cause__, error.__context__):
        response = getattr(each, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code"))
        status = getattr(each, "status", None) or getattr(each, "status_code", None)
        if isinstance(status, int):
            return str(status)
    return None


def _words(problem: Problem, code: str, text: str) -> str:
    words = {
        "missing": "the object does not exist",
        "no_bucket": f"the bucket does not exist ({code})",
        "forbidden": "no permission to read it, or it does not exist",
        "changed": "it has changed since it was listed",
        "credentials": f"the credentials are not accepted ({code})",
        "busy": f"the store is too busy ({code})",
        "unsupported": f"the store does not support this request ({code})",
    }
    if code == "InvalidObjectState":
        return "it is archived, and must be restored before it can be read"
    return words.get(problem, text)
