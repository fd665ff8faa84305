"""Resuming an interrupted run: its own parameters and inputs, which records stand, which videos are left."""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from deepscan.cards import CARD
from deepscan.errors import ContractError
from deepscan.media.decoders import AUTO
from deepscan.outcomes import Status
from deepscan.scanning.journal import JournalEntry
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.paths import ScanInputs
from deepscan.scanning.runfile import FREE_PARAMETERS, typed_option


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """What a resumed run keeps and what it does.

    Attributes:
        kept: Records that stand, those of videos that this command line does not name included.
        todo: Paths that are left to scan.
    """

    kept: tuple[JournalEntry, ...]
    todo: tuple[bytes, ...]


def resumed_options(run: Mapping[str, Any], given: Mapping[str, Any]) -> ScanOptions:
    """Return the parameters that a run was begun with.

    Args:
        run: The run's record.
        given: Parameters that are given again, by their names in `ScanOptions`.

    Raises:
        ContractError: One of these differs.
        UsageError: The run's record has what this version does not know.
    """
    stated = run.get("parameters") or {}
    names = [each.name for each in fields(ScanOptions) if each.name != "quality"]
    kept = {"model": AUTO, "also": (), **{name: stated[name] for name in names if name in stated}}
    kept |= {
        "model": _found_again(kept["model"], run),
        "also": tuple(_found_again(name, run) for name in kept["also"]),
    }
    differing = [
        f"{typed_option(name)} {_shown(kept[name])}, not {_shown(value)}"
        for name, value in given.items()
        if name not in FREE_PARAMETERS and name in kept and kept[name] != value
    ]
    if differing:
        raise ContractError(
            f"the run was begun with {'; '.join(differing)}",
            "leave the options out: --resume takes those of the run",
        )
    # A model that is named is not one more.
    return ScanOptions(**{**kept, **({"also": ()} if "model" in given else {}), **given})


def resumed_inputs(run: Mapping[str, Any]) -> ScanInputs:
    """Return what the sessions of a run were given to scan, all together; nothing where that is not kept."""
    told = [ScanInputs.from_json(each["inputs"]) for each in run.get("sessions", ()) if each.get("inputs")]
    return ScanInputs(
        named=tuple(dict.fromkeys(name for each in told for name in each.named)),
        lists=tuple(dict.fromkeys(name for each in told for name in each.lists)),
        stdin=any(each.stdin for each in told),
        null=any(each.null for each in told),
        folder=told[0].folder if told else "",
    )


def _shown(value: object) -> str:
    """Return the value of a parameter as it is typed, or whether a switch is on."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _found_again(model: str, run: Mapping[str, Any]) -> str:
    """Return the name of a model, or its folder where the run's first session had it."""
    sessions = run.get("sessions") or [{}]
    folder = Path(sessions[0].get("folder") or ".") / model
    return str(folder) if (folder / CARD).is_file() else model


def plan(
    paths: Sequence[bytes], recorded: Iterable[JournalEntry], retry: Collection[Status] = ()
) -> ResumePlan:
    """Hold a journal against the files as they are now.

    A record stands while its file has the SHA-256 that it states. One without a SHA-256 (no permission, a
    name that leads nowhere) stands while there is no file to be read there.

    Args:
        paths: The files that the command line means.
        recorded: The journal's entries; of several for one path the last counts.
        retry: Statuses whose videos are scanned again.
    """
    known = {os.path.realpath(entry.path): entry for entry in recorded}
    wanted = {os.path.realpath(path): path for path in paths}
    again = [key for key in wanted if key in known and known[key].status not in retry]
    # Hashing leaves the interpreter free, so that threads read several files at once.
    with ThreadPoolExecutor() as threads:
        stood = threads.map(lambda key: _unchanged(key, known[key]), again)
        standing = {key for key, same in zip(again, stood, strict=True) if same}
    return ResumePlan(
        kept=tuple(entry for key, entry in known.items() if key in standing or key not in wanted),
        todo=tuple(path for key, path in wanted.items() if key not in standing),
    )


def _unchanged(path: bytes, entry: JournalEntry) -> bool:
    # Only a regular file is ever opened: reading a named pipe would wait for ever.
    readable = os.path.isfile(path) and os.access(path, os.R_OK)
    if entry.sha256 is None:
        return not readable
    try:
        if not readable or os.path.getsize(path) != entry.size:
            return False
        with open(path, "rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256)
    except OSError:
        # Gone or broken meanwhile: the scan will say how.
        return False
