"""Whether a scan's records, videos, pictures and models are what they were when the scan ended."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from deepscan.cards import sha256_of
from deepscan.errors import ContractError, ExitCode
from deepscan.scanning import runfile
from deepscan.scanning.journal import read_journal
from deepscan.scanning.model_check import Finding, check_model, run_detectors, run_models
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.paths import place_of
from deepscan.scanning.picture_check import check_picture, folder_gone, strange_pictures
from deepscan.scanning.picture_folder import PictureFolder
from deepscan.scanning.recomputation import JudgingRules, differences
from deepscan.scanning.record_lines import recorded_path
from deepscan.scanning.writers import WRITERS

#: Progress callback: `records` or `videos`, how many bytes of them were read, and how many there are.
OnBytesRead = Callable[[str, int, int], None]

#: What is said of a video that is not where it was.
NOT_THERE = "the video is not there"
_CHUNK = 1 << 20
#: Errors of records and runs that are not as this version writes them.
_ODD = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)
#: Exit codes of scans that came to their end.
_WHOLE = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FOUND_FAKE)


@dataclass(slots=True)
class Verification:
    """What was checked and what was found.

    Attributes:
        run: The run's record, empty where it is not there.
        findings: What does not match or could not be checked, in the order of the records.
        checked: What was checked -> how many of them match, and how many there are.
    """

    run: Mapping[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    checked: dict[str, tuple[int, int]] = field(default_factory=dict)

    def count(self, what: str, found: Sequence[Finding]) -> None:
        """Take note of what was found of one thing that was checked."""
        good, total = self.checked.get(what, (0, 0))
        self.checked[what] = good + (not found), total + 1
        self.findings += found

    @property
    def exit_code(self) -> ExitCode:
        """0 if all matches, 4 if something does not, 3 if something could not be checked."""
        kinds = {finding.kind for finding in self.findings}
        if "mismatch" in kinds:
            return ExitCode.CONTRACT
        return ExitCode.SOME_FAILED if kinds else ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Input:
    """A video as its record states it."""

    path: bytes
    shown: str
    sha256: str
    changed: bool


def verify_run(
    records: Path,
    *,
    root: Path | None = None,
    models: Sequence[Path] = (),
    on_progress: OnBytesRead | None = None,
) -> Verification:
    """Check the records of a scan: the file itself, each score and verdict, the models and the videos.

    Args:
        records: The journal, with `*.run.json` beside it.
        root: Folder that the videos are in now: of each recorded path the longest end that is there counts.
            None for the paths as they are recorded.
        models: Folders of models that are elsewhere than they were.
        on_progress: Called while records and videos are read.

    Raises:
        ContractError: The records or the run's file cannot be read at all.
    """
    result = Verification()
    file = ScanOutput(records).run
    if file.exists():
        result.run = runfile.read(file)
        if runfile.OWN_HASH in result.run:
            result.count("run's file", list(_runs_file(result.run, file)))
        result.count("records file", list(_records_file(result.run, records)))
    else:
        meaning = "It states thresholds, models and the hash of the records: none of these could be checked."
        result.count("run's file", [Finding("missing", file.name, "the run's file", meaning=meaning)])
    rules = _rules(result)
    inputs: list[_Input] = []
    paths: set[bytes] = set()
    pictures: list[tuple[str, Mapping[str, Any]]] = []
    size = records.stat().st_size
    for offset, line, record in read_journal(records):
        if on_progress is not None:
            on_progress("records", offset + len(line), size)
        found = list(_record(record, result.run, rules))
        if (path := recorded_path(record)) in paths:
            meaning = "A scan writes one: this one was added later, or copied."
            found.append(
                Finding("mismatch", record["path"], "records of this video", "1", "another one", meaning)
            )
        if rules is not None or found:
            result.count("scores, verdicts", found)
        if path not in paths and isinstance(record.get("sha256"), str):
            changed = record["status"] == "changed"
            inputs.append(_Input(path, record["path"], record["sha256"], changed))
        paths.add(path)
        pictures += ((record["path"], each) for each in _pictures_of(record))
    _check_pictures(result, pictures, ScanOutput(records).pictures)
    if (table := records.with_suffix(".csv")) and _made_table(result.run, table):
        result.count("table", list(_table(records, table)))
    try:
        for name, model in run_models(result.run).items():
            result.count("models", list(check_model(name, model, result.run, models)))
    except _ODD as error:
        raise ContractError(f"{file} does not describe a run as deepscan does: {error!r}", "restore it")
    _check_inputs(result, inputs, root, on_progress)
    return result


def _rules(result: Verification) -> JudgingRules | None:
    if not result.run:
        return None
    try:
        return JudgingRules.of_run(result.run)
    except _ODD as error:
        meaning = f"No score could be computed again: {error!r}."
        result.count("run's file", [Finding("mismatch", "the run's file", "thresholds", meaning=meaning)])
        return None


def _runs_file(run: Mapping[str, Any], file: Path) -> Iterator[Finding]:
    if not runfile.is_unchanged(run):
        yield Finding(
            "mismatch",
            file.name,
            "SHA-256 of what it says",
            str(run[runfile.OWN_HASH]),
            runfile.own_hash(run),
            "It was changed by hand: case, parameters, thresholds and times may not be those of the scan.",
        )


def _records_file(run: Mapping[str, Any], records: Path) -> Iterator[Finding]:
    stated, sessions = run.get("records"), run.get("sessions") or [{}]
    if not stated:
        finished = sessions[-1].get("exit_code") in _WHOLE
        yield Finding(
            "unchecked",
            records.name,
            "hash of the records: none is stated" if finished else "not finished",
            meaning="The run ended without stating a hash, as earlier versions did, or it was taken out."
            if finished
            else "The run was interrupted or still goes on, so that its file states no final hash: a record "
            "that was taken out would not be found. scan --resume finishes it.",
        )
    elif (found := sha256_of(records)) != stated["sha256"]:
        lines = records.read_bytes().count(b"\n")
        counted = "" if lines == stated["count"] else f" It had {stated['count']} records and has {lines}."
        yield Finding(
            "mismatch",
            records.name,
            "SHA-256 of the records file",
            stated["sha256"],
            found,
            "It was changed after the run ended. What is said below of single records shows where, if the "
            f"change is in a score or a verdict.{counted}",
        )


def _made_table(run: Mapping[str, Any], table: Path) -> bool:
    """Return whether a finished run has made a table beside its records, rather than somebody else."""
    if "table" in (stated := run.get("records") or {}):
        return str(stated["table"]).endswith(table.suffix)
    # Earlier versions did not state it.
    if not table.is_file():
        return False
    words = [word for session in run.get("sessions") or () for word in session.get("command") or ()]
    return bool(run.get("records")) and any(word.endswith(table.name) for word in words)


def _table(records: Path, table: Path) -> Iterator[Finding]:
    """Yield the first row of the CSV beside the records that is not what they give, or that it is gone."""
    if not table.is_file():
        meaning = "It was removed, moved or renamed. The records hold all that it said."
        yield Finding("missing", table.name, "the table that the scan made", meaning=meaning)
        return
    made = io.StringIO(newline="")
    WRITERS.get("csv")((record for _, _, record in read_journal(records)), made)
    found = table.read_bytes().decode("utf-8", "replace")
    pairs = zip_longest(made.getvalue().split("\n"), found.split("\n"), fillvalue="")
    for number, (row, own) in enumerate(pairs, start=1):
        if row != own:
            meaning = "The scan made the table from the records: one of the two was changed since."
            yield Finding("mismatch", table.name, f"line {number} of the table", row, own, meaning)
            return


def _record(
    record: Mapping[str, Any], run: Mapping[str, Any], rules: JudgingRules | None
) -> Iterator[Finding]:
    """Yield what does not match within one record, and between it and its run."""
    shown = str(record["path"])
    try:
        if run and record["run"] != run["id"]:
            meaning = "This record was made by another scan."
            yield Finding("mismatch", shown, "the run", run["id"], record["run"], meaning)
        if run:
            yield from _record_models(record, run)
        if rules is None:
            return
        for odd in differences(record, rules):
            meaning = (
                "What was found is computed again from this record's own frames. Either these or what is "
                "stated was changed by hand, or another version of deepscan wrote it."
            )
            what = _words(odd.what, record)
            yield Finding("mismatch", shown, what, str(odd.stated), str(odd.computed), meaning)
    except _ODD as error:
        meaning = f"This record is not as deepscan writes it: {error!r}."
        yield Finding("mismatch", shown, "the record", meaning=meaning)


def _words(place: str, record: Mapping[str, Any]) -> str:
    """Return in words where in a record something stands, such as `tracks 0 shots 1 score`."""
    kind, *rest = place.split()
    if kind == "models" and len(rest) == 2:
        return f"{rest[1]} by model {record['models'][int(rest[0])]['name']}"
    if kind == "frames" and len(rest) == 2:
        return f"{rest[1]} of the face in line {rest[0]} of frames"
    if kind == "tracks" and rest:
        person, *more = rest
        shot = f" in shot {more[1]}" if more[:1] == ["shots"] and len(more) > 1 else ""
        more = more[2:] if shot else more
        model = f" by model {more[1]}" if more[:1] == ["scores"] and len(more) > 2 else ""
        what = " ".join(more[2:] if model else more).replace("raw", "raw score")
        return f"{what} of person {person}{shot}{model}"
    return place


def _record_models(record: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[Finding]:
    own = record.get("models") or ([record["model"]] if record["model"] else [])
    stated = run_detectors(run)
    for model in own:
        hashes = list((stated.get(model["name"]) or {"files": {}})["files"].values())
        if model["sha256"] not in hashes:
            meaning = "The run's file knows no such model: this record is of another one."
            yield Finding(
                "mismatch",
                str(record["path"]),
                f"model {model['name']}",
                model["sha256"],
                ", ".join(hashes) or "no such model",
                meaning,
            )


def _pictures_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    stated = record.get("pictures")
    return [each for each in stated if isinstance(each, Mapping)] if isinstance(stated, list) else []


def _check_pictures(
    result: Verification, stated: Sequence[tuple[str, Mapping[str, Any]]], folder: PictureFolder
) -> None:
    if not folder.path.is_dir():
        if stated:
            result.findings.append(folder_gone(folder, len(stated)))
            result.checked["pictures"] = 0, len(stated)
        return
    named = set()
    for path, each in stated:
        try:
            named.add(str(each["file"]))
            result.count("pictures", list(check_picture(path, each, folder)))
        except _ODD as error:
            meaning = f"This record is not as deepscan writes it: {error!r}."
            result.count("pictures", [Finding("mismatch", path, "its pictures", meaning=meaning)])
    for strange in strange_pictures(folder, named, finished=bool(result.run.get("records"))):
        result.count("pictures", [strange])


def _check_inputs(
    result: Verification, inputs: Sequence[_Input], root: Path | None, on_progress: OnBytesRead | None
) -> None:
    places = [place_of(each.path, root) for each in inputs]
    total = sum(os.path.getsize(place) for place in places if place is not None)
    read = 0
    for each, place in zip(inputs, places, strict=True):
        if place is None:
            result.count("videos", [Finding("missing", each.shown, NOT_THERE)])
            continue
        try:
            found, read = _hash(place, read, total, on_progress)
        except OSError as error:
            result.count("videos", [Finding("unchecked", each.shown, f"cannot be read: {error.strerror}")])
            continue
        if found == each.sha256:
            result.count("videos", [])
            continue
        where = "" if place == each.path else f" Looked at: {os.fsdecode(place)}."
        meaning = "The file is not the one that was scanned: the record says nothing of what is there now."
        if each.changed:
            meaning = "It changed while it was scanned, so that the record gives no score."
        result.count(
            "videos",
            [Finding("mismatch", each.shown, "SHA-256 of the video", each.sha256, found, meaning + where)],
        )


def _hash(path: bytes, before: int, total: int, on_progress: OnBytesRead | None) -> tuple[str, int]:
    """Return the SHA-256 of a file, and how many bytes were read with those before."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            before += len(chunk)
            if on_progress is not None:
                on_progress("videos", before, total)
    return digest.hexdigest(), before
