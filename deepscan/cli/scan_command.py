"""The command line of `scan`: options and inputs of a new or resumed run, and the command that resumes it."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import typer

from deepscan.errors import UsageError
from deepscan.models.choice import NO_MODEL
from deepscan.scanning.manifest import is_table, table_rows
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.paths import ScanInputs, ScanPaths, absolute_input, collect, open_list, require_exists
from deepscan.scanning.resume import resumed_inputs, resumed_options
from deepscan.scanning.run_folder import RUN

#: Means a list on stdin.
STDIN = "-"


def names_a_run(named: Sequence[str]) -> bool:
    """Return whether the only path is that of a run, as in `scan --resume FILE.jsonl`."""
    if len(named) == 1 and os.path.isfile(os.path.join(named[0], RUN)):
        return True
    if len(named) != 1 or Path(named[0]).suffix not in (".jsonl", ".csv"):
        return False
    return ScanOutput(Path(named[0])).run.is_file()


def scan_options(
    values: Mapping[str, Any], context: typer.Context, earlier: Mapping[str, Any] | None
) -> ScanOptions:
    """Return the parameters of a scan: from the command line, or from the run that it resumes.

    Args:
        values: Parameters by their names in `ScanOptions`; those not on the command line have their defaults.
        context: Tells which are on the command line.
        earlier: The run file of the run to resume; None for a new run.

    Raises:
        ContractError: A parameter on the command line differs from the run's.
    """
    if earlier is None:
        return ScanOptions(**values)
    # `model` and `also` come from the same option.
    typed = {
        name: value
        for name, value in values.items()
        if (source := context.get_parameter_source("model" if name == "also" else name))
        and source.name == "COMMANDLINE"
    }
    return resumed_options(earlier, typed)


def require_verdicts(verdicts: Sequence[str], options: ScanOptions) -> None:
    """Check that a scan gives verdicts if `--fail-on` waits for some.

    Raises:
        UsageError: It only finds faces.
    """
    if verdicts and options.model == NO_MODEL:
        raise UsageError(
            "--fail-on needs verdicts, and --model none gives none", "name a model, or leave --fail-on out"
        )


def given_inputs(named: Sequence[str], lists: Sequence[str], *, null: bool) -> ScanInputs:
    """Return the inputs on a command line.

    Args:
        named: Files, folders and addresses; `-` means a list on stdin.
        lists: Files that list paths, and manifests.
        null: Whether paths in lists are separated by NUL bytes.

    Raises:
        UsageError: A path does not exist, or nothing is separated by NUL bytes.
    """
    for name in named:
        if name != STDIN:
            require_exists(name)
    folder = ""
    with suppress(FileNotFoundError):
        folder = os.getcwd()
    given = ScanInputs(
        tuple(absolute_input(name) for name in named if name != STDIN),
        tuple(absolute_input(name) for name in lists),
        STDIN in named,
        null,
        folder,
    )
    if null and not (given.stdin or any(not is_table(name) for name in given.lists)):
        raise UsageError("--null needs a list of paths", f"add {STDIN} (a list on stdin) or --from-list FILE")
    return given


def scan_inputs(
    named: Sequence[str],
    lists: Sequence[str],
    output: ScanOutput,
    earlier: Mapping[str, Any] | None,
    *,
    null: bool,
) -> ScanInputs:
    """Return the inputs of a scan: from the command line, or from the run that it resumes.

    Args:
        named: Files and folders; `-` means a list on stdin.
        lists: Files that list paths.
        output: Output of the scan.
        earlier: The run file of the run to resume; None for a new run.
        null: Whether paths in lists are separated by NUL bytes.

    Raises:
        UsageError: Nothing is named, a path does not exist, or the run read its list from stdin.
    """
    given = given_inputs(named, lists, null=null)
    if earlier is None:
        if not given and output.resume:
            raise UsageError(
                f"no run to resume at {output.out}", "check the name, or name videos to start a new run"
            )
        if not given:
            raise UsageError("no video to scan", f"name a video or folder, or {STDIN} for a list on stdin")
        return given
    kept = resumed_inputs(earlier)
    # The list on stdin is not stored in the run, and must be given again; other inputs are stored.
    if given.stdin and kept.stdin and not (given.named or given.lists):
        return replace(kept, null=null or kept.null)
    if given:
        return given
    if kept.stdin:
        raise UsageError(
            "the run read its list of videos from stdin, which is not stored",
            f"pipe the same list in again: ... | {resume_command(output, kept)}",
        )
    if not kept:
        raise UsageError(
            "the run file does not list the inputs of the run", "name its videos, folders or lists again"
        )
    return kept


def find_videos(inputs: ScanInputs) -> ScanPaths:
    """Return the files to scan.

    Raises:
        UsageError: A path does not exist, or a list cannot be read.
    """
    tables = [name for name in inputs.lists if is_table(name)]
    lists: list[BinaryIO] = [open_list(name) for name in inputs.lists if not is_table(name)]
    if inputs.stdin:
        if sys.stdin is None:
            raise UsageError(
                f"{STDIN} reads a list from stdin, but stdin is closed",
                "pipe a list in, or use --from-list FILE",
            )
        lists.append(sys.stdin.buffer)
    found = collect(inputs.named, lists, null=inputs.null, folder=inputs.folder)
    for name in tables:
        for row in table_rows(name, inputs.folder):
            found.add_row(row)
    return found


def resume_hint(output: ScanOutput, inputs: ScanInputs, options: Sequence[str]) -> str:
    """Return the hint for a scan that was interrupted.

    Args:
        output: Output of the scan.
        inputs: Inputs of the scan.
        options: Its command-line options that the run file does not store.
    """
    if output.out is None:
        return "nothing was saved; with --out FILE, you can resume a scan"
    if not output.run.exists():
        return "no video was started: repeat the command"
    command = resume_command(output, inputs, options)
    if inputs.stdin:
        return f"to resume, pipe the same list in again: ... | {command}"
    return f"to resume: {command}"


def resume_command(output: ScanOutput, inputs: ScanInputs, options: Sequence[str] = ()) -> str:
    """Return the command that resumes a run, quoted for a shell."""
    words = [*program_words(), "scan", "--resume", "--out", str(output.out), *options]
    if inputs.stdin:
        words += ["--null", STDIN] if inputs.null else [STDIN]
    return shlex.join(words)


def program_words() -> list[str]:
    """Return the words that start this program."""
    path = sys.argv[0] or "deepscan"
    if Path(path).name == "__main__.py":
        return [Path(sys.executable).name if _on_path(sys.executable) else sys.executable, "-m", "deepscan"]
    return [Path(path).name if _on_path(path) else path]


def _on_path(program: str) -> bool:
    found = shutil.which(Path(program).name)
    return found is not None and os.path.abspath(found) == os.path.abspath(program)
