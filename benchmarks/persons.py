"""Compare who is judged in a scan with who is seen in its videos, for one or more scans of the same clips.

    deepscan scan CLIPS --out before.jsonl          # 32 frames, the embedded detector; later the same again
    python benchmarks/persons.py before=before.jsonl after=after.jsonl

The truth is `persons.csv`, filled by eye from the sampled frames. A row `clip` says how many
persons are seen, which number is the least that is right all the same (a face cut off by the edge or out of
focus may be missed), how many shots there are, and at which of the sampled frames each later shot begins.
A row `face` is the area of a person's live face from one frame to another; a box whose middle lies in it is
that person's. Every other row is a box that is not a live face: what it is, and where. Such boxes are matched
by their overlap, before areas are, so that the truth holds however faces are followed and linked.

The table, `persons-scans.csv`, has a column for each scan and a row for each figure, verdicts that changed
against the first scan among them.
"""

import argparse
import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.bench.output import write_table
from deepscan.faces.boxes import iou
from deepscan.scanning.reading import open_records

Record = Mapping[str, Any]
Box = NDArray[np.float32]
TRUTH = Path(__file__).with_suffix(".csv")
TABLE = Path(__file__).with_name("persons-scans.csv")
#: Least overlap of a box with one that is known not to be a live face.
OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    """What is seen at a place.

    Attributes:
        what: `face`, or what it is instead.
        person: Whose face, 0 for no face.
        first: First frame of which that is true.
        last: The last one.
        box: Left, top, right, bottom, shape (4,); of a face the area that its boxes' middles lie in.
    """

    what: str
    person: int
    first: int
    last: int
    box: Box


@dataclass(slots=True)
class Clip:
    """What is seen in a clip.

    Attributes:
        persons: Number of persons whose live face is seen.
        least: The least number that is right.
        cuts: First sampled frame of each shot but the first.
        places: Where what is seen.
    """

    persons: int = 0
    least: int = 0
    cuts: tuple[int, ...] = ()
    places: list[Place] = field(default_factory=list)

    def what(self, index: int, box: Sequence[float]) -> tuple[str, int]:
        """Return what a box in a frame shows, and whose face: `unknown` where the truth says nothing."""
        there = [place for place in self.places if place.first <= index <= place.last]
        own = np.asarray(box, np.float32)
        for place in there:
            if place.what != "face" and iou(own, place.box[None])[0] >= OVERLAP:
                return place.what, 0
        x, y = (own[:2] + own[2:]) / 2
        for place in there:
            left, top, right, bottom = place.box
            if place.what == "face" and left <= x <= right and top <= y <= bottom:
                return "face", place.person
        return "unknown", 0


def read_truth(path: Path) -> dict[str, Clip]:
    """Return what is seen in each clip, by its SHA-256."""
    clips: dict[str, Clip] = defaultdict(Clip)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            clip = clips[row["sha256"]]
            if row["what"] == "clip":
                clip.persons, clip.least = int(row["persons"]), int(row["least"])
                clip.cuts = tuple(int(index) for index in row["cuts"].split())
                if int(row["shots"]) != len(clip.cuts) + 1:
                    raise SystemExit(
                        f"{path}: {row['sha256']} has {row['shots']} shots, not one more than cuts"
                    )
            else:
                box = np.asarray(
                    [float(row[side]) for side in ("left", "top", "right", "bottom")], np.float32
                )
                person = int(row["person"] or 0)
                clip.places.append(Place(row["what"], person, int(row["first"]), int(row["last"]), box))
    return clips


def figures(records: Mapping[str, Record], clips: Mapping[str, Clip]) -> dict[str, int | str]:
    """Return how many persons, shots and non-faces of a scan are recognised as such.

    Args:
        records: By the file's SHA-256.
        clips: What is seen, likewise.
    """
    total: Counter[str] = Counter()
    for digest, record in records.items():
        clip, tracks = clips[digest], record["tracks"]
        shown = {track["id"]: _shown(record, clip, track["id"]) for track in tracks}
        counted = [track for track in tracks if track["counted"]]
        total["clips"] += 1
        total["persons counted right"] += clip.least <= len(counted) <= clip.persons
        listed = [track for track in tracks if _is_person(track)]
        total["persons listed right"] += clip.least <= len(listed) <= clip.persons
        total["persons split over tracks"] += sum(
            count - 1
            for (what, _), count in Counter(shown[t["id"]] for t in listed).items()
            if what == "face"
        )
        total["tracks of two persons"] += sum(len(_persons(record, clip, t["id"])) > 1 for t in listed)
        total["tracks"] += len(tracks)
        not_live = {number for number, (what, _) in shown.items() if what not in ("face", "unknown")}
        total["tracks that are no live face"] += len(not_live)
        total["such tracks that count"] += sum(track["id"] in not_live for track in counted)
        scored = [track for track in counted if track["score"] is not None]
        worst = max(scored, key=lambda track: track["score"], default=None)
        total["such tracks that decide"] += worst is not None and worst["id"] in not_live
        total["boxes of which nothing is known"] += sum(
            what == "unknown" for _, (what, _) in _boxes(record, clip)
        )
        total["clips with a live face and no person that counts"] += not counted and clip.least > 0
        if "shots" in record:
            found = tuple(shot["first"] for shot in record["shots"][1:])
            total["clips whose shots are right"] += found == clip.cuts
    rows: dict[str, int | str] = dict(total)
    if not any("shots" in record for record in records.values()):
        rows["clips whose shots are right"] = ""
    return rows


def _is_person(track: Mapping[str, Any]) -> bool:
    """Return whether the record lists a track as a person: one that it does not mark as something else."""
    return not track.get("still") and track.get("reason") != "no_face"


def _boxes(record: Record, clip: Clip) -> Iterator[tuple[int, tuple[str, int]]]:
    """Yield each box's track, and what it shows."""
    for line in record["frames"]:
        if line["box"] is not None:
            yield line["track"], clip.what(line["index"], line["box"])


def _shown(record: Record, clip: Clip, track: int) -> tuple[str, int]:
    """Return what most boxes of a track show."""
    return Counter(what for number, what in _boxes(record, clip) if number == track).most_common(1)[0][0]


def _persons(record: Record, clip: Clip, track: int) -> set[int]:
    return {person for number, (_, person) in _boxes(record, clip) if number == track and person}


def changes(scans: Mapping[str, Mapping[str, Record]]) -> list[str]:
    """Return each verdict that differs from one scan to the next, by the start of the file's hash."""
    lines = []
    for (first, before), (second, after) in pairwise(scans.items()):
        for digest in sorted(before.keys() & after.keys()):
            old, new = before[digest], after[digest]
            if old["verdict"] != new["verdict"]:
                said = (
                    f"{name} {record['verdict']} {record['score']}"
                    for name, record in ((first, old), (second, new))
                )
                lines.append(f"{digest[:12]}: {', '.join(said)}")
    return lines


def main() -> None:
    """Count, print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", nargs="+", metavar="NAME=RECORDS.jsonl", help="records of the same clips")
    given = parser.parse_args()
    clips = read_truth(TRUTH)
    scans: dict[str, dict[str, Record]] = {}
    for text in given.scans:
        name, _, path = text.partition("=")
        scans[name] = {record["sha256"]: record for record in open_records(path)}
        if missing := scans[name].keys() ^ clips.keys():
            raise SystemExit(f"{path}: {len(missing)} clips are not those of {TRUTH.name}")
    columns = {name: figures(records, clips) for name, records in scans.items()}
    first = next(iter(scans.values()))
    for name, records in scans.items():
        different = [digest for digest in records if records[digest]["verdict"] != first[digest]["verdict"]]
        columns[name]["verdicts that changed"] = len(different)
    names = next(iter(columns.values()))
    rows = [{"figure": row, **{name: column[row] for name, column in columns.items()}} for row in names]
    write_table(TABLE, rows)
    for row in rows:
        print(*row.values(), sep="\t")
    print(*changes(scans), sep="\n")


if __name__ == "__main__":
    main()
