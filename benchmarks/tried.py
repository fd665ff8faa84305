"""Measures models that were trained in search of the embedded one, all alike, and writes a row for each.

    python benchmarks/tried.py --data DIR MODEL...            # folders, as `deepscan train` leaves them

`DIR/faces.csv` lists the pictures. The half of `val` that chose nothing is looked at as it is, with its
mirror image, compressed as frames of videos, and its reals against fakes made of them. The autoencoders that
redraw some of these are none that a model has learnt from: they have a seed of their own, are trained at
first use, in minutes, and are kept in the cache. Where `DIR` has clips.csv, and `MODEL.jsonl` beside a
model's folder holds what `deepscan scan DIR/clips --model MODEL --out MODEL.jsonl` wrote, the clips are
measured as well, one vote a group and label. Rows of other models in the table stay.
"""

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepscan import cards
from deepscan.cards import ModelCard
from deepscan.cli.teller import Teller
from deepscan.data.augment import Codec
from deepscan.data.crops import CropSet, prepare_crops
from deepscan.data.dataset import read_pictures
from deepscan.data.forgeries import FORGERIES, Means, Redrawer, forged
from deepscan.evaluation.labelled import read_labels, read_records, votes
from deepscan.evaluation.metrics import auc, bootstrap
from deepscan.scan.journal import read_journal
from deepscan.scan.records import recorded_path
from deepscan.scan.scorer import Scorer
from deepscan.training.autoencoders import autoencoders
from deepscan.training.samples import halves

Image = NDArray[np.uint8]
TABLE = Path(__file__).parent / "tried.csv"
#: Crops of `val` are made into fakes with the faces of each other.
SEED = 7


def main() -> None:
    """Measure what is named and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder with faces.csv")
    parser.add_argument("--cache", default=Path("runs/crops"), type=Path, help="folder for crops")
    parser.add_argument("models", nargs="+", type=Path, help="model folders")
    given = parser.parse_args()
    rows: dict[str, Mapping[str, object]] = {}
    if TABLE.exists():
        with TABLE.open(newline="") as file:
            rows = {row["model"]: row for row in csv.DictReader(file)}
    for folder in given.models:
        card = cards.load(folder)
        rows[card.name] = {**_of_crops(card, given.data, given.cache), **_of_clips(card, given.data)}
        print(rows[card.name])
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    with TABLE.open("w", newline="") as file:
        table = csv.DictWriter(file, names, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows.values())


def _of_crops(card: ModelCard, data: Path, cache: Path) -> dict[str, object]:
    recipe = card.trained["recipe"]
    assert card.crop is not None
    crops = prepare_crops(read_pictures(data, recipe["sources"]), card.crop, cache)
    rows = halves(crops)[1]
    labels, images = crops.labels[rows], np.asarray(crops.crops[rows])
    scorer = Scorer(card, engine="onnx", device="cpu")
    plain, mirrored = _scores(scorer, images), _scores(scorer, images[:, :, ::-1])
    interval = bootstrap(auc, labels, plain, [crops.groups[at] for at in rows])
    rng, codec = np.random.default_rng(SEED), Codec(23, 36)
    packed = _scores(scorer, np.stack([codec(image, rng) for image in images]))
    real = labels == 0
    redrawers = _redrawers(crops, cache)
    truth = np.repeat([0, 1], real.sum())
    made = {
        f"auc_{kind}": round(auc(truth, np.append(plain[real], _scores(scorer, fakes))), 4)
        for kind, fakes in _made(crops, images[real], card, redrawers).items()
    }
    return {
        "model": card.name,
        "backbone": recipe["network"]["backbone"]["name"],
        "parameters": re.findall(r"[\d,]+(?= parameters)", card.summary)[-1],
        "augment": recipe["augment"],
        "own_fakes": recipe["blend"],
        "kinds": " ".join(recipe.get("forgeries", ["blend"])),
        "epochs": recipe["epochs"],
        "auc": round(interval.value, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
        "auc_mirrored": round(auc(labels, (plain + mirrored) / 2), 4),
        "auc_codec": round(auc(labels, packed), 4),
        **made,
    }


def _redrawers(crops: CropSet, cache: Path) -> Sequence[Redrawer]:
    train = crops.where("train")
    with Teller("auto") as teller:
        return autoencoders(
            crops, train[crops.labels[train] == 0], cache, seed=SEED, progress=teller.autoencoders
        )


def _made(crops: CropSet, reals: Image, card: ModelCard, redrawers: Sequence[Redrawer]) -> dict[str, Image]:
    assert card.crop is not None
    recipe, rng = card.crop, np.random.default_rng(SEED)
    others = crops.where("val")
    others = others[crops.labels[others] == 0]
    means = Means(lambda: np.asarray(crops.crops[rng.choice(others)]), redrawers)
    return {
        kind: np.stack([forged([kind], image, means, recipe, rng)[0] for image in reals])
        for kind in FORGERIES
    }


def _scores(scorer: Scorer, images: Image) -> NDArray[np.float64]:
    parts = [scorer.score(np.ascontiguousarray(images[at : at + 64])) for at in range(0, len(images), 64)]
    return np.concatenate(parts).astype(np.float64)


def _of_clips(card: ModelCard, data: Path) -> dict[str, object]:
    records = card.folder.with_suffix(".jsonl")
    if not records.exists():
        return {}
    found: dict[str, object] = {}
    for tiers in ("A", "A,B"):
        given = votes(read_records(records, read_labels(data / "clips.csv", [f"tier={tiers}"]), "clips"))
        there = ~np.isnan(given.scores)
        interval = bootstrap(auc, given.labels[there], given.scores[there], given.groups()[there])
        name = f"clips_{tiers.lower().replace(',', '')}"
        found |= {name: round(interval.value, 4), f"{name}_low": round(interval.low, 4)}
        found[f"{name}_high"] = round(interval.high, 4)
    labels = read_labels(data / "clips.csv", ["tier=A,B"])
    called: dict[tuple[str, str], set[str]] = defaultdict(set)
    for _, _, record in read_journal(records):
        row = labels.get(Path(recorded_path(record).decode()).resolve())
        if row is not None:
            called[row["label"], row["group"]].add(record["verdict"])
    for label in ("fake", "real"):
        votes_of = [verdicts for (of, _), verdicts in called.items() if of == label]
        found[f"{label}s_called_fake"] = f"{sum('fake' in each for each in votes_of)} of {len(votes_of)}"
    return found


if __name__ == "__main__":
    main()
