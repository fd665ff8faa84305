"""Estimate what ten million videos need on many machines, from the measurements in this folder.

    python benchmarks/scale_table.py            # writes scale_table.csv; measures nothing

Measured are the CPU seconds of a video (`shards.csv` for short clips from an S3 server into a run folder,
`hd.csv` for clips of ten seconds in 720p and 1080p), and the time to begin and to seal a run with a million
rows (`million.csv`, on a local disk). All else is calculated from them, as if every core were as fast as
those of that machine, and always busy. No such cluster has been tried. The time in which machines and images
are started is not included.
"""

import argparse
import csv
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepscan.bench.output import write_table
from deepscan.scanning.manifest import CHUNK_ROWS

HERE = Path(__file__).parent
TABLE = HERE / "scale_table.csv"
VIDEOS = 10_000_000
NODES = (10, 100, 1000)
#: Cores of a node; a core is what the operating system calls a CPU.
CORES = 64
#: Reads per second that S3 supports at least for a prefix, according to its documentation.
READS = 5500
#: Size of a video in bytes, assumed to estimate the network's load.
BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Results of the other benchmarks.

    Attributes:
        cpu: Kind of videos -> CPU seconds for a video.
        begin: Seconds to read a manifest and begin a run, for each row.
        seal: Seconds to check and seal a run, for each row.
    """

    cpu: dict[str, float]
    begin: float
    seal: float


def main() -> None:
    """Write the table and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=TABLE, help="the table")
    given = parser.parse_args()
    write_table(given.out, list(rows(measured())))
    print(given.out.read_text(encoding="utf-8"))


def measured(folder: Path = HERE) -> Measured:
    """Read the results of the other benchmarks from a folder."""
    turns = read(folder / "shards.csv")
    local, s3 = (
        statistics.median(
            float(row["cpu_seconds"]) / int(row["videos"]) for row in turns if row["way"] == way
        )
        for way in ("local", "s3")
    )
    (whole,) = [row for row in read(folder / "hd.csv") if row["part"] == "whole"]
    largest = max(int(row["rows"]) for row in read(folder / "million.csv"))
    phases = {row["phase"]: row for row in read(folder / "million.csv") if int(row["rows"]) == largest}
    return Measured(
        # hd.csv scans files; what the store costs is that of the short clips.
        cpu={"short": s3, "hd": float(whole["cpu_seconds"]) / int(whole["count"]) + s3 - local},
        begin=float(phases["half"]["first_seconds"]) / largest,
        seal=float(phases["rest"]["audit_seconds"]) / largest,
    )


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows(facts: Measured, nodes: Sequence[int] = NODES) -> Iterator[dict[str, object]]:
    """Yield a row for each kind of videos and number of machines."""
    for kind, cpu in facts.cpu.items():
        for count in nodes:
            scan = VIDEOS * cpu / (count * CORES)
            others = VIDEOS * (facts.begin + facts.seal)
            reads = VIDEOS / scan
            yield {
                "videos": kind,
                "cpu_seconds_a_video": f"{cpu:.2f}",
                "videos_an_hour_a_core": f"{3600 / cpu:.0f}",
                "core_hours": f"{VIDEOS * cpu / 3600:.0f}",
                "core_minutes_a_chunk": f"{CHUNK_ROWS * cpu / 60:.1f}",
                "nodes": count,
                "cores": count * CORES,
                "scan_hours": f"{scan / 3600:.2f}",
                "begin_and_seal_hours": f"{others / 3600:.2f}",
                "reads_a_second": f"{reads:.0f}",
                "gbit_a_second_a_node": f"{reads / count * BYTES * 8 / 1e9:.1f}",
                "first_limit": first_limit(scan, others, reads),
            }


def first_limit(scan: float, others: float, reads: float) -> str:
    """Return what limits a run: its cores, the store, or what a single machine does.

    Args:
        scan: Seconds to scan all videos, if nothing else is slower.
        others: Seconds to begin and seal the run.
        reads: Videos that are read per second.
    """
    if others > scan:
        return "begin and seal"
    return "reads of a prefix" if reads > READS else "cores"


if __name__ == "__main__":
    main()
