"""Compare the results of scans with `--faces fast` and `--faces exact` on a folder of videos.

    python benchmarks/parity.py DIR                      # scans it twice; exact takes several times as long
    python benchmarks/parity.py DIR --exact FILE.jsonl   # uses the records of an earlier exact scan

`exact` gives the boxes of facenet-pytorch's MTCNN on every sampled frame, so its largest face is the one that
a pipeline using the largest face would keep. Faces of at least 48 pixels count. The table, parity.csv, has
each figure with its limit; the exit code is 1 if a figure misses its limit.
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
from deepscan.scanning.reading import open_records

Record = Mapping[str, Any]
Line = Mapping[str, Any]

TABLE = Path(__file__).parent / "parity.csv"
#: Minimum side of a face in pixels, minimum probability in `exact`, minimum overlap with its box.
MIN_SIDE, MIN_PROBABILITY, MIN_OVERLAP = 48, 0.95, 0.6
#: Figure -> comparison and limit.
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
    parser.add_argument("--fast", type=Path, help="records of the same scan with --faces fast")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        records = [
            read(getattr(arguments, mode) or scan(arguments.folder, mode, Path(scratch)))
            for mode in ("exact", "fast")
        ]
    figures = compare(*records)
    rows = []
    for name, (bound, limit) in LIMITS.items():
        value, count = figures[name]
        met = value >= limit if bound == ">=" else value <= limit
        figure = {"figure": name, "value": f"{value:.4f}", "of": count, "limit": f"{bound} {limit:g}"}
        rows.append({**figure, "kept": "yes" if met else "no"})
        print(f"{name:42} {value:7.4f} of {count:5d}   {bound} {limit:<5g} {'' if met else 'MISSED'}")
    write_table(TABLE, rows)
    return int(any(row["kept"] == "no" for row in rows))


def scan(folder: Path, mode: str, scratch: Path) -> Path:
    """Scan a folder with the default model; return the path of the records."""
    out = scratch / f"{mode}.jsonl"
    command = [sys.executable, "-m", "deepscan", "scan", str(folder), "--faces", mode, "--out", str(out)]
    # Some inputs may fail, but then they must fail in both modes.
    subprocess.run(command, check=False)
    return out


def read(path: Path) -> dict[str, Record]:
    """Read records by file name."""
    return {os.path.basename(record["path"]): record for record in open_records(path)}


def compare(exact: Mapping[str, Record], fast: Mapping[str, Record]) -> dict[str, tuple[float, int]]:
    """Return each figure with the number of cases."""
    frames, distances, kept_largest, score_differences, scored_once = [], [], [], [], 0
    for name, reference in exact.items():
        found = by_frame(fast[name])
        largest = []
        for index, exact_faces in by_frame(reference).items():
            required = [
                line
                for line in exact_faces
                if min(sides(line)) >= MIN_SIDE and line["probability"] >= MIN_PROBABILITY
            ]
            if not required:
                continue
            matches = [nearest(line, found.get(index, [])) for line in required]
            frames.append(all(match is not None for match in matches))
            distances += [
                distance(line, match)
                for line, match in zip(required, matches, strict=True)
                if match is not None
            ]
            largest_face = max(range(len(required)), key=lambda k: np.prod(sides(required[k])))
            largest.append(matches[largest_face] is not None)
        if largest:
            kept_largest.append(np.mean(largest) >= 0.5)
        scores = [record[name]["score"] for record in (exact, fast)]
        if None not in scores:
            score_differences.append(abs(scores[0] - scores[1]))
        scored_once += scores.count(None) == 1
    return dict(
        zip(
            LIMITS,
            (
                (float(np.mean(frames)), len(frames)),
                (float(np.median(distances)), len(distances)),
                (float(np.mean(score_differences)), len(score_differences)),
                (float(np.mean(kept_largest)), len(kept_largest)),
                (float(scored_once), len(exact)),
            ),
            strict=True,
        )
    )


def by_frame(record: Record) -> dict[int, list[Line]]:
    """Return the faces of a record by frame."""
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
    """Return the face that overlaps another one most; None if no overlap is large enough."""
    if not others:
        return None
    boxes = np.array([each["box"] for each in (line, *others)], dtype=np.float32)
    overlaps = iou(boxes[0], boxes[1:])
    best = int(overlaps.argmax())
    return others[best] if overlaps[best] >= MIN_OVERLAP else None


def distance(line: Line, other: Line) -> float:
    """Return the mean distance between the landmarks of two faces, in units of the eye distance."""
    landmarks, reference = np.array(other["landmarks"]), np.array(line["landmarks"])
    eyes = np.linalg.norm(reference[1] - reference[0])
    return float(np.linalg.norm(landmarks - reference, axis=1).mean() / max(eyes, 1e-6))


if __name__ == "__main__":
    sys.exit(main())
