"""Holds other ways of making one score of many against those of a scan, and writes the AUC of each.

    python benchmarks/pooling.py --data DIR --records CLIPS.jsonl --beside MODEL

Of a crop: the embedded model's score of it alone, as a scan takes it, and means with the scores of its
mirror image, of it slightly nearer and farther and slightly moved, and of a second model; on the half of
DFDC's `val` that chose nothing, from `DIR/faces.csv`. Of a person: the mean of the faces' scores, as a scan
takes it, and other figures of the same scores; on the clips of `DIR/clips.csv`, one vote a group and label,
from the records that `deepscan scan DIR/clips --out CLIPS.jsonl` wrote. Here all faces of a person count,
the poor ones too.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tried import held_out, scored

from deepscan.bench.output import write_table
from deepscan.engines.scorer import Scorer
from deepscan.evaluation.scan_records import read_labels
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.scanning.fusion import logit_mean
from deepscan.scanning.journal import read_journal
from deepscan.scanning.record_lines import recorded_path

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
TABLE = Path(__file__).with_suffix(".csv")
ZOOMS = (0.94, 1.06)
#: Of the side of a crop, across and down.
MOVES = ((0.02, 0.0), (-0.02, 0.0), (0.0, 0.02), (0.0, -0.02))
PERSON: Mapping[str, Callable[[Floats], float]] = {
    "mean": lambda scores: scores.mean(),
    "mean in log-odds": lambda scores: logit_mean(scores.tolist()),
    "median": lambda scores: np.quantile(scores, 0.5),
    "highest": lambda scores: scores.max(),
    "mean of the highest three": lambda scores: np.sort(scores)[-3:].mean(),
    "upper quartile": lambda scores: np.quantile(scores, 0.75),
    "lower quartile": lambda scores: np.quantile(scores, 0.25),
    "lowest": lambda scores: scores.min(),
    "deviation": lambda scores: scores.std(),
    "change from face to face": lambda scores: np.abs(np.diff(scores)).mean() if len(scores) > 1 else 0.0,
}


def main() -> None:
    """Measure both and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder with faces.csv and clips.csv")
    parser.add_argument("--records", required=True, type=Path, help="what a scan of the clips wrote")
    parser.add_argument("--beside", required=True, type=Path, help="folder of a second model")
    parser.add_argument("--cache", default=Path("runs/crops"), type=Path, help="folder for crops")
    given = parser.parse_args()
    rows = [*_of_crops(given.data, given.cache, given.beside)]
    for tiers in ("A", "A,B"):
        rows += _of_persons(given.records, given.data / "clips.csv", tiers)
    write_table(TABLE, rows)


def _of_crops(data: Path, cache: Path, beside: Path) -> Iterator[dict[str, object]]:
    card = load_card(DEFAULT_MODEL)
    crops, rows, images = held_out(card, data, cache)
    labels = crops.labels[rows]
    own, other = (
        Scorer(each, engine="onnx", device="cpu", precision="fp32") for each in (card, load_card(beside))
    )
    alone = scored(own, images)
    mirrored = scored(own, images[:, :, ::-1])
    zoomed = [scored(own, _view(images, zoom, (0.0, 0.0))) for zoom in ZOOMS]
    moved = [scored(own, _view(images, 1.0, move)) for move in MOVES]
    second = scored(other, images)
    means = {
        "alone": [alone],
        "with its mirror image": [alone, mirrored],
        "with two zooms": [alone, *zoomed],
        "with four moves": [alone, *moved],
        "with all of these": [alone, mirrored, *zoomed, *moved],
        "second model alone": [second],
        "with the second model": [alone, second],
    }
    for name, scores in means.items():
        yield _row("crops of DFDC", name, labels, np.mean(scores, axis=0))


def _view(images: Images, zoom: float, move: tuple[float, float]) -> Images:
    side = images.shape[1]
    edge = (1 - zoom) * side / 2
    matrix = np.array([[zoom, 0, edge + move[0] * side], [0, zoom, edge + move[1] * side]])
    return np.stack(
        [
            cv2.warpAffine(
                image, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
            )
            for image in images
        ]
    ).astype(np.uint8)


def _of_persons(records: Path, index: Path, tiers: str) -> Iterator[dict[str, object]]:
    labels = read_labels(index, [f"tier={tiers}"])
    faces: dict[tuple[str, str], list[list[Floats]]] = defaultdict(list)
    for _, _, record in read_journal(records):
        row = labels.get(Path(os.fsdecode(recorded_path(record))).resolve())
        if row is not None and record["score"] is not None:
            faces[row["label"], row["group"]].append(_persons(record))
    truth = np.array([label == "fake" for label, _ in faces], dtype=np.int64)
    for name, figure in PERSON.items():
        # As in a scan: the worst person of a video. As in `eval --vote group`: the mean of a group's videos.
        votes = [
            float(np.mean([max(figure(person) for person in video) for video in videos]))
            for videos in faces.values()
        ]
        yield _row(f"clips {tiers}", name, truth, np.array(votes))


def _persons(record: Mapping[str, Any]) -> list[Floats]:
    counted = {track["id"] for track in record["tracks"] if track["counted"]}
    scores = defaultdict(list)
    for face in record["frames"]:
        if face["track"] in counted:
            scores[face["track"]].append(face["score"])
    return [np.array(each, dtype=np.float64) for each in scores.values()]


def _row(data: str, score: str, labels: NDArray[np.int64], scores: Floats) -> dict[str, object]:
    found = round(float(roc_auc_score(labels, scores)), 4)
    print(f"{data:14} {score:26} {found:.3f}")
    return {"data": data, "score": score, "auc": found, "n": len(labels), "fakes": int(labels.sum())}


if __name__ == "__main__":
    main()
