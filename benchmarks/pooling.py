"""Compare other ways to combine several scores into one with those of a scan, and write the AUC of each.

    python benchmarks/pooling.py --data DIR --records CLIPS.jsonl --beside MODEL

For a crop: the embedded model's score of the crop alone, as in a scan, and means with the scores of its
mirror image, of slightly zoomed and shifted versions, and of a second model. Data: the half of DFDC's `val`
that was not used for any choice, from `DIR/faces.csv`. For a person: the mean of the faces' scores, as in a
scan, and other statistics of the same scores. Data: the clips in `DIR/clips.csv`, one vote per group and
label, from the records of `deepscan scan DIR/clips --out CLIPS.jsonl`. Here all faces of a person count,
including those of poor quality.
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
from deepscan.scanning.reading import open_records
from deepscan.scanning.record_lines import recorded_path

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]
TABLE = Path(__file__).with_suffix(".csv")
ZOOMS = (0.94, 1.06)
#: Horizontal and vertical shifts, as fractions of a crop's side.
SHIFTS = ((0.02, 0.0), (-0.02, 0.0), (0.0, 0.02), (0.0, -0.02))
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
    """Measure both kinds and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder with faces.csv and clips.csv")
    parser.add_argument("--records", required=True, type=Path, help="records of a scan of the clips")
    parser.add_argument("--beside", required=True, type=Path, help="folder of a second model")
    parser.add_argument("--cache", default=Path("runs/crops"), type=Path, help="folder for crops")
    arguments = parser.parse_args()
    rows = [*_of_crops(arguments.data, arguments.cache, arguments.beside)]
    for tiers in ("A", "A,B"):
        rows += _of_persons(arguments.records, arguments.data / "clips.csv", tiers)
    write_table(TABLE, rows)


def _of_crops(data: Path, cache: Path, second_folder: Path) -> Iterator[dict[str, object]]:
    card = load_card(DEFAULT_MODEL)
    crops, rows, images = held_out(card, data, cache)
    labels = crops.labels[rows]
    embedded, second_scorer = (
        Scorer(each, engine="onnx", device="cpu", precision="fp32")
        for each in (card, load_card(second_folder))
    )
    single = scored(embedded, images)
    mirrored = scored(embedded, images[:, :, ::-1])
    zoomed = [scored(embedded, _view(images, zoom, (0.0, 0.0))) for zoom in ZOOMS]
    shifted = [scored(embedded, _view(images, 1.0, shift)) for shift in SHIFTS]
    second = scored(second_scorer, images)
    means = {
        "alone": [single],
        "with its mirror image": [single, mirrored],
        "with two zooms": [single, *zoomed],
        "with four moves": [single, *shifted],
        "with all of these": [single, mirrored, *zoomed, *shifted],
        "second model alone": [second],
        "with the second model": [single, second],
    }
    for name, scores in means.items():
        yield _row("crops of DFDC", name, labels, np.mean(scores, axis=0))


def _view(images: Images, zoom: float, shift: tuple[float, float]) -> Images:
    side = images.shape[1]
    edge = (1 - zoom) * side / 2
    matrix = np.array([[zoom, 0, edge + shift[0] * side], [0, zoom, edge + shift[1] * side]])
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
    for record in open_records(records):
        row = labels.get(Path(os.fsdecode(recorded_path(record))).resolve())
        if row is not None and record["score"] is not None:
            faces[row["label"], row["group"]].append(_persons(record))
    truth = np.array([label == "fake" for label, _ in faces], dtype=np.int64)
    for name, figure in PERSON.items():
        # Highest person per video, as in a scan; mean of a group's videos, as in `eval --vote group`.
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
    value = round(float(roc_auc_score(labels, scores)), 4)
    print(f"{data:14} {score:26} {value:.3f}")
    return {"data": data, "score": score, "auc": value, "n": len(labels), "fakes": int(labels.sum())}


if __name__ == "__main__":
    main()
