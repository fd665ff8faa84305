"""Scans more and more videos, and large ones: the time must be linear, the memory flat.

    python benchmarks/scale.py                     # 50, 500 and 5,000 videos, then 4K: about 15 minutes
    python benchmarks/scale.py --videos 50,200 --large 2

Writes scale.csv and scale.machine.json beside this file, or into --out. The videos are hard links to eight
small clips with a drawn face, under names of their own; the 4K clips show two. Memory is that of the command
and of the processes that it starts, shared pages counted once (Linux's PSS), looked at ten times a
second; above the model is what it takes over a scan that has loaded everything and has nothing to do.
"""

import argparse
import os
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

#: Seconds between two looks at the memory.
EVERY = 0.1
SMALL = [Clip(320, 240, frames=12, fps=12, seed=seed) for seed in range(8)]
LARGE = Clip(3840, 2160, frames=64, faces=2)


@dataclass(frozen=True, slots=True)
class Scanned:
    """A scan that was watched.

    Attributes:
        seconds: From start to end.
        peak: Most memory of all its processes together, in bytes.
        first: Most memory of the command's own process in the first half of the time, in bytes.
        second: The same in the second half.
    """

    seconds: float
    peak: int
    first: int
    second: int


def main() -> None:
    """Scan, watch, write the table and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", default="50,500,5000", help="how many, with commas")
    parser.add_argument("--large", type=int, default=8, help="how many 4K clips")
    parser.add_argument("--frames", type=int, default=4, help="frames sampled from each small video")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="a model that scan takes")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the results")
    given = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with linked([], 0, folder) as videos:
            idle = watched(videos, given.model, given.frames)
        rows.append(row("nothing", 0, idle, idle))
        clips = [make_clip(clip, folder) for clip in SMALL]
        for count in map(int, given.videos.split(",")):
            with linked(clips, count, folder) as videos:
                told = watched(videos, given.model, given.frames)
            rows.append(row(f"{SMALL[0].width}x{SMALL[0].height}", count, told, idle))
            print(rows[-1], file=sys.stderr)
        if given.large:
            with linked([make_clip(LARGE, folder)], given.large, folder) as videos:
                told = watched(videos, given.model, 32)
            rows.append(row(f"{LARGE.width}x{LARGE.height}", given.large, told, idle))
    path = given.out / "scale.csv"
    write_table(path, rows)
    load = machine.load_average()
    write_machine(path, machine.describe() | {"load": load, "model": given.model, "frames": given.frames})
    print(path.read_text(encoding="utf-8"))


@contextmanager
def linked(clips: Sequence[Path], count: int, folder: Path) -> Iterator[Path]:
    """Give clips many names in a folder, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for number in range(count):
            os.link(clips[number % len(clips)], Path(name) / f"{number:05}.mp4")
        yield Path(name)


def watched(videos: Path, model: str, frames: int) -> Scanned:
    """Scan a folder, watching the memory.

    Raises:
        CalledProcessError: The scan failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = ["--model", model, "--frames", str(frames)]
        command = scan_command([str(videos)], Path(folder) / "records.jsonl", options)
        begun = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            seen = []
            while process.poll() is None:
                own = memory(process.pid)
                seen.append((own, own + sum(map(memory, children(process.pid)))))
                time.sleep(EVERY)
        seconds = time.monotonic() - begun
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
    half = len(seen) // 2
    alone = [before for before, _ in seen]
    return Scanned(seconds, max(whole for _, whole in seen), max(alone[: half + 1]), max(alone[half:]))


def memory(pid: int) -> int:
    """Return the bytes of memory of a process, its part of shared pages; 0 once it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def children(pid: int) -> set[int]:
    """Return the processes that a process has started and that have not ended."""
    found: set[int] = set()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def row(size: str, count: int, told: Scanned, idle: Scanned) -> Row:
    """Return a row of the table; times without what a scan of nothing takes."""
    work = told.seconds - idle.seconds
    return {
        "size": size,
        "videos": count,
        "seconds": round(told.seconds, 2),
        "milliseconds_a_video": round(1000 * work / count, 1) if count else "",
        "peak_mb": round(told.peak / 2**20),
        "above_model_mb": round((told.peak - idle.peak) / 2**20),
        "own_first_half_mb": round(told.first / 2**20, 1),
        "own_second_half_mb": round(told.second / 2**20, 1),
    }


if __name__ == "__main__":
    main()
