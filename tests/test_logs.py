"""Logging: nothing on the terminal unless an application asks for it, and then what a user wants to know."""

from tests.command import run_python

WARN = "from deepscan.logs import get_logger as g; g('deepscan.media.pool').warning('a decoder was killed')"


def test_without_a_handler_nothing_is_printed():
    ran = run_python("-c", WARN)
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_a_handler_of_the_application_gets_the_lines():
    ran = run_python("-c", f"import logging; logging.basicConfig(); {WARN}")
    assert ran.err == "WARNING:deepscan.media.pool:a decoder was killed\n"


def test_importing_twice_adds_one_handler():
    code = "from deepscan.logs import get_logger as g; g('deepscan.a'); g('deepscan.b'); import logging"
    ran = run_python("-c", f"{code}; print(len(logging.getLogger('deepscan').handlers))")
    assert ran.out == "1\n", ran.err
