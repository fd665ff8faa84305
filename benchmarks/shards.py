"""Scan a folder as one file, through three shards at once, and through an S3 server, and compare the records.

    python benchmarks/shards.py DIR              # three scans of DIR, in turns of all three with --turns
    python benchmarks/shards.py sample_videos

Writes shards.csv next to this file, or to --out. `local` scans the folder into a file. `shards` scans it into
a run folder, in three processes at the same time, the last of which audits and seals the run. `s3` uploads
the videos to a server on this machine (moto, whose own time is not counted) and scans them from there into a
run folder there, in one process. Each record must equal that of the first `local` scan, except its run and
path, times, and what only a store or a file system knows; numbers may differ by 1e-4. CPU seconds are those
of the scan's processes with all their children; `stage_cpu_seconds` is their sum over the stages of all
records, without loading models, fetching and writing. The exit code is 1 if a record differs.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3

from deepscan.bench import machine
from deepscan.bench.output import write_machine, write_table
from deepscan.models.lookup import DEFAULT_MODEL
from deepscan.scanning.folder_records import FolderRecords
from deepscan.scanning.paths import collect
from deepscan.scanning.reading import open_records

Record = Mapping[str, Any]

TABLE = Path(__file__).parent / "shards.csv"
SHARDS = 3
#: Keys that may differ between the ways to scan a file.
FREE = {"run", "path", "path_bytes", "mtime_ns", "etag", "copied_from", "started", "seconds"}
TOLERANCE = 1e-4
BUCKET = "videos"


def main() -> int:
    """Scan, compare, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="videos")
    parser.add_argument("--turns", type=int, default=1, help="how often each way is timed")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or folder of the model")
    parser.add_argument("--out", type=Path, default=TABLE, help="the table")
    given = parser.parse_args()
    files = [Path(os.fsdecode(path)) for path in collect([str(given.folder)]).paths]
    options = ["--model", given.model, "--progress", "none"]
    rows: list[dict[str, object]] = []
    reference: dict[str, Record] = {}
    with tempfile.TemporaryDirectory() as scratch, s3_server(Path(scratch)) as environment:
        for path in files:
            client(environment).upload_file(str(path), BUCKET, f"in/{path.name}")
        for turn in range(given.turns):
            folder = Path(scratch) / str(turn)
            folder.mkdir()
            for way, run in ways(given.folder, folder, turn).items():
                seconds, cpu = scan_at_once([[*command, *options] for command in run], environment)
                location = run[0][run[0].index("--out") + 1]
                if way != "local":
                    FolderRecords(location).audit().require_complete()
                records = list(open_records(location))
                found: dict[str, Record] = {os.path.basename(record["path"]): record for record in records}
                reference = reference or found
                if len(records) != len(files) or reference.keys() != found.keys():
                    raise SystemExit(f"{way}: {len(records)} records of {len(found)} of {len(files)} videos")
                worst = max((difference(reference[name], found[name]) for name in found), default=0.0)
                equal = sum(difference(reference[name], found[name]) <= TOLERANCE for name in found)
                rows.append(
                    {
                        "way": way,
                        "turn": turn + 1,
                        "processes": len(run),
                        "videos": len(found),
                        "equal": equal,
                        "largest_difference": f"{worst:.1e}",
                        "seconds": f"{seconds:.1f}",
                        "cpu_seconds": f"{cpu:.1f}",
                        "stage_cpu_seconds": f"{sum(map(stage_cpu, found.values())):.1f}",
                    }
                )
                print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
                write_table(given.out, rows)
    write_machine(given.out, machine.describe() | {"load": machine.load_average()})
    return int(any(row["equal"] != row["videos"] for row in rows))


def ways(videos: Path, folder: Path, turn: int) -> dict[str, list[list[str]]]:
    """Return the name of each way to scan, with the arguments of its commands, which run at the same time."""
    addresses = f"s3://{BUCKET}/in/", f"s3://{BUCKET}/run-{turn}/"
    return {
        "local": [[str(videos), "--out", str(folder / "local.jsonl")]],
        "shards": [
            [str(videos), "--out", f"{folder}/run/", "--shard", f"{number}/{SHARDS}"]
            for number in range(1, SHARDS + 1)
        ],
        "s3": [[addresses[0], "--out", addresses[1]]],
    }


def scan_at_once(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run scans at the same time; return the seconds until the last ended, and the CPU seconds of all."""
    began, cpu = time.monotonic(), 0.0
    scans = [
        subprocess.Popen(
            [sys.executable, "-m", "deepscan", "scan", *command],
            stdout=subprocess.DEVNULL,
            env={**os.environ, **environment},
        )
        for command in commands
    ]
    for process, arguments in zip(scans, commands, strict=True):
        # Unlike `wait`, this has the CPU time of the process and of all its children.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3):  # 3: some videos failed, as they must in each way
            raise SystemExit(f"scan {arguments} ended with exit code {process.returncode}")
        cpu += used.ru_utime + used.ru_stime
    return time.monotonic() - began, cpu


def difference(one: Any, other: Any) -> float:
    """Return the largest difference of numbers in two records; infinite if anything else differs."""
    if isinstance(one, dict) and isinstance(other, dict):
        if (one.keys() ^ other.keys()) - FREE:
            return float("inf")
        pairs = [(one[key], other[key]) for key in one if key not in FREE]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = list(zip(one, other, strict=True))
    elif isinstance(one, float) and isinstance(other, float):
        return abs(one - other)
    else:
        return 0.0 if one == other else float("inf")
    return max((difference(*pair) for pair in pairs), default=0.0)


def stage_cpu(record: Record) -> float:
    """Return the CPU seconds of all stages of a video."""
    return float(sum(value for stage, value in record["seconds"].items() if stage.endswith("_cpu")))


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Start an S3 server with one bucket; yield the variables that point AWS's libraries to it.

    Args:
        folder: A folder without AWS's configuration.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_CONFIG_FILE": str(folder / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
    }
    # This process reads the records in the store.
    os.environ.update(environment)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            client(environment).create_bucket(Bucket=BUCKET)
            yield environment
        finally:
            server.kill()


def client(environment: Mapping[str, str]) -> Any:
    """Return a client of the S3 server."""
    return boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"])


if __name__ == "__main__":
    sys.exit(main())
