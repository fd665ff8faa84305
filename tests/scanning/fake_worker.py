"""A worker without models and decoders, which runs shards in processes that it may kill."""

import multiprocessing
import os
import signal
import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace

from deepscan.errors import DeepscanError
from deepscan.scanning.chunks import ManifestRow, Shard
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.paths import ScanInputs
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.run_audit import audit_run
from deepscan.scanning.run_folder import RunFolder
from deepscan.scanning.runfile import require_compatible
from deepscan.scanning.shard_job import ShardJob, ShardListener
from deepscan.scanning.shard_run import run_shard
from deepscan.scanning.worker import Worker

#: Files in progress at the same time.
AHEAD = 4
#: What a video with this word in its path does to its process.
POISON, SLOW, BROKEN = b"poison", b"slow", b"broken"
#: Such a video kills its process if it exists, and is then gone.
ONCE = b"once"


class FakeWorker(Worker):
    """Describes a run with `frames`, and gives each video a record after looking at its name."""

    version = "1"
    chosen = None

    def open(self):
        described = {
            "schema": 1,
            "id": "0" * 12,
            "tool": {"name": "deepscan", "version": self.version, "commit": None},
            "custody": {"case": None, "exhibit": None, "examiner": None},
            "parameters": {"frames": self.options.frames},
            "choice": {"model": self.chosen, "reason": "test"} if self.options.model == "auto" else None,
            "model": {"name": self.options.model},
            "sessions": [],
            "records": None,
        }
        if self.options.model == "auto":
            earlier = self._earlier and self._earlier["choice"]
            described["model"]["name"] = earlier["model"] if earlier else self.chosen
            described["choice"] = earlier or described["choice"]
        if self._earlier is not None:
            require_compatible(self._earlier, described)
            described = dict(self._earlier)
        self.run = described

    def start(self, pictures=None):
        return SimpleNamespace(buffer_kind="memory")

    def scan(self, items, on_progress=lambda path: None, originals=None):
        ahead = deque()
        left = iter(items)
        while True:
            while len(ahead) < AHEAD and (item := next(left, None)) is not None:
                ahead.append(item)
                on_progress(item.path)
            if not ahead:
                return
            # The last one first: records do not come in the order of the rows.
            path = ahead.pop().path
            if POISON in path:
                os.kill(os.getpid(), signal.SIGKILL)
            if ONCE in path and os.path.exists(path):
                os.unlink(path)
                os.kill(os.getpid(), signal.SIGKILL)
            if BROKEN in path:
                raise DeepscanError("the store is gone", "wait")
            if SLOW in path:
                time.sleep(0.05)
            yield RecordLine(path, "ok", "", self.run["id"], verdict="fake", score=0.9)


def job(location, paths=None, shard=(1, 1), chunk=None, named=("/videos",)):
    """Return what a process does in a run folder."""
    inputs = ScanInputs(tuple(named)) if paths is not None else ScanInputs()
    return ShardJob(
        str(location),
        Shard(*shard),
        chunk,
        inputs,
        lambda: [ManifestRow(os.fsencode(path)) for path in paths],
    )


def scan(task, *, frames=32, model="toy", worker=FakeWorker, listener=None):
    """Run a shard in this process."""
    options = ScanOptions(model=model, frames=frames)
    return run_shard(task, options, listener=listener, make_worker=worker)


def records(location):
    """Return the records of a complete run by path; each path once."""
    folder = RunFolder.open(str(location))
    assert audit_run(folder).complete
    found = [record for chunk in folder.chunks() for record in folder.read_part(chunk.name).records()]
    assert len({record["path"] for record in found}) == len(found)
    return {record["path"]: record for record in found}


def attempts(location):
    """Return the attempts in a run folder."""
    return [path for path in (Path(location) / "attempts").rglob("*") if path.is_file()]


def scan_in_child(location, paths, **values):
    """Start a shard in another process, and return the process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_child, args=(str(location), paths, values))
    process.start()
    return process


def _child(location, paths, values):
    options = {name: values.pop(name) for name in ("frames",) if name in values}
    try:
        scan(job(location, paths, **values), **options)
    except DeepscanError as error:
        Path(f"{location}.{os.getpid()}.error").write_text(error.message)
        os._exit(int(error.exit_code))


class Counting(ShardListener):
    """Counts what was scanned."""

    def __init__(self):
        self.scanned = []
        self.share = None

    def shared(self, share):
        self.share = share

    def ended(self, record):
        self.scanned.append(record["path"])
