"""Check whether a scan's records, videos, pictures and models are unchanged since the scan ended."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from deepscan.errors import ContractError, ExitCode
from deepscan.outcomes import shot_label, track_label
from deepscan.scanning import runfile
from deepscan.scanning.folder_records import FolderRecords
from deepscan.scanning.model_check import Finding, check_model, run_detectors, run_models
from deepscan.scanning.path_spool import PathSet
from deepscan.scanning.picture_check import check_picture, folder_gone, strange_pictures
from deepscan.scanning.picture_folder import PictureFolder
from deepscan.scanning.reading import open_records
from deepscan.scanning.recomputation import JudgingRules, differences
from deepscan.scanning.record_lines import recorded_path
from deepscan.scanning.record_source import JournalRecords, RecordsLocation, ScanRecords
from deepscan.scanning.record_table import TableRecords
from deepscan.scanning.records_check import (
    check_parts,
    check_records_file,
    check_run_file,
    check_table,
    made_table,
)
from deepscan.scanning.video_check import RecordedVideo, check_videos

#: Progress callback: (`records` or `videos`, bytes read, total bytes), or (`parts` or `scores`, number
#: checked, number of all).
OnBytesRead = Callable[[str, int, int], None]

#: Errors caused by records and runs that this version would not write.
_MALFORMED = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)


@dataclass(slots=True)
class Verification:
    """What was checked and what was found.

    Attributes:
        run: The run's record, empty if it is missing.
        findings: What does not match or could not be checked, in the order of the records.
        checked: Kind of thing checked -> how many of them match, and how many there are.
    """

    run: Mapping[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    checked: dict[str, tuple[int, int]] = field(default_factory=dict)

    def count(self, kind: str, found: Sequence[Finding]) -> None:
        """Add the findings about one thing that was checked."""
        good, total = self.checked.get(kind, (0, 0))
        self.checked[kind] = good + (not found), total + 1
        self.findings += found

    @property
    def exit_code(self) -> ExitCode:
        """0 if everything matches, 4 if something does not, 3 if something could not be checked."""
        kinds = {finding.kind for finding in self.findings}
        if "mismatch" in kinds:
            return ExitCode.CONTRACT
        return ExitCode.SOME_FAILED if kinds else ExitCode.OK


def verify_run(
    location: RecordsLocation,
    *,
    root: Path | None = None,
    models: Sequence[Path] = (),
    on_progress: OnBytesRead | None = None,
) -> Verification:
    """Check the records of a scan: the file itself, each score and verdict, the models and the videos.

    Args:
        location: The records, see `open_records`.
        root: Folder in which the videos are now; the longest matching end of each recorded path is used. None
            to use the paths as recorded.
        models: Folders of models that have been moved.
        on_progress: Called while records and videos are read.

    Raises:
        ContractError: The records or the run's file cannot be read at all.
    """
    result = Verification()
    records = open_records(location)
    _check_files(result, records, on_progress)
    if isinstance(records, FolderRecords):
        # Wrong parts are among the findings already.
        records = records.lenient()
    videos, pictures = _check_records(result, records, on_progress)
    if records.pictures is not None:
        _check_pictures(result, pictures, records.pictures)
    if isinstance(records, JournalRecords):
        table = records.path.with_suffix(".csv")
        if made_table(result.run, table):
            result.count("table", list(check_table(records, table)))
    try:
        for name, model in run_models(result.run).items():
            result.count("models", list(check_model(name, model, result.run, models)))
    except _MALFORMED as error:
        raise ContractError(
            f"{records.run_file} was not written by this version of deepscan: {error!r}",
            "restore it, or scan again",
        )
    show = on_progress and partial(on_progress, "videos")
    for found in check_videos(videos, root, show):
        result.count("videos", found)
    return result


def _check_files(result: Verification, records: ScanRecords, on_progress: OnBytesRead | None) -> None:
    run, name = records.run(), os.path.basename(records.run_file)
    if run is None:
        meaning = (
            "It has the thresholds, the models and the hash of the records. None of these could be checked."
        )
        result.count("run's file", [Finding("missing", name, "the run's file", meaning=meaning)])
        return
    result.run = run
    if isinstance(records, FolderRecords):
        # An edited run.json is refused when the folder is opened.
        result.count("run's file", [])
        show = on_progress and partial(on_progress, "parts")
        found = list(check_parts(records, records.audit(show)))
        audit = records.audit()
        result.findings += found
        result.checked["parts"] = audit.done, audit.done + audit.missing + audit.wrong
        return
    if runfile.OWN_HASH in run:
        result.count("run's file", list(check_run_file(run, name)))
    if isinstance(records, JournalRecords | TableRecords):
        result.count("records file", list(check_records_file(run, records)))


def _check_records(
    result: Verification, records: ScanRecords, on_progress: OnBytesRead | None
) -> tuple[list[RecordedVideo], list[tuple[str, Mapping[str, Any]]]]:
    """Check each record by itself; return the videos, and the path of its video with each picture."""
    rules = _rules(result)
    videos: list[RecordedVideo] = []
    paths = PathSet()
    pictures: list[tuple[str, Mapping[str, Any]]] = []
    size = records.size()
    for each in records.placed():
        record = each.record
        if on_progress is not None:
            on_progress("records" if records.unit == "bytes" else "scores", each.done, size)
        found = list(_record(record, result.run, rules))
        path = recorded_path(record)
        if not (new := paths.add(path)):
            meaning = "A scan writes one record per video. This one was added or copied later."
            found.append(
                Finding("mismatch", record["path"], "records of this video", "1", "more than one", meaning)
            )
        if rules is not None or found:
            result.count("scores, verdicts", found)
        if new and isinstance(record.get("sha256"), str):
            changed = record["status"] == "changed"
            length = record["bytes"] if isinstance(record.get("bytes"), int) else 0
            videos.append(RecordedVideo(path, record["path"], record["sha256"], length, changed))
        pictures += ((record["path"], entry) for entry in _pictures_of(record))
    return videos, pictures


def _rules(result: Verification) -> JudgingRules | None:
    if not result.run:
        return None
    try:
        return JudgingRules.of_run(result.run)
    except _MALFORMED as error:
        meaning = f"No score could be recomputed: {error!r}."
        result.count("run's file", [Finding("mismatch", "the run's file", "thresholds", meaning=meaning)])
        return None


def _record(
    record: Mapping[str, Any], run: Mapping[str, Any], rules: JudgingRules | None
) -> Iterator[Finding]:
    """Yield what does not match within one record, and between it and its run."""
    shown = str(record["path"])
    try:
        if run and record["run"] != run["id"]:
            meaning = "This record was written by another scan."
            yield Finding("mismatch", shown, "the run", run["id"], record["run"], meaning)
        if run:
            yield from _record_models(record, run)
        if rules is None:
            return
        for difference in differences(record, rules):
            meaning = (
                "The value found is recomputed from the record's own frames. Either those or the recorded "
                "value was edited, or another version of deepscan wrote the record."
            )
            place = _describe_place(difference.place, record)
            recorded, computed = str(difference.recorded), str(difference.computed)
            yield Finding("mismatch", shown, place, recorded, computed, meaning)
    except _MALFORMED as error:
        meaning = f"This record was not written by deepscan in this form: {error!r}."
        yield Finding("mismatch", shown, "the record", meaning=meaning)


def _describe_place(place: str, record: Mapping[str, Any]) -> str:
    """Describe a place in a record, such as `tracks 0 shots 1 score`."""
    kind, *rest = place.split()
    if kind == "models" and len(rest) == 2:
        return f"{rest[1]} by model {record['models'][int(rest[0])]['name']}"
    if kind == "frames" and len(rest) == 2:
        return f"{rest[1]} of the face in line {rest[0]} of frames"
    if kind == "tracks" and rest:
        person, *more = rest
        shot = f" in {shot_label(int(more[1]))}" if more[:1] == ["shots"] and len(more) > 1 else ""
        more = more[2:] if shot else more
        model = f" by model {more[1]}" if more[:1] == ["scores"] and len(more) > 2 else ""
        value = " ".join(more[2:] if model else more).replace("raw", "raw score")
        return f"{value} of {track_label(int(person))}{shot}{model}"
    return place


def _record_models(record: Mapping[str, Any], run: Mapping[str, Any]) -> Iterator[Finding]:
    own = record.get("models") or ([record["model"]] if record["model"] else [])
    detectors = run_detectors(run)
    for model in own:
        hashes = list((detectors.get(model["name"]) or {"files": {}})["files"].values())
        if model["sha256"] not in hashes:
            meaning = "The run's file has no such model: this record was made with another one."
            yield Finding(
                "mismatch",
                str(record["path"]),
                f"model {model['name']}",
                model["sha256"],
                ", ".join(hashes) or "no such model",
                meaning,
            )


def _pictures_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = record.get("pictures")
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def _check_pictures(
    result: Verification, entries: Sequence[tuple[str, Mapping[str, Any]]], folder: PictureFolder
) -> None:
    if not folder.path.is_dir():
        if entries:
            result.findings.append(folder_gone(folder, len(entries)))
            result.checked["pictures"] = 0, len(entries)
        return
    named = set()
    for path, entry in entries:
        try:
            named.add(str(entry["file"]))
            result.count("pictures", list(check_picture(path, entry, folder)))
        except _MALFORMED as error:
            meaning = f"This record was not written by deepscan in this form: {error!r}."
            result.count("pictures", [Finding("mismatch", path, "its pictures", meaning=meaning)])
    for strange in strange_pictures(folder, named, finished=bool(result.run.get("records"))):
        result.count("pictures", [strange])
