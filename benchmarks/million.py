"""Scan a manifest of a million videos into a run folder, without the work: time and memory of the rest.

    python benchmarks/million.py                # 10,000, 100,000 and 1,000,000 rows: about ten minutes
    python benchmarks/million.py --rows 20000

Writes million.csv and million.machine.json next to this file, or to --out. Each phase runs in a new process,
as workers do: `begin` reads the manifest and creates the run, `half` writes the parts of the first half,
`resume` finds the first chunk that is left, `rest` writes the other parts, and `audit` compares all parts
with the manifest and seals the run. Records are synthetic, with one person and 16 faces. Memory is the peak
of the process; `nothing` only imports what the others do.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepscan.bench import machine
from deepscan.bench.output import write_machine, write_table
from deepscan.scanning.chunks import Chunk, ManifestRow
from deepscan.scanning.parts import PartRow, write_part
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.run_audit import audit_run, seal_run
from deepscan.scanning.run_folder import RunFolder, put_manifest
from deepscan.storage.store import open_store

HERE = Path(__file__).parent
PHASES = ("nothing", "begin", "half", "resume", "rest", "audit")
CHUNK = 256
#: Rows of the manifest that are made at once.
BLOCK = 100_000
RUN = {
    "schema": 1,
    "tool": {"name": "deepscan", "version": "stub"},
    "parameters": {"frames": 16},
    "custody": {},
    "sessions": [],
    "records": None,
}
FACES = [
    {"index": 8 * number, "pts": 0.32 * number, "track": 0, "box": [100.0, 50.0, 260.0, 240.0], "score": 0.25}
    for number in range(16)
]


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
        print(json.dumps(perform(arguments.phase, Path(arguments.folder))))
        return
    lines = []
    for rows in map(int, arguments.rows.split(",")):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            write_input(Path(name) / "videos.parquet", rows)
            for phase in PHASES:
                lines.append({"rows": rows, "phase": phase, **apart(phase, name)})
                print(lines[-1], file=sys.stderr)
    path = arguments.out / "million.csv"
    write_table(path, lines)
    write_machine(path, machine.describe() | {"load": machine.load_average(), "chunk": CHUNK})
    print(path.read_text(encoding="utf-8"))


def apart(phase: str, folder: str) -> dict[str, Any]:
    """Run a phase in a new process, and return its results.

    Raises:
        CalledProcessError: It failed.
    """
    command = [sys.executable, __file__, "--phase", phase, "--folder", folder]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    result: dict[str, Any] = json.loads(output)
    return result


def perform(phase: str, folder: Path) -> dict[str, Any]:
    """Run a phase in this process, and return its time and memory."""
    start, cpu = time.monotonic(), time.process_time()
    parts = run_phase(phase, folder)
    return {
        "parts": parts,
        "seconds": round(time.monotonic() - start, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "peak_mb": round(peak() / 1e6),
    }


def run_phase(phase: str, folder: Path) -> int:
    """Run a phase; return how many parts were written or compared.

    Args:
        phase: Its name.
        folder: Contains the manifest, and the run from `begin` on.

    Raises:
        RuntimeError: The resumed run did not find what was left.
    """
    place = f"{folder}/run"
    if phase == "nothing":
        return 0
    if phase == "begin":
        store = open_store(place)
        RunFolder.begin(store, RUN, put_manifest(store, read_input(folder / "videos.parquet"), CHUNK))
        return 0
    run = RunFolder.open(place)
    if phase == "half":
        return write_parts(run, islice(run.todo(), run.manifest.chunks // 2))
    if phase == "resume":
        if next(run.todo()).index != run.manifest.chunks // 2:
            raise RuntimeError("the resumed run begins elsewhere")
        return 0
    if phase == "rest":
        return write_parts(run, run.todo())
    audit = audit_run(run)
    seal_run(run, audit)
    return audit.done


def write_parts(run: RunFolder, chunks: Iterable[Chunk]) -> int:
    """Write the parts of chunks with synthetic records; return how many."""
    count = 0
    for chunk in chunks:
        rows = [PartRow(record(row, run.run["id"]), row.id, row.label) for row in chunk.rows]
        run.put_part(chunk.name, write_part(rows, run=run.run["id"], chunk=chunk.name))
        count += 1
    return count


def record(row: ManifestRow, run: str) -> dict[str, Any]:
    """Return a record as a scan makes it."""
    return RecordLine(
        row.path,
        "ok",
        "",
        run,
        sha256=f"{hash(row.path) & (1 << 256) - 1:064x}",
        size=row.size,
        verdict="no_evidence",
        score=0.25,
        calibrated=True,
        tracks=[{"id": 0, "score": 0.25}],
        frames=FACES,
        model={"name": "stub", "method": "stub"},
        seconds={"total": 1.5, "decode_cpu": 1.0},
    ).to_json()


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


def read_input(path: Path) -> Iterator[ManifestRow]:
    """Yield the rows of that manifest."""
    for batch in pq.ParquetFile(path).iter_batches(4096):
        for name, label, size, etag in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield ManifestRow(name.encode(), None, label, size, etag)


def peak() -> int:
    """Return the most memory that this process has used, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()
