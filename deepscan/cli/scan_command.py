"""What a command line of `scan` means, alone or for a run that was begun, and the one that resumes it."""

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
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.paths import ScanInputs, ScanPaths, collect, open_list, require_exists
from deepscan.scanning.resume import resumed_inputs, resumed_options

#: Stands for a list on stdin.
STDIN = "-"


def names_a_run(named: Sequence[str]) -> bool:
    """Return whether what is to be scanned is a run's file, as in `scan --resume FILE.jsonl`."""
    if len(named) != 1 or Path(named[0]).suffix not in (".jsonl", ".csv"):
        return False
    return ScanOutput(Path(named[0])).run.is_file()


def scan_options(
    values: Mapping[str, Any], context: typer.Context, earlier: Mapping[str, Any] | None
) -> ScanOptions:
    """Return the parameters of a scan: those of the command line, or of the run that it resumes.

    Args:
        values: Parameters by their names in `ScanOptions`, those that were not typed with their defaults.
        context: Knows which were typed.
        earlier: The record of the run to resume, None for a new one.

    Raises:
        ContractError: One that was typed is not that of the run.
    """
    if earlier is None:
        return ScanOptions(**values)
    # Several models are one option.
    typed = {
        name: value
        for name, value in values.items()
        if (source := context.get_parameter_source("model" if name == "also" else name))
        and source.name == "COMMANDLINE"
    }
    return resumed_options(earlier, typed)


def scan_inputs(
    named: Sequence[str],
    lists: Sequence[str],
    output: ScanOutput,
    earlier: Mapping[str, Any] | None,
    *,
    null: bool,
) -> ScanInputs:
    """Return what is to be scanned: what is named, or what the run to resume was given.

    Args:
        named: Files and folders, `-` for a list on stdin.
        lists: Files with lists.
        output: Where the records go.
        earlier: The record of the run to resume, None for a new one.
        null: Whether the lists are separated by NUL bytes.

    Raises:
        UsageError: Nothing is named, something is not there, or the run had a list that is not kept.
    """
    for name in named:
        if name != STDIN:
            require_exists(name)
    folder = ""
    with suppress(FileNotFoundError):
        folder = os.getcwd()
    given = ScanInputs(
        tuple(os.path.abspath(name) for name in named if name != STDIN),
        tuple(os.path.abspath(name) for name in lists),
        STDIN in named,
        null,
        folder,
    )
    if null and not (given.lists or given.stdin):
        raise UsageError("--null needs a list", f"add {STDIN} or --from-list FILE")
    if earlier is None:
        if not given and output.resume:
            raise UsageError(
                f"there is no run to resume at {output.out}", "check the name; or name videos to begin a run"
            )
        if not given:
            raise UsageError("no video to scan", f"name a video or a folder, or {STDIN} for a list on stdin")
        return given
    kept = resumed_inputs(earlier)
    # The list that is not kept is given once more; what else the run was given is.
    if given.stdin and kept.stdin and not (given.named or given.lists):
        return replace(kept, null=null or kept.null)
    if given:
        return given
    if kept.stdin:
        raise UsageError(
            "the run's list of videos came on stdin, which is not kept",
            f"pipe the list in again: ... | {resume_command(output, kept)}",
        )
    if not kept:
        raise UsageError(
            "the run does not say what it was given to scan", "name its videos, folders or lists again"
        )
    return kept


def find_videos(inputs: ScanInputs) -> ScanPaths:
    """Return the files that are to be scanned.

    Raises:
        UsageError: Something is not there, or a list cannot be read.
    """
    lists: list[BinaryIO] = [open_list(name) for name in inputs.lists]
    if inputs.stdin:
        if sys.stdin is None:
            raise UsageError(
                f"{STDIN} reads a list from stdin, which is closed",
                "pipe a list into it, or use --from-list",
            )
        lists.append(sys.stdin.buffer)
    return collect(inputs.named, lists, null=inputs.null, folder=inputs.folder)


def resume_hint(output: ScanOutput, inputs: ScanInputs, options: Sequence[str]) -> str:
    """Return what to say of a scan that was interrupted.

    Args:
        output: Where its records are.
        inputs: What it was given.
        options: What it was given that no run keeps, as it is typed.
    """
    if output.out is None:
        return "nothing was kept: with --out FILE, a scan can be resumed"
    if not output.run.exists():
        return "no video was begun: repeat the command"
    command = resume_command(output, inputs, options)
    if inputs.stdin:
        return f"to resume, pipe the same list in again: ... | {command}"
    return f"to resume: {command}"


def resume_command(output: ScanOutput, inputs: ScanInputs, options: Sequence[str] = ()) -> str:
    """Return the command that resumes a run, quoted for a shell."""
    words = [*_program(), "scan", "--resume", "--out", str(output.out), *options]
    if inputs.stdin:
        words += ["--null", STDIN] if inputs.null else [STDIN]
    return shlex.join(words)


def _program() -> list[str]:
    """Return what this program was started with."""
    path = sys.argv[0] or "deepscan"
    if Path(path).name == "__main__.py":
        return [Path(sys.executable).name if _on_path(sys.executable) else sys.executable, "-m", "deepscan"]
    return [Path(path).name if _on_path(path) else path]


def _on_path(program: str) -> bool:
    found = shutil.which(Path(program).name)
    return found is not None and os.path.abspath(found) == os.path.abspath(program)
