"""The exit codes of each command: one table for the help, the tests and the documentation."""

from collections.abc import Mapping

from deepscan.errors import ExitCode

#: Codes that every command may return, with their meaning.
COMMON: Mapping[ExitCode, str] = {
    ExitCode.OK: "success",
    ExitCode.INTERNAL: "internal error, or the output cannot be written",
    ExitCode.USAGE: "wrong usage, or a file or folder does not exist",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.UNREAD: "the program reading the output has ended",
    ExitCode.TERMINATED: "terminated",
}

_NO_MODEL_OR_DEVICE = "a package, device or model is missing"
_NO_DATA = "a package, device, model or data set is missing"
_BAD_MODEL = "a model does not match its card (hash or golden score)"
_BAD_CARD = "a model does not match its card, or the card is damaged"

#: Command -> the codes that it adds, or whose meaning it narrows.
COMMAND_CODES: Mapping[str, Mapping[ExitCode, str]] = {
    "": {
        ExitCode.SOME_FAILED: "some inputs failed, or could not be checked",
        ExitCode.CONTRACT: "mismatch: a hash, a golden score, or the options of a resumed run",
        ExitCode.MISSING: "a package, device, model or data set is missing",
        ExitCode.FOUND_FAKE: "a video was called fake, with scan --fail-on fake",
    },
    "scan": {
        ExitCode.OK: "every video was processed",
        ExitCode.INTERNAL: "internal error, output cannot be written, or a run has wrong parts",
        ExitCode.SOME_FAILED: "some videos failed; each record has the reason",
        ExitCode.CONTRACT: "a model does not match its card, or the command does not match the run",
        ExitCode.MISSING: _NO_MODEL_OR_DEVICE,
        ExitCode.FOUND_FAKE: "a video was called fake, with --fail-on fake",
    },
    "report": {
        ExitCode.OK: "the page is complete",
        ExitCode.SOME_FAILED: "the run file, records of a run folder, or pictures are missing",
        ExitCode.CONTRACT: "records or run file changed after the scan; the page says so",
    },
    "verify": {
        ExitCode.OK: "everything matches",
        ExitCode.SOME_FAILED: "no mismatch, but something could not be checked",
        ExitCode.CONTRACT: "something does not match",
    },
    "compact": {
        ExitCode.OK: "the file has a record for each video of the run",
        ExitCode.INTERNAL: "the run is not complete, or the file cannot be written",
        ExitCode.SOME_FAILED: "with --partial: the run is not complete",
        ExitCode.CONTRACT: "the run is of another version, or was changed after it ended",
        ExitCode.MISSING: "a package is missing",
    },
    "prepare": {
        ExitCode.OK: "every video was processed",
        ExitCode.SOME_FAILED: "some videos failed; DATASET.videos.jsonl has the reasons",
        ExitCode.CONTRACT: "--out was prepared with other options",
        ExitCode.MISSING: _NO_DATA,
    },
    "train": {
        ExitCode.CONTRACT: "--resume does not match the run, or the export differs from torch",
        ExitCode.MISSING: _NO_DATA,
    },
    "eval": {
        ExitCode.CONTRACT: "a model does not match its card, or --out holds another evaluation",
        ExitCode.MISSING: _NO_DATA,
    },
    "calibrate": {
        ExitCode.CONTRACT: "a model does not match its card, or --out holds another evaluation",
        ExitCode.MISSING: _NO_DATA,
    },
    "analyse": {ExitCode.CONTRACT: _BAD_MODEL, ExitCode.MISSING: _NO_DATA},
    "compare": {},
    "tables": {},
    "export": {
        ExitCode.CONTRACT: "a model does not match its card, or the export differs from torch",
        ExitCode.MISSING: _NO_DATA,
    },
    "bench": {ExitCode.CONTRACT: _BAD_MODEL, ExitCode.MISSING: _NO_MODEL_OR_DEVICE},
    "doctor": {
        ExitCode.OK: "scan works here",
        ExitCode.CONTRACT: _BAD_CARD,
        ExitCode.MISSING: "a package or model that scan needs is missing",
    },
    "version": {},
    "models": {},
    "models list": {},
    "models info": {},
    "models pull": {
        ExitCode.CONTRACT: "the file is not the expected one, or cannot be used",
        ExitCode.MISSING: "a package is missing, or the file cannot be downloaded",
    },
    "models import": {
        ExitCode.CONTRACT: "the file is not the expected one, or cannot be used",
        ExitCode.MISSING: "a package or the backbone is missing",
    },
    "models verify": {
        ExitCode.OK: "every file matches",
        ExitCode.CONTRACT: "a file does not match",
        ExitCode.MISSING: "a file is missing, or a model is not installed",
    },
    "models remove": {ExitCode.CONTRACT: "the list of known hashes is damaged"},
}


def codes_of(command: str) -> dict[ExitCode, str]:
    """Return the exit codes of a command with their meanings, in numerical order.

    Args:
        command: Its name, such as `scan` or `models pull`; empty for `deepscan` itself.
    """
    return dict(sorted({**COMMON, **COMMAND_CODES.get(command, {})}.items()))


def epilog(command: str) -> str:
    """Return the list of exit codes that ends a command's help."""
    lines = [f"{code:>5}  {meaning}" for code, meaning in codes_of(command).items()]
    return "\n".join(["Exit codes:", *lines])
