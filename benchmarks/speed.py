"""Compare the speed of a scan with that of a common pipeline (plain.py): same files, in turns, in one run.

    python benchmarks/speed.py VIDEOS              # files and folders; 72 short clips take about 8 minutes
    python benchmarks/speed.py VIDEOS --passes 1 --also "--precision int8"
    python benchmarks/speed.py --draw              # only draw the chart from the tables

Writes next to this file, or to --out: speed.csv with one ratio per row; speed-clips.csv with one clip per
row, without file names; speed.machine.json; speed.svg. Requires deepscan-forensics[torch] and an idle
machine.

The files are divided into blocks. Each program processes a block in its own process, and the programs take
turns, so that a slow minute affects all of them. Start-up is the time before the first file starts; it is
reported separately, and the rest is work. A clip's seconds are those that each program reports for it:
decoding and faces in the plain pipeline; hashing, probing, decoding, faces and, in a whole scan, the detector
in deepscan.
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
from deepscan.media.frames import CPU_SUFFIX
from deepscan.scanning.paths import collect

HERE = Path(__file__).parent
#: Names of the programs.
PLAIN, FACES, SCAN = "plain", "faces", "scan"
#: Stages in a record that are not work on its clip.
IDLE = frozenset({"wait", "total"})
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ProgramRun:
    """The times of a program for a block of files.

    Attributes:
        start_up: Seconds before the first file started.
        work: Seconds from then to the end of the process.
        cpu: CPU seconds of all cores.
        clips: File -> seconds that the program reports for it.
        sizes: File -> width, height and number of frames, if the program reports them.
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
    parser.add_argument("--passes", type=int, default=2, help="how often each program processes each file")
    parser.add_argument("--blocks", type=int, default=6, help="number of blocks to divide the files into")
    parser.add_argument("--also", action="append", default=[], help="more options of scan to measure")
    parser.add_argument("--starts", type=int, default=5, help="number of cold starts for the first answer")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the results")
    parser.add_argument("--draw", action="store_true", help="only draw the chart")
    arguments = parser.parse_args()
    if not arguments.draw:
        measure(arguments)
    draw(arguments.out)
    print((arguments.out / "speed.csv").read_text(encoding="utf-8"))


def measure(arguments: argparse.Namespace) -> None:
    """Run all programs and write the tables."""
    videos = readable([os.fsdecode(path) for path in collect(arguments.videos).paths])
    programs = {
        FACES: ["--model", "none"],
        SCAN: [],
        **{f"{SCAN} {extra}": shlex.split(extra) for extra in arguments.also},
    }
    load = machine.load_average()
    facts = machine.describe() | {"load": load, "videos": len(videos), "passes": arguments.passes}
    runs: dict[str, list[list[ProgramRun]]] = defaultdict(list)
    start = time.monotonic()
    for turn in range(arguments.passes):
        for name in (PLAIN, *programs):
            runs[name].append([])
        for index in range(arguments.blocks):
            block = videos[index :: arguments.blocks]
            runs[PLAIN][turn].append(run_plain(block))
            for name, options in programs.items():
                runs[name][turn].append(run_scan(block, options))
            done = turn * arguments.blocks + index + 1
            left = (time.monotonic() - start) / done * (arguments.passes * arguments.blocks - done)
            print(
                f"{done} of {arguments.passes * arguments.blocks} blocks, {left:.0f} s left", file=sys.stderr
            )
    clips = by_clip(runs)
    write_table(arguments.out / "speed.csv", [*ratios(runs, clips), *first_answer(arguments.starts)])
    write_table(arguments.out / "speed-clips.csv", clips)
    write_machine(arguments.out / "speed.csv", facts)


def readable(videos: Sequence[str]) -> list[str]:
    """Return the files that the plain pipeline can decode; decord opens neither GIF nor AV1."""
    decodable = run_plain(videos, "--decode").clips
    if skipped := len(videos) - len(decodable):
        print(
            f"{skipped} of {len(videos)} files are skipped because decord cannot open them", file=sys.stderr
        )
    return [path for path in videos if path in decodable]


def run_plain(videos: Sequence[str], *options: str) -> ProgramRun:
    """Run the plain pipeline."""
    start, cpu_start = time.monotonic(), cpu_seconds()
    with subprocess.Popen(
        [sys.executable, HERE / "plain.py", *options, *videos],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        start_up = time.monotonic() - start
        reported = [json.loads(line) for line in process.stdout]
    whole = time.monotonic() - start
    if len(reported) != len(videos):
        raise RuntimeError(f"the plain pipeline ended after {len(reported)} of {len(videos)} files")
    read = [line for line in reported if "error" not in line]
    return ProgramRun(
        start_up,
        whole - start_up,
        cpu_seconds() - cpu_start,
        {line["path"]: line["decode"] + line["faces"] for line in read},
        {line["path"]: (line["width"], line["height"], line["frames"]) for line in read},
    )


def run_scan(videos: Sequence[str], options: Sequence[str]) -> ProgramRun:
    """Run a scan with options."""
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records.jsonl"
        command = scan_command(videos, records, options)
        start, clock_start, cpu_start = time.time(), time.monotonic(), cpu_seconds()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = time.monotonic() - clock_start
        reported = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    start_up = min(datetime.fromisoformat(record["started"]).timestamp() for record in reported) - start
    clips = {
        record["path"]: sum(
            seconds
            for stage, seconds in record["seconds"].items()
            if stage not in IDLE and not stage.endswith(CPU_SUFFIX)
        )
        for record in reported
    }
    return ProgramRun(start_up, whole - start_up, cpu_seconds() - cpu_start, clips, {})


def scan_command(videos: Sequence[str], records: Path, options: Sequence[str]) -> list[str]:
    """Return the command of a scan."""
    command = [sys.executable, "-m", "deepscan", "scan", *videos, "--out", str(records)]
    return [*command, "--progress", "none", *options]


def ratios(
    runs: Mapping[str, Sequence[Sequence[ProgramRun]]], clips: Sequence[Mapping[str, float]]
) -> list[Row]:
    """Return the ratios of the plain pipeline's times to those of each program, over all files."""
    rows = []
    for name in runs:
        if name == PLAIN:
            continue
        for part in ("work", "start_up", "cpu"):
            pairs = [
                (total(plain, part), total(deepscan, part))
                for plain, deepscan in zip(runs[PLAIN], runs[name], strict=True)
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
    """Compare a scan of a 10-second clip in 720p with the plain pipeline's imports and decoding."""
    with tempfile.TemporaryDirectory() as folder:
        clip = str(make_clip(Clip(), Path(folder)))
        pairs = []
        for _ in range(starts):
            plain, deepscan = run_plain([clip], "--decode"), run_scan([clip], [])
            pairs.append((plain.start_up + plain.work, deepscan.start_up + deepscan.work))
    return [row("first answer, against imports and decoding alone", pairs)]


def row(comparison: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """Return a row: median seconds of the plain pipeline and deepscan, and their ratios over the turns."""
    factors = [plain / deepscan for plain, deepscan in pairs]
    return {
        "what": comparison,
        "plain_seconds": round(statistics.median(plain for plain, _ in pairs), 3),
        "our_seconds": round(statistics.median(deepscan for _, deepscan in pairs), 3),
        "ratio": round(statistics.median(factors), 2),
        "low": round(min(factors), 2),
        "high": round(max(factors), 2),
        "n": len(pairs),
    }


def total(blocks: Sequence[ProgramRun], part: str) -> float:
    """Return the seconds of all blocks; for start-up the median, since a user starts once."""
    seconds = [float(getattr(block, part)) for block in blocks]
    return statistics.median(seconds) if part == "start_up" else sum(seconds)


def by_clip(runs: Mapping[str, Sequence[Sequence[ProgramRun]]]) -> list[Mapping[str, float]]:
    """Return a clip's size and each program's minimum seconds over all passes, since noise only adds time."""
    sizes = {path: size for block in runs[PLAIN][0] for path, size in block.sizes.items()}
    least = {
        name: {
            path: min(run.clips[path] for blocks in passes for run in blocks if path in run.clips)
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
    """Draw the seconds of all clips and the ratio of each clip."""
    from deepscan.evaluation.plot_style import COLOURS, GREY, MARKERS, new_figure, styled

    with (folder / "speed.csv").open(newline="", encoding="utf-8") as file:
        reported = {line["what"]: line for line in csv.DictReader(file)}
    with (folder / "speed-clips.csv").open(newline="", encoding="utf-8") as file:
        clips = list(csv.DictReader(file))
    names = [name for name in clips[0] if name not in ("clip", "width", "height", "frames", PLAIN)]
    captions = {
        PLAIN: "decord + MTCNN, no detector",
        FACES: "deepscan, no detector",
        SCAN: "deepscan, whole scan",
    }
    with styled():
        figure = new_figure(2.6)
        bars, points = figure.subplots(1, 2, width_ratios=(1.2, 1))
        labels = [PLAIN, *names]
        for index, name in enumerate(labels):
            column = "plain_seconds" if name == PLAIN else "our_seconds"
            start, work = (
                float(reported[f"{FACES if name == PLAIN else name}: {part}"][column])
                for part in ("start-up", "work")
            )
            bars.barh(index, start, color=GREY, label="start-up" if not index else None)
            bars.barh(index, work, left=start, color=COLOURS[0 if index else 1])
            times = "" if name == PLAIN else f", {reported[f'{name}: work']['ratio']} times as fast"
            bars.annotate(f" {start + work:.0f} s{times}", (start + work, index), va="center", fontsize=8)
        bars.set_yticks(range(len(labels)), [captions.get(name, f"deepscan, {name}") for name in labels])
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
        bars.margins(x=0.45)
        bars.set_xlabel(f"seconds for {len(clips)} clips, 32 frames each")
        bars.legend(loc="center right")
        for index, name in enumerate(names[:2]):
            points.scatter(
                [int(clip["width"]) * int(clip["height"]) / 1e6 for clip in clips],
                [float(clip[PLAIN]) / float(clip[name]) for clip in clips],
                s=14,
                marker=MARKERS[index],
                color=COLOURS[(0, 2)[index]],
                label=captions[name],
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
