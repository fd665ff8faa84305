"""`-q` and `-v`, which mean the same for every command that has them."""

import logging
import subprocess
import sys

import pytest
import typer

from deepscan.cli.app import build
from deepscan.cli.command import log_to_stderr
from deepscan.errors import ExitCode
from tests import awkward
from tests.command import SAMPLES, deepscan

GROUP = typer.main.get_command(build())
LONG = (
    "scan",
    "report",
    "verify",
    "prepare",
    "train",
    "eval",
    "calibrate",
    "analyse",
    "export",
    "bench",
    "doctor",
)
CLIP = SAMPLES / "real_hopper.mp4"


@pytest.mark.parametrize("name", LONG)
def test_every_command_that_may_take_long_has_both_options(name):
    options = {option for param in GROUP.commands[name].params for option in param.opts}
    assert {"-q", "--quiet", "-v", "--verbose"} <= options


@pytest.mark.parametrize(
    ("verbose", "shown"),
    [
        (0, ["error: bad"]),
        (1, ["plain", "warning: careful", "error: bad"]),
        (2, ["debug: detail", "plain", "warning: careful", "error: bad"]),
        (3, ["debug: detail", "plain", "warning: careful", "error: bad"]),
    ],
)
def test_the_log_has_plain_lines_of_the_chosen_levels(verbose, shown, capsys):
    logger = logging.getLogger("deepscan.some.module")
    with log_to_stderr(verbose):
        logger.debug("detail")
        logger.info("pl%s", "ain")
        logger.warning("careful")
        logger.error("bad")
    assert capsys.readouterr().err.splitlines() == shown


def test_the_handler_is_removed_with_the_command(capsys):
    logger = logging.getLogger("deepscan")
    before = (list(logger.handlers), logger.level)
    with pytest.raises(RuntimeError), log_to_stderr(2):
        raise RuntimeError
    assert (logger.handlers, logger.level) == before


def test_a_control_character_does_not_reach_the_terminal(capsys):
    with log_to_stderr(1):
        logging.getLogger("deepscan").info("clip\x1b[2J.mp4\nerror: forged")
    err = capsys.readouterr().err
    assert "\x1b" not in err and err.count("\n") == 1


def test_quiet_leaves_only_the_records(tmp_path):
    empty = awkward.empty(tmp_path / "empty.mp4")
    ran = deepscan("scan", CLIP, empty, "--model", "none", "--frames", "2", "-q")
    assert (ran.code, ran.err, len(ran.records)) == (ExitCode.SOME_FAILED, "", 2)


def test_quiet_still_shows_errors():
    error, _ = deepscan("scan", "nowhere.mp4", "-q").refused(ExitCode.USAGE)
    assert "nowhere.mp4" in error


def test_quiet_and_verbose_exclude_each_other():
    error, _ = deepscan("scan", CLIP, "-q", "-v").refused(ExitCode.USAGE)
    assert "--quiet" in error and "--verbose" in error


def test_the_api_stays_silent():
    code = "import deepscan, logging; logging.getLogger('deepscan').info('x'); print('done')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("done\n", "")
