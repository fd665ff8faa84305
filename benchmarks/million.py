"""Scan a manifest of a million videos into a run folder, without the work: time and memory of the rest.

    python benchmarks/million.py                # 10,000, 100,000 and 1,000,000 rows: about five minutes
    python benchmarks/million.py --rows 20000

Writes million.csv and million.machine.json next to this file, or to --out. One shard scans the whole manifest
with a worker that gives every video the same synthetic record (one person, 16 faces). `half` reads the
manifest, begins the run and is interrupted after half of the videos. `rest` is the same command in a new
process: it scans the other videos, compares all parts with the manifest and seals the run. `first_seconds` is
the time to the first record, so in `rest` the time to resume. Memory is the peak of the process; `nothing`
only imports what the others do.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepscan.bench import machine
from deepscan.bench.output import write_machine, write_table
from deepscan.media.pool import DecodePool
from deepscan.scanning.chunks import Shard
from deepscan.scanning.manifest import table_rows
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.originals import Originals
from deepscan.scanning.paths import ScanInputs
from deepscan.scanning.picture_folder import PictureFolder
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.shard_job import ShardJob, ShardListener
from deepscan.scanning.shard_run import run_shard
from deepscan.scanning.sources import ScanItem
from deepscan.scanning.worker import Worker

HERE = Path(__file__).parent
PHASES = ("nothing", "half", "rest")
#: Rows of the manifest that are made at once.
BLOCK = 100_000
RUN: Mapping[str, Any] = {
    "schema": 1,
    "id": "0" * 12,
    "tool": {"name": "deepscan", "version": "stub"},
    "parameters": {"frames": 16},
    "custody": {},
    "choice": None,
    "sessions": [],
    "records": None,
}
FACES = [
    {"index": 8 * number, "pts": 0.32 * number, "track": 0, "box": [100.0, 50.0, 260.0, 240.0], "score": 0.25}
    for number in range(16)
]


class StubWorker(Worker):
    """Gives each video a record without opening it."""

    #: Records after which it is interrupted.
    limit = 1 << 62

    def open(self) -> None:
        """Load nothing."""
        self.run = dict(self._earlier or RUN)

    def start(self, pictures: PictureFolder | None = None) -> DecodePool:
        """Start nothing."""
        stub: Any = SimpleNamespace(buffer_kind="memory")
        return stub  # type: ignore[no-any-return]

    def scan(
        self,
        items: Iterable[ScanItem | None],
        on_progress: Callable[[bytes | None], None] = lambda path: None,
        originals: Originals | None = None,
    ) -> Generator[RecordLine, None, None]:
        """Yield the records.

        Raises:
            KeyboardInterrupt: The limit is reached.
        """
        for number, item in enumerate(item for item in items if item is not None):
            if number >= self.limit:
                raise KeyboardInterrupt
            yield record(item.path, self.run["id"])


class Times(ShardListener):
    """The times of the first record and of the audit."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.first: float | None = None
        self.audit: list[float] = []

    def ended(self, record: Mapping[str, Any]) -> None:
        """Note the time of the first record."""
        if self.first is None:
            self.first = time.monotonic() - self.start

    def auditing(self, done: int, total: int) -> None:
        """Note the time of the first and of the last part."""
        self.audit = [*self.audit[:1], time.monotonic()]


def main() -> None:
    """Run all phases for each number of rows, write the table and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="10000,100000,1000000", help="numbers of rows, separated by commas")
    parser.add_argument("--folder", help="folder for the runs, which are deleted (default: a temporary one)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the results")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.phase:
        print(json.dumps(perform(arguments.phase, int(arguments.rows), Path(arguments.folder))))
        return
    lines = []
    for rows in map(int, arguments.rows.split(",")):
        lines += measure(rows, arguments.folder)
    path = arguments.out / "million.csv"
    write_table(path, lines)
    write_machine(path, machine.describe() | {"load": machine.load_average()})
    print(path.read_text(encoding="utf-8"))


def measure(rows: int, folder: str | None = None) -> list[dict[str, Any]]:
    """Run all phases for a number of rows, each in a new process; return the lines of the table.

    Args:
        rows: Rows of the manifest.
        folder: Folder for a temporary folder, None for the usual one.

    Raises:
        CalledProcessError: A phase failed.
    """
    lines = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        write_input(Path(name) / "videos.parquet", rows)
        for phase in PHASES:
            command = [sys.executable, __file__, "--phase", phase, "--rows", str(rows), "--folder", name]
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            lines.append({"rows": rows, "phase": phase, **json.loads(output)})
            print(lines[-1], file=sys.stderr)
    return lines


def perform(phase: str, rows: int, folder: Path) -> dict[str, Any]:
    """Run a phase in this process, and return its time and memory."""
    cpu, times = time.process_time(), Times()
    parts = 0
    if phase != "nothing":
        parts = scan(folder, rows // 2 if phase == "half" else StubWorker.limit, times)
    return {
        "parts": parts,
        "seconds": round(time.monotonic() - times.start, 2),
        "first_seconds": times.first and round(times.first, 2),
        "audit_seconds": round(times.audit[-1] - times.audit[0], 2) if times.audit else None,
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": round(peak() / 1e6),
    }


def scan(folder: Path, limit: int, listener: ShardListener) -> int:
    """Scan the manifest in a folder up to a number of videos; return how many parts the run has then."""
    manifest, run = str(folder / "videos.parquet"), folder / "run"
    StubWorker.limit = limit
    job = ShardJob(
        str(run), Shard(), None, ScanInputs(named=(), lists=(manifest,)), lambda: table_rows(manifest)
    )
    try:
        summary = run_shard(job, ScanOptions("stub"), listener=listener, make_worker=StubWorker)
        if not summary.sealed:
            raise RuntimeError("the run is not complete")
    except KeyboardInterrupt:
        pass
    return len(list((run / "parts").iterdir()))


def record(path: bytes, run: str) -> RecordLine:
    """Return a record as a scan makes it."""
    return RecordLine(
        path,
        "ok",
        "",
        run,
        verdict="no_evidence",
        score=0.25,
        calibrated=True,
        tracks=[{"id": 0, "score": 0.25}],
        frames=FACES,
        model={"name": "stub", "method": "stub"},
        seconds={"total": 1.5, "decode_cpu": 1.0},
    )


def write_input(path: Path, rows: int) -> None:
    """Write a manifest as users have it: Parquet, with addresses, labels, sizes and ETags."""
    schema = pa.schema(
        [("path", pa.string()), ("label", pa.string()), ("size", pa.int64()), ("etag", pa.string())]
    )
    with pq.ParquetWriter(path, schema) as file:
        for first in range(0, rows, BLOCK):
            numbers = range(first, min(first + BLOCK, rows))
            columns = {
                "path": [f"s3://videos/{number % 997:03}/{number:09}.mp4" for number in numbers],
                "label": [("real", "fake")[number % 2] for number in numbers],
                "size": [1_000_000 + number for number in numbers],
                "etag": [f"{number:032x}" for number in numbers],
            }
            file.write_table(pa.table(columns, schema))


def peak() -> int:
    """Return the most memory that this process has used, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()
