"""Run the command as a user does: in its own process, with its own streams."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepscan.cli.exit_codes import COMMAND_CODES, codes_of
from tests import forked

SAMPLES = Path(__file__).parent.parent / "sample_videos"
#: In seconds; for a command that hangs, not a slow one: `bench` has taken 86 s on a busy machine.
LIMIT = 300


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error_lines(self) -> list[str]:
        """The error and hint lines on stderr."""
        return [line for line in self.err.splitlines() if line.startswith(("error:", "hint:"))]

    def refused(self, code: int) -> list[str]:
        """Assert that it failed with this code, one `error:` line and one `hint:` line; return both.

        Other notes are allowed, but stdout must be empty, and there must be no traceback and no box.
        """
        assert self.code == code, self.err
        assert [line.split(":")[0] for line in self.error_lines] == ["error", "hint"], self.err
        assert self.out == "", self.out
        assert "Traceback" not in self.err
        assert "╭" not in self.err
        return self.error_lines


def run_python(
    *arguments: str | bytes | Path,
    stdin: bytes = b"",
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
    **env: str,
) -> Ran:
    """Run Python with these arguments, such as `-c` and code, until it ends."""
    finished = subprocess.run(
        [*prefix, sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **env},
        timeout=LIMIT,
        check=False,
    )
    return Ran(finished.returncode, finished.stdout.decode(), finished.stderr.decode())


def deepscan(
    *arguments: str | bytes | Path,
    stdin: bytes = b"",
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
    **env: str,
) -> Ran:
    """Run `deepscan` with these arguments until it ends, and check that its help lists the exit code.

    Args:
        *arguments: The command-line arguments.
        stdin: Its standard input.
        cwd: Its working directory; None for the current one.
        prefix: A command that runs it, such as `setpriv` with options.
        **env: Environment variables to set.
    """
    if prefix or not forked.can_fork(env):
        ran = run_python("-m", "deepscan", *arguments, stdin=stdin, cwd=cwd, prefix=prefix, **env)
    else:
        code, out, err = forked.run(arguments, stdin, cwd, env, LIMIT)
        ran = Ran(code, out.decode(), err.decode())
    command = " ".join(map(str, arguments[:2]))
    names = [name for name in (command, command.split(" ")[0], "") if name in COMMAND_CODES]
    assert ran.code in codes_of(names[0]), f"{command} ended with {ran.code}, which its help does not list"
    return ran


def start(*arguments: str | Path, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start `deepscan` and leave it running; Ctrl-C reaches it even if the tests run in the background."""
    command = [*prefix, sys.executable, "-m", "deepscan", *map(str, arguments)]
    imports = "import os, signal, sys"
    code = f"{imports}; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(process: subprocess.Popen[bytes], path: Path, lines: int = 1) -> None:
    """Wait until a running command has written a number of lines to a file.

    Args:
        process: The command.
        path: The file.
        lines: Number of lines; 0 to wait for the file only.
    """
    while not (path.exists() and path.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes], journal: Path, lines: int) -> int:
    """Kill a command when it has written a number of lines, append half a line, and return the complete ones.

    Nothing is appended if a scan ended before it was killed: its journal would rightly count as changed.

    Args:
        process: The command.
        journal: The file it writes to.
        lines: Number of lines to wait for.
    """
    wait_for(process, journal, lines)
    process.kill()
    process.communicate(timeout=30)
    finished = journal.read_bytes().count(b"\n")
    run = journal.with_suffix(".run.json")
    if run.exists() and json.loads(run.read_text(encoding="ascii"))["records"] is not None:
        return finished
    with journal.open("ab") as file:
        file.write(b'{"schema":1,"path":"torn')
    return finished


def without_privileges() -> list[str]:
    """Return a prefix for a command with which file permissions apply to it, even if the tests run as root.

    Raises:
        RuntimeError: The tests run as root on a system without `setpriv`.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise RuntimeError(
            "as root this test needs setpriv (util-linux); install it, or run as a normal user"
        )
    drop = "-dac_override,-dac_read_search"
    return [setpriv, f"--inh-caps={drop}", f"--bounding-set={drop}"]


def journal(path: Path) -> dict[str, dict]:
    """Return the records of a journal by path, and assert that no path has two."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    by_path = {record["path"]: record for record in records}
    assert len(by_path) == len(records), "a path has several records"
    return by_path
