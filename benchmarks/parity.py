"""Holds what a scan finds with `--faces fast` against `--faces exact`, on a folder of videos.

    python benchmarks/parity.py DIR                      # scans it twice; exact takes several times as long
    python benchmarks/parity.py DIR --exact FILE.jsonl   # what an exact scan has written is taken as it is

`exact` gives the boxes of facenet-pytorch's MTCNN on every sampled frame, so that its largest face is the
one that a pipeline keeps which takes the largest. Faces of 48 pixels and more count. The table goes to
parity.csv, each figure with its limit; the exit status is 1 where one is missed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepscan.bench.output import write_table
from deepscan.faces.boxes import iou
from deepscan.scanning.journal import read_journal

Record = Mapping[str, Any]
Line = Mapping[str, Any]

TABLE = Path(__file__).parent / "parity.csv"
#: Least side of a face in pixels of the frame, least confidence of `exact`, least overlap with it.
SIDE, SURE, OVERLAP = 48, 0.95, 0.6
#: Figure -> whether it must be at least or at most its limit.
LIMITS = {
    "frames whose faces are all found": (">=", 0.99),
    "median landmark distance / eye distance": ("<=", 0.02),
    "mean difference of video scores": ("<=", 0.02),
    "videos whose largest face is kept": (">=", 1.0),
    "videos with a score in one mode only": ("<=", 0.0),
}


def main() -> int:
    """Compare, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="videos")
    parser.add_argument("--exact", type=Path, help="records of `deepscan scan DIR --faces exact --out FILE`")
    parser.add_argument("--fast", type=Path, help="likewise, with --faces fast")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        records = [
            read(getattr(given, mode) or scanned(given.folder, mode, Path(scratch)))
            for mode in ("exact", "fast")
        ]
    figures = compared(*records)
    rows = []
    for name, (bound, limit) in LIMITS.items():
        value, count = figures[name]
        kept = value >= limit if bound == ">=" else value <= limit
        figure = {"figure": name, "value": f"{value:.4f}", "of": count, "limit": f"{bound} {limit:g}"}
        rows.append({**figure, "kept": "yes" if kept else "no"})
        print(f"{name:42} {value:7.4f} of {count:5d}   {bound} {limit:<5g} {'' if kept else 'MISSED'}")
    write_table(TABLE, rows)
    return int(any(row["kept"] == "no" for row in rows))


def scanned(folder: Path, mode: str, scratch: Path) -> Path:
    """Return the records of a scan with the default model."""
    out = scratch / f"{mode}.jsonl"
    command = [sys.executable, "-m", "deepscan", "scan", str(folder), "--faces", mode, "--out", str(out)]
    # Some inputs may fail: both modes must then fail alike.
    subprocess.run(command, check=False)
    return out


def read(path: Path) -> dict[str, Record]:
    """Return records by the name of the file that they are of."""
    return {os.path.basename(record["path"]): record for _, _, record in read_journal(path)}


def compared(exact: Mapping[str, Record], fast: Mapping[str, Record]) -> dict[str, tuple[float, int]]:
    """Return each figure with the number of cases that it is taken from."""
    frames, distances, kept, apart, alone = [], [], [], [], 0
    for name, reference in exact.items():
        found = by_frame(fast[name])
        largest = []
        for index, truth in by_frame(reference).items():
            wanted = [line for line in truth if min(sides(line)) >= SIDE and line["probability"] >= SURE]
            if not wanted:
                continue
            matches = [nearest(line, found.get(index, [])) for line in wanted]
            frames.append(all(match is not None for match in matches))
            distances += [
                distance(line, match)
                for line, match in zip(wanted, matches, strict=True)
                if match is not None
            ]
            greatest = max(range(len(wanted)), key=lambda k: np.prod(sides(wanted[k])))
            largest.append(matches[greatest] is not None)
        if largest:
            kept.append(np.mean(largest) >= 0.5)
        scores = [record[name]["score"] for record in (exact, fast)]
        if None not in scores:
            apart.append(abs(scores[0] - scores[1]))
        alone += scores.count(None) == 1
    return dict(
        zip(
            LIMITS,
            (
                (float(np.mean(frames)), len(frames)),
                (float(np.median(distances)), len(distances)),
                (float(np.mean(apart)), len(apart)),
                (float(np.mean(kept)), len(kept)),
                (float(alone), len(exact)),
            ),
            strict=True,
        )
    )


def by_frame(record: Record) -> dict[int, list[Line]]:
    """Return the faces of a record by the frame that they are in."""
    frames: dict[int, list[Line]] = defaultdict(list)
    for line in record["frames"]:
        if line["box"] is not None:
            frames[line["index"]].append(line)
    return frames


def sides(line: Line) -> tuple[float, float]:
    """Return width and height of a face's box in pixels."""
    left, top, right, bottom = line["box"]
    return right - left, bottom - top


def nearest(line: Line, others: Sequence[Line]) -> Line | None:
    """Return the face that overlaps another one most, None where none does enough."""
    if not others:
        return None
    boxes = np.array([each["box"] for each in (line, *others)], dtype=np.float32)
    overlaps = iou(boxes[0], boxes[1:])
    best = int(overlaps.argmax())
    return others[best] if overlaps[best] >= OVERLAP else None


def distance(line: Line, other: Line) -> float:
    """Return the mean distance of landmarks from others, in units of the eye distance."""
    ours, theirs = np.array(other["landmarks"]), np.array(line["landmarks"])
    eyes = np.linalg.norm(theirs[1] - theirs[0])
    return float(np.linalg.norm(ours - theirs, axis=1).mean() / max(eyes, 1e-6))


if __name__ == "__main__":
    sys.exit(main())
