"""Make run folders from the records of a scan into a file, without scanning again."""

import json
from collections.abc import Container, Mapping
from pathlib import Path

from deepscan.scanning import runfile
from deepscan.scanning.chunks import ManifestRow
from deepscan.scanning.parts import PartRow, write_part
from deepscan.scanning.record_lines import recorded_path
from deepscan.scanning.run_audit import audit_run, seal_run
from deepscan.scanning.run_folder import RunFolder, put_manifest
from deepscan.storage.store import open_store


def as_run_folder(
    journal: Path,
    location: Path | str,
    *,
    chunk: int = 2,
    without: Container[int] = (),
    labels: Mapping[str, str] | None = None,
    seal: bool = True,
) -> RunFolder:
    """Write a run folder with the records of a journal, in the order of their paths.

    Args:
        journal: The journal, with its run's file.
        location: The folder or address to write to.
        chunk: Rows of a chunk.
        without: Indices of chunks that get no part.
        labels: Label in the manifest by the end of a video's path.
        seal: Whether to seal the run, if no chunk lacks its part.
    """
    run = runfile.read(journal.with_suffix(".run.json"))
    (session,) = run["sessions"]
    records = sorted(map(json.loads, journal.read_text().splitlines()), key=recorded_path)
    rows = [ManifestRow(recorded_path(record), label=_label(record, labels or {})) for record in records]
    store = open_store(str(location))
    described = {key: value for key, value in run.items() if key != runfile.OWN_HASH}
    manifest = put_manifest(store, rows, chunk)
    folder = RunFolder.begin(store, {**described, "sessions": [], "records": None}, manifest)
    folder.begin_session({**session, "id": "one", "ended": None, "exit_code": None})
    by_path = {recorded_path(record): {**record, "run": folder.run["id"]} for record in records}
    for each in folder.chunks():
        if each.index not in without:
            lines = [PartRow(by_path[row.path], row.id, row.label) for row in each.rows]
            assert folder.put_part(each.name, write_part(lines, run=folder.run["id"], chunk=each.name))
    if seal and not without:
        folder.end_session({**session, "id": "one"})
        seal_run(folder, audit_run(folder))
    return folder


def _label(record: Mapping[str, str], labels: Mapping[str, str]) -> str | None:
    return next((label for end, label in labels.items() if record["path"].endswith(end)), None)
