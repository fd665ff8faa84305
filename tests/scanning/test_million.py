"""The memory of a run does not grow with its manifest, and resuming takes a small part of its time."""

import importlib
import tracemalloc
from collections import deque
from pathlib import Path

import pytest

from deepscan.scanning.chunks import ManifestRow
from deepscan.scanning.run_audit import audit_run
from deepscan.scanning.run_folder import RunFolder, put_manifest
from deepscan.storage.local_store import LocalStore
from tests.scanning.test_run_folder import RUN

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def peak(call):
    """Return the most memory that Python's objects took meanwhile, in bytes, and the result."""
    tracemalloc.start()
    try:
        result = call()
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_rows_are_not_kept_in_memory(tmp_path):
    store, number = LocalStore(tmp_path), 60_000
    rows = (ManifestRow(b"s3://bucket/%09d.mp4" % row, etag=f"{row:032x}") for row in range(number))
    most, manifest = peak(lambda: put_manifest(store, rows, 256))
    folder = RunFolder.begin(store, RUN, manifest)
    # A list of them takes 20 MB.
    assert most < 10e6
    assert peak(lambda: deque(folder.todo(), 0))[0] < 10e6
    most, audit = peak(lambda: audit_run(folder))
    assert most < 10e6
    assert audit.missing == -(-number // 256)


@pytest.mark.exhaustive
def test_memory_is_flat_and_resuming_is_quick(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    measure, rows = importlib.import_module("million").measure, 1_000_000
    few = {line["phase"]: line for line in measure(10_000)}
    many = {line["phase"]: line for line in measure(rows)}
    chunks = -(-rows // 256)
    # One chunk is in progress when the run is interrupted.
    assert many["half"]["parts"] in (chunks // 2 - 1, chunks // 2)
    assert many["rest"]["parts"] == chunks
    # A list of the rows would take more than 300 MB, a list of the records more than 3 GB.
    assert many["rest"]["peak_mb"] < few["rest"]["peak_mb"] + 50
    # To notice equal rows, a new run keeps up to 60 MB of digests, and 16 bytes of each further row.
    assert many["half"]["peak_mb"] < few["half"]["peak_mb"] + 250
    assert many["rest"]["first_seconds"] < many["half"]["seconds"] / 3
