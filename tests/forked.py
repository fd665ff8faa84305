"""Run `deepscan` in a process forked from a server that has already imported the modules of commands.

This saves a second or more per command. Otherwise it is the same: a separate process with its own streams.
"""

import atexit
import multiprocessing
import multiprocessing.context
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Environment variables that no import reads.
READ_LATE = {"COLUMNS"}


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


_INITIAL = _environment()


def can_fork(changes: Mapping[str, str]) -> bool:
    """Return whether a command may be forked: imports have read the environment, so it must be the same."""
    return set(changes) <= READ_LATE and _environment() == _INITIAL


def run(
    arguments: Sequence[str | bytes | Path],
    stdin: bytes,
    cwd: Path | None,
    changes: Mapping[str, str],
    limit: int,
) -> tuple[int, bytes, bytes]:
    """Run a command until it ends.

    Args:
        arguments: The command-line arguments.
        stdin: Its standard input.
        cwd: Its working directory; None for the current one.
        changes: Environment variables to set.
        limit: Seconds after which it is killed.

    Returns:
        Exit code, stdout and stderr.

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    command = [os.fsdecode(argument) for argument in arguments]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded", __name__])
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("in", "out", "err")]
        streams[0].write_bytes(stdin)
        child_arguments = (command, streams, cwd or Path.cwd(), {**os.environ, **changes})
        process = context.Process(target=_run_main, args=child_arguments)
        process.start()
        process.join(limit)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(command, limit)
        return process.exitcode, streams[1].read_bytes(), streams[2].read_bytes()


def _run_main(
    arguments: Sequence[str], streams: Sequence[Path], cwd: Path, environment: Mapping[str, str]
) -> None:
    """Set streams, working directory and environment, and run as `python -m deepscan`."""
    for number, path in enumerate(streams):
        file = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    # As Python opens streams that are not a terminal.
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    from deepscan import __main__ as main_module

    sys.argv = [str(main_module.__file__), *arguments]
    # The help derives the command's name from the main module.
    sys.modules["__main__"] = main_module
    try:
        main_module.main()
    finally:
        # They remove temporary folders, and do not run when a forked process ends.
        atexit._run_exitfuncs()
