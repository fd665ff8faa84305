"""Two processes that scan the same shard: each part is written once, and the run is sealed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepscan.scanning.run_audit import audit_run
from deepscan.scanning.run_folder import RunFolder

#: Scans the whole run after both processes have seen that none of it is done.
SCAN = """
import logging, os, sys, time
from deepscan.storage.store import open_store
from tests.scanning.fake_worker import FakeWorker, job, scan

class Together(FakeWorker):
    def start(self, pictures=None):
        store = open_store(sys.argv[1])
        store.put_once(f"ready/{os.getpid()}", b"ready")
        while len(list(store.names("ready"))) < 2:
            time.sleep(0.05)
        return super().start(pictures)

logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
scan(job(sys.argv[1], [f"/videos/{n}.mp4" for n in range(24)], chunk=2), worker=Together)
"""


@pytest.mark.slow
@pytest.mark.parametrize("place", ["local", "s3"])
def test_two_processes_of_one_shard_write_each_part_once(place, request, tmp_path):
    location = str(tmp_path / "run") if place == "local" else request.getfixturevalue("s3").address("run/")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCAN, location],
            cwd=Path(__file__).parents[2],
            env=dict(os.environ),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    folder = RunFolder.open(location)
    audit = audit_run(folder)
    assert (audit.done, audit.missing, audit.wrong, audit.done_rows) == (12, 0, 0, 24)
    assert folder.sealed()["sha256"] == audit.sha256
    assert len(folder.describe()["sessions"]) == 2
    assert list(folder.store.names_below("attempts")) == []
    # Both have scanned every chunk.
    assert sum(text.count("another worker has written the part") for text in said) == 12
