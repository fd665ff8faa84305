"""Holds a scan against the pipeline that people write today (plain.py): one run, the same files, in turns.

    python benchmarks/speed.py VIDEOS              # files and folders; 72 short clips take about 8 minutes
    python benchmarks/speed.py VIDEOS --passes 1 --also "--precision int8"
    python benchmarks/speed.py --draw              # the chart again, from the tables

Writes beside this file, or into --out: speed.csv, one ratio a row; speed-clips.csv, one clip a row, without
its name; speed.machine.json; speed.svg. Needs deepscan-forensics[torch]; give the machine nothing else to do.

The files are dealt out into blocks. Each program takes a block in a process of its own, the programs taking
turns, so that a slow minute falls on all of them. Start-up is what passes before the first file is begun; it
is reported apart, and the work is the rest. A clip's seconds are those that each program states for it:
decoding and faces of the one; hashing, probing, decoding, faces and, in a whole scan, the detector of the
other.
"""

import argparse
import csv
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deepscan.bench import machine
from deepscan.bench.clips import Clip, make_clip
from deepscan.bench.output import write_machine, write_table
from deepscan.bench.timing import cpu_seconds
from deepscan.scanning.paths import collect

HERE = Path(__file__).parent
#: Names of the programs, and what deepscan is told for each of its own.
PLAIN, FACES, SCAN = "plain", "faces", "scan"
#: Stages of a record that are not work on its clip.
IDLE = frozenset({"wait", "total"})
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program did with a block of files.

    Attributes:
        start_up: Seconds before the first file was begun.
        work: Seconds from then to the process's end.
        cpu: Seconds of all cores, from beginning to end.
        clips: File -> the seconds that the program states for it.
        sizes: File -> width, height and frames looked at, where the program tells them.
    """

    start_up: float
    work: float
    cpu: float
    clips: Mapping[str, float]
    sizes: Mapping[str, tuple[int, int, int]]


def main() -> None:
    """Measure, write the tables, draw the chart and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="*", help="files and folders")
    parser.add_argument("--passes", type=int, default=2, help="how often each program sees each file")
    parser.add_argument("--blocks", type=int, default=6, help="into how many parts the files are dealt out")
    parser.add_argument("--also", action="append", default=[], help="further options of scan to measure")
    parser.add_argument("--starts", type=int, default=5, help="cold starts for the first answer")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the results")
    parser.add_argument("--draw", action="store_true", help="draw the chart again")
    given = parser.parse_args()
    if not given.draw:
        measure(given)
    draw(given.out)
    print((given.out / "speed.csv").read_text(encoding="utf-8"))


def measure(given: argparse.Namespace) -> None:
    """Run the programs and write the tables."""
    videos = readable([os.fsdecode(path) for path in collect(given.videos).paths])
    programs = {
        FACES: ["--model", "none"],
        SCAN: [],
        **{f"{SCAN} {more}": shlex.split(more) for more in given.also},
    }
    load = machine.load_average()
    facts = machine.describe() | {"load": load, "videos": len(videos), "passes": given.passes}
    runs: dict[str, list[list[Ran]]] = defaultdict(list)
    begun = time.monotonic()
    for turn in range(given.passes):
        for name in (PLAIN, *programs):
            runs[name].append([])
        for at in range(given.blocks):
            block = videos[at :: given.blocks]
            runs[PLAIN][turn].append(run_plain(block))
            for name, options in programs.items():
                runs[name][turn].append(run_scan(block, options))
            done = turn * given.blocks + at + 1
            left = (time.monotonic() - begun) / done * (given.passes * given.blocks - done)
            print(f"{done} of {given.passes * given.blocks} blocks, {left:.0f} s left", file=sys.stderr)
    clips = by_clip(runs)
    write_table(given.out / "speed.csv", [*ratios(runs, clips), *first_answer(given.starts)])
    write_table(given.out / "speed-clips.csv", clips)
    write_machine(given.out / "speed.csv", facts)


def readable(videos: Sequence[str]) -> list[str]:
    """Return the files that the plain pipeline can decode: decord opens neither GIF nor AV1."""
    there = run_plain(videos, "--decode").clips
    if lacking := len(videos) - len(there):
        print(f"{lacking} of {len(videos)} files are left out: decord does not open them", file=sys.stderr)
    return [path for path in videos if path in there]


def run_plain(videos: Sequence[str], *options: str) -> Ran:
    """Run the plain pipeline."""
    begun, spent = time.monotonic(), cpu_seconds()
    with subprocess.Popen(
        [sys.executable, HERE / "plain.py", *options, *videos],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        start_up = time.monotonic() - begun
        told = [json.loads(line) for line in process.stdout]
    whole = time.monotonic() - begun
    if len(told) != len(videos):
        raise RuntimeError(f"the plain pipeline ended after {len(told)} of {len(videos)} files")
    read = [line for line in told if "error" not in line]
    return Ran(
        start_up,
        whole - start_up,
        cpu_seconds() - spent,
        {line["path"]: line["decode"] + line["faces"] for line in read},
        {line["path"]: (line["width"], line["height"], line["frames"]) for line in read},
    )


def run_scan(videos: Sequence[str], options: Sequence[str]) -> Ran:
    """Run a scan."""
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.jsonl"
        command = scan_command(videos, records, options)
        begun, clock, spent = time.time(), time.monotonic(), cpu_seconds()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = time.monotonic() - clock
        told = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    start_up = min(datetime.fromisoformat(record["started"]).timestamp() for record in told) - begun
    clips = {
        record["path"]: sum(seconds for stage, seconds in record["seconds"].items() if stage not in IDLE)
        for record in told
    }
    return Ran(start_up, whole - start_up, cpu_seconds() - spent, clips, {})


def scan_command(videos: Sequence[str], records: Path, options: Sequence[str]) -> list[str]:
    """Return the command that scans videos in a process of its own."""
    command = [sys.executable, "-m", "deepscan", "scan", *videos, "--out", str(records)]
    return [*command, "--progress", "none", *options]


def ratios(runs: Mapping[str, Sequence[Sequence[Ran]]], clips: Sequence[Mapping[str, float]]) -> list[Row]:
    """Return for each program how its seconds compare with the plain pipeline's, over all files."""
    rows = []
    for name in runs:
        if name == PLAIN:
            continue
        for part in ("work", "start_up", "cpu"):
            pairs = [
                (total(plain, part), total(ours, part))
                for plain, ours in zip(runs[PLAIN], runs[name], strict=True)
            ]
            rows.append(row(f"{name}: {part.replace('_', '-')}", pairs))
        factors = [clip[PLAIN] / clip[name] for clip in clips]
        slower = sum(factor < 1 for factor in factors)
        rows.append(
            {
                "what": f"{name}: clip by clip, {slower} of {len(clips)} slower",
                "ratio": round(statistics.median(factors), 2),
                "low": round(min(factors), 2),
                "high": round(max(factors), 2),
                "n": len(clips),
            }
        )
    return rows


def first_answer(starts: int) -> list[Row]:
    """Return how a scan of one 10-second clip in 720p compares with the plain imports and decoding alone."""
    with tempfile.TemporaryDirectory() as folder:
        clip = str(make_clip(Clip(), Path(folder)))
        pairs = []
        for _ in range(starts):
            plain, ours = run_plain([clip], "--decode"), run_scan([clip], [])
            pairs.append((plain.start_up + plain.work, ours.start_up + ours.work))
    return [row("first answer, against imports and decoding alone", pairs)]


def row(what: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """Return a row: medians of the plain pipeline's seconds and of ours, and the ratio of each turn."""
    factors = [plain / ours for plain, ours in pairs]
    return {
        "what": what,
        "plain_seconds": round(statistics.median(plain for plain, _ in pairs), 3),
        "our_seconds": round(statistics.median(ours for _, ours in pairs), 3),
        "ratio": round(statistics.median(factors), 2),
        "low": round(min(factors), 2),
        "high": round(max(factors), 2),
        "n": len(pairs),
    }


def total(blocks: Sequence[Ran], part: str) -> float:
    """Return the seconds of all blocks together; of starting, the median, since a user starts once."""
    seconds = [float(getattr(block, part)) for block in blocks]
    return statistics.median(seconds) if part == "start_up" else sum(seconds)


def by_clip(runs: Mapping[str, Sequence[Sequence[Ran]]]) -> list[Mapping[str, float]]:
    """Return each clip's size and, of each program, the least seconds of all passes: noise only adds."""
    sizes = {path: size for block in runs[PLAIN][0] for path, size in block.sizes.items()}
    least = {
        name: {
            path: min(ran.clips[path] for blocks in passes for ran in blocks if path in ran.clips)
            for path in sizes
        }
        for name, passes in runs.items()
    }
    return [
        {
            "clip": number,
            "width": width,
            "height": height,
            "frames": frames,
            **{name: round(seconds[path], 3) for name, seconds in least.items()},
        }
        for number, (path, (width, height, frames)) in enumerate(sorted(sizes.items()), start=1)
    ]


def draw(folder: Path) -> None:
    """Draw the seconds of all clips, and how many times as fast each clip is."""
    from deepscan.evaluation.plot_style import COLOURS, GREY, MARKERS, new_figure, styled

    with (folder / "speed.csv").open(newline="", encoding="utf-8") as file:
        told = {line["what"]: line for line in csv.DictReader(file)}
    with (folder / "speed-clips.csv").open(newline="", encoding="utf-8") as file:
        clips = list(csv.DictReader(file))
    names = [name for name in clips[0] if name not in ("clip", "width", "height", "frames", PLAIN)]
    words = {
        PLAIN: "decord + MTCNN, no detector",
        FACES: "deepscan, no detector",
        SCAN: "deepscan, whole scan",
    }
    with styled():
        figure = new_figure(2.6)
        bars, points = figure.subplots(1, 2, width_ratios=(1.2, 1))
        labels = [PLAIN, *names]
        for at, name in enumerate(labels):
            column = "plain_seconds" if name == PLAIN else "our_seconds"
            start, work = (
                float(told[f"{FACES if name == PLAIN else name}: {part}"][column])
                for part in ("start-up", "work")
            )
            bars.barh(at, start, color=GREY, label="start-up" if not at else None)
            bars.barh(at, work, left=start, color=COLOURS[0 if at else 1])
            times = "" if name == PLAIN else f", {told[f'{name}: work']['ratio']} times as fast"
            bars.annotate(f" {start + work:.0f} s{times}", (start + work, at), va="center", fontsize=8)
        bars.set_yticks(range(len(labels)), [words.get(name, f"deepscan, {name}") for name in labels])
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
        bars.margins(x=0.45)
        bars.set_xlabel(f"seconds for {len(clips)} clips, 32 frames each")
        bars.legend(loc="center right")
        for at, name in enumerate(names[:2]):
            points.scatter(
                [int(clip["width"]) * int(clip["height"]) / 1e6 for clip in clips],
                [float(clip[PLAIN]) / float(clip[name]) for clip in clips],
                s=14,
                marker=MARKERS[at],
                color=COLOURS[(0, 2)[at]],
                label=words[name],
            )
        points.axhline(1, color=GREY)
        points.set(xscale="log", yscale="log", xlabel="megapixels of a frame", ylabel="times as fast")
        points.set_yticks([1, 2, 5, 10, 20, 50], [1, 2, 5, 10, 20, 50], minor=False)
        points.set_yticks([], minor=True)
        points.xaxis.set_major_formatter("{x:g}")
        points.legend(loc="best")
        figure.savefig(folder / "speed.svg", format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
