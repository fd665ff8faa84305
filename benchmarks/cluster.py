"""Scan a folder as one file, on a Ray cluster, and on one with split stages, and compare the records.

    python benchmarks/cluster.py DIR              # all three ways, in turns with --turns
    python benchmarks/cluster.py sample_videos

Writes cluster.csv next to this file, or to --out. The cluster is on this machine, with as many CPUs. Its
processes are started for each scan and counted: `cpu_seconds` are those of every process that a way starts,
Ray's daemons included, as last seen in /proc; `stage_cpu_seconds` are their sum over the stages of all
records. Records are compared as `shards.py` does. The exit code is 1 if a record differs.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from shards import TOLERANCE, Record, difference, stage_cpu

from deepscan.bench import machine
from deepscan.bench.output import write_machine, write_table
from deepscan.devices import usable_cpus
from deepscan.models.lookup import DEFAULT_MODEL
from deepscan.scanning.folder_records import FolderRecords
from deepscan.scanning.reading import open_records

TABLE = Path(__file__).with_suffix(".csv")
#: Environment of Ray: no reports, and nothing written outside its own folder.
RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
#: Way to scan -> its options, besides the folder and the output.
WAYS = {"local": [], "ray": ["--cluster"], "split": ["--stages", "split", "--cluster"]}


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
    rows: list[dict[str, object]] = []
    reference: dict[str, Record] = {}
    # Short, because the names of Ray's sockets are in it.
    with tempfile.TemporaryDirectory(prefix="ds") as scratch:
        for turn in range(given.turns):
            for way in WAYS:
                out = f"{scratch}/{way}{turn}" + (".jsonl" if way == "local" else "/")
                command = [str(given.folder), "--out", out, "--model", given.model, "--progress", "none"]
                seconds, cpu = scan(way, command, Path(scratch) / f"r{way[0]}{turn}")
                if way != "local":
                    FolderRecords(out).audit().require_complete()
                found: dict[str, Record] = {record["path"]: record for record in open_records(out)}
                reference = reference or found
                if reference.keys() != found.keys():
                    raise SystemExit(f"{way}: records of {len(found)} videos, not of {len(reference)}")
                differences = [difference(reference[path], found[path]) for path in found]
                rows.append(
                    {
                        "way": way,
                        "turn": turn + 1,
                        "videos": len(found),
                        "equal": sum(each <= TOLERANCE for each in differences),
                        "largest_difference": f"{max(differences, default=0.0):.1e}",
                        "seconds": f"{seconds:.1f}",
                        "cpu_seconds": f"{cpu:.1f}",
                        "stage_cpu_seconds": f"{sum(map(stage_cpu, found.values())):.1f}",
                    }
                )
                print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
                write_table(given.out, rows)
    write_machine(given.out, machine.describe() | {"load": machine.load_average()})
    return int(any(row["equal"] != row["videos"] for row in rows))


def scan(way: str, command: list[str], folder: Path) -> tuple[float, float]:
    """Run a scan; return its seconds, and the CPU seconds of all processes that it needs.

    Args:
        way: One of `WAYS`.
        command: The arguments of the scan.
        folder: Where Ray writes.
    """
    with CpuOfProcesses() as counted, ExitStack() as stack:
        environment = {**os.environ, **RAY, **counted.mark}
        options = list(WAYS[way])
        if way != "local":
            options.append(stack.enter_context(ray_cluster(folder, environment)))
        began = time.monotonic()
        process = subprocess.run(
            [sys.executable, "-m", "deepscan", "scan", *command, *options],
            stdout=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
        seconds = time.monotonic() - began
    if process.returncode not in (0, 3):  # 3: some videos failed, as they must in each way
        raise SystemExit(f"scan {options} ended with exit code {process.returncode}")
    return seconds, counted.seconds


@contextmanager
def ray_cluster(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Start a cluster with the CPUs of this machine, and yield its address.

    Args:
        folder: Where it writes.
        environment: The variables of its processes.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    command += ["--include-dashboard=false", f"--num-cpus={usable_cpus()}"]
    command += [f"--port={port}", f"--temp-dir={folder}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as head:
        try:
            # Until its machine has joined, the cluster has no CPU; the driver waits for that.
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()


class CpuOfProcesses:
    """Counts the CPU seconds of all processes with a variable in their environment; a context manager.

    Daemons are children of no process that could be asked for their time, so /proc is read ten times a
    second. What a process uses after it was last seen is not counted.
    """

    def __init__(self) -> None:
        self.mark = {"DEEPSCAN_BENCHMARK": uuid.uuid4().hex}
        self._word = "DEEPSCAN_BENCHMARK={}".format(*self.mark.values()).encode()
        # Process and the time of its start -> whether it counts, and its ticks.
        self._counts: dict[tuple[str, bytes], bool] = {}
        self._ticks: dict[tuple[str, bytes], int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def seconds(self) -> float:
        """CPU seconds so far."""
        return sum(self._ticks.values()) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            for number in filter(str.isdigit, os.listdir("/proc")):
                with suppress(OSError, ValueError, IndexError):
                    self._look(number)

    def _look(self, number: str) -> None:
        status = Path(f"/proc/{number}/stat").read_bytes()
        fields = status[status.rindex(b")") + 2 :].split()
        key = number, fields[19]
        if not self._counts.get(key):
            variables = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
            # A process that has just been forked still has the environment of its parent.
            self._counts[key] = self._word in variables
        if self._counts[key]:
            self._ticks[key] = int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    sys.exit(main())
