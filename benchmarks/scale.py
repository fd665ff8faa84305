"""Scan growing numbers of videos, and large videos: time must be linear and memory constant.

    python benchmarks/scale.py                     # 50, 500 and 5,000 videos, then 4K: about 15 minutes
    python benchmarks/scale.py --videos 50,200 --large 2

Writes scale.csv and scale.machine.json next to this file, or to --out. The videos are copies of eight
small clips with one drawn face; the 4K clips show two faces. Memory is that of the command and its child
processes, with shared pages counted once (Linux's PSS), measured ten times per second; "above model" is the
part beyond a scan that has loaded everything but has no videos.
"""

import argparse
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from speed import HERE, Row, scan_command

from deepscan.bench import machine
from deepscan.bench.clips import Clip, make_clip
from deepscan.bench.output import write_machine, write_table
from deepscan.models.lookup import DEFAULT_MODEL

#: Seconds between two measurements of the memory.
INTERVAL = 0.1
SMALL = [Clip(320, 240, frames=12, fps=12, seed=seed) for seed in range(8)]
LARGE = Clip(3840, 2160, frames=64, faces=2)


@dataclass(frozen=True, slots=True)
class Scanned:
    """Time and memory of a scan.

    Attributes:
        seconds: Duration in seconds.
        peak: Peak memory of all processes together, in bytes.
        first: Peak memory of the command's own process in the first half of the time, in bytes.
        second: The same for the second half.
    """

    seconds: float
    peak: int
    first: int
    second: int


def main() -> None:
    """Scan, measure, write the table and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", default="50,500,5000", help="numbers of videos, separated by commas")
    parser.add_argument("--large", type=int, default=8, help="number of 4K clips")
    parser.add_argument("--frames", type=int, default=4, help="frames sampled from each small video")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model for scan")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the results")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with copies([], 0, folder) as videos:
            idle = measure(videos, arguments.model, arguments.frames)
        rows.append(row("nothing", 0, idle, idle))
        clips = [make_clip(clip, folder) for clip in SMALL]
        for count in map(int, arguments.videos.split(",")):
            with copies(clips, count, folder) as videos:
                scanned = measure(videos, arguments.model, arguments.frames)
            rows.append(row(f"{SMALL[0].width}x{SMALL[0].height}", count, scanned, idle))
            print(rows[-1], file=sys.stderr)
        if arguments.large:
            with copies([make_clip(LARGE, folder)], arguments.large, folder) as videos:
                scanned = measure(videos, arguments.model, 32)
            rows.append(row(f"{LARGE.width}x{LARGE.height}", arguments.large, scanned, idle))
    path = arguments.out / "scale.csv"
    write_table(path, rows)
    load = machine.load_average()
    write_machine(
        path, machine.describe() | {"load": load, "model": arguments.model, "frames": arguments.frames}
    )
    print(path.read_text(encoding="utf-8"))


@contextmanager
def copies(clips: Sequence[Path], count: int, folder: Path) -> Iterator[Path]:
    """Create many copies of clips in a folder, which is removed at the end."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for number in range(count):
            content = clips[number % len(clips)].read_bytes()
            # An empty box with a number makes each another file: a scan decodes equal files once.
            unique = struct.pack(">I4sI", 12, b"free", number)
            (Path(name) / f"{number:05}.mp4").write_bytes(content + unique)
        yield Path(name)


def measure(videos: Path, model: str, frames: int) -> Scanned:
    """Scan a folder and measure time and memory.

    Raises:
        CalledProcessError: The scan failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ["--model", model, "--frames", str(frames)]
        command = scan_command([str(videos)], Path(folder) / "records.jsonl", options)
        start = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            samples = []
            while process.poll() is None:
                own = memory(process.pid)
                samples.append((own, own + sum(map(memory, children(process.pid)))))
                time.sleep(INTERVAL)
        seconds = time.monotonic() - start
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
    middle = len(samples) // 2
    own_samples = [before for before, _ in samples]
    return Scanned(
        seconds, max(whole for _, whole in samples), max(own_samples[: middle + 1]), max(own_samples[middle:])
    )


def memory(pid: int) -> int:
    """Return a process's memory in bytes, with its part of shared pages; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def children(pid: int) -> set[int]:
    """Return the running child processes of a process."""
    found: set[int] = set()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def row(size: str, count: int, scanned: Scanned, idle: Scanned) -> Row:
    """Return a row of the table, without the time of a scan without videos."""
    work = scanned.seconds - idle.seconds
    return {
        "size": size,
        "videos": count,
        "seconds": round(scanned.seconds, 2),
        "milliseconds_a_video": round(1000 * work / count, 1) if count else "",
        "peak_mb": round(scanned.peak / 2**20),
        "above_model_mb": round((scanned.peak - idle.peak) / 2**20),
        "own_first_half_mb": round(scanned.first / 2**20, 1),
        "own_second_half_mb": round(scanned.second / 2**20, 1),
    }


if __name__ == "__main__":
    main()
