"""Measures models that were trained in search of the embedded one, all alike, and writes a row for each.

    python benchmarks/tried.py --data DIR MODEL...            # folders, as `deepscan train` leaves them

`DIR/faces.csv` lists the pictures. The half of `val` that chose nothing is looked at as it is, with its
mirror image, compressed as frames of videos, and its reals against fakes made of them. The autoencoders that
redraw some of these are none that a model has learnt from: they have a seed of their own, are trained at
first use, in minutes, and are kept in the cache. Where `DIR` has clips.csv, and `MODEL.jsonl` beside a
model's folder holds what `deepscan scan DIR/clips --model MODEL --out MODEL.jsonl` wrote, the clips are
measured as well, one vote a group and label. Rows of other models in the table stay. With --card the figures
go into the card too: of each kind of own fakes, of the clips by tier and by method, and what it misses.
"""

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.bench.output import write_table
from deepscan.cards import ModelCard, write_card
from deepscan.cli.train_view import TrainView
from deepscan.data.augmentation.degrade import Codec
from deepscan.data.augmentation.forgeries import FORGERIES, Means, Redrawer, forged
from deepscan.data.crops.crop_cache import CropSet, prepare_crops
from deepscan.data.pictures import read_pictures
from deepscan.engines.scorer import Scorer
from deepscan.evaluation.measurements import Measurement, measure_all, measure_kinds
from deepscan.evaluation.scan_records import group_votes, read_labels, read_scan_scores
from deepscan.evaluation.scores import Scores
from deepscan.metrics.binary import METRICS, auc
from deepscan.models.lookup import load_card
from deepscan.progress import progress_bar
from deepscan.scanning.journal import read_journal
from deepscan.scanning.record_lines import recorded_path
from deepscan.training.autoencoders import PLANS, autoencoders
from deepscan.training.batches import halves

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
TABLE = Path(__file__).parent / "tried.csv"
#: Crops of `val` are made into fakes with the faces of each other.
SEED = 7
AUC = {"auc": METRICS["auc"]}
#: Those that the first rows were measured with.
REDRAWING = PLANS[:3]
#: How the card's results begin that are written here.
OWN = "DFDC: the reals of the second half of the validation groups, against a fake made of each"
CLIPS = "clips of the web and of data sets, one vote a group and label"
#: What the card tells of.
TIERS = {
    "A": "swaps and reenactments in real footage, and clean reals",
    "A,B": "the same with talking heads driven from one photograph, and stylised reals",
}
#: Tiny, dark and illustrated faces too: of these the table tells what they change.
ALL = "A,B,C"


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Scores of the half of `val` that chose nothing.

    Attributes:
        labels: 0 or 1, shape (N,).
        groups: Of each crop, length N.
        plain: Scores of the crops as they are, shape (N,).
        mirrored: Of their mirror images.
        packed: Of the crops as a video codec leaves them.
        made: Kind of own fakes -> scores of one made of each real.
    """

    labels: NDArray[np.int64]
    groups: Sequence[str]
    plain: Floats
    mirrored: Floats
    packed: Floats
    made: Mapping[str, Floats]

    def auc(self, scores: Floats) -> Measurement:
        """Return the AUC of scores of the crops, with its interval by group."""
        return measure_all(self.labels, scores, self.groups, measures=AUC)[0]

    def auc_of(self, kind: str) -> Measurement:
        """Return the AUC of the reals against own fakes of a kind; a fake is of its real's group."""
        real = self.labels == 0
        truth = np.repeat([0, 1], real.sum())
        groups = [group for group, is_real in zip(self.groups, real, strict=True) if is_real] * 2
        return measure_all(truth, np.append(self.plain[real], self.made[kind]), groups, measures=AUC)[0]


def main() -> None:
    """Measure what is named and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder with faces.csv")
    parser.add_argument("--cache", default=Path("runs/crops"), type=Path, help="folder for crops")
    parser.add_argument("--card", action="store_true", help="write the figures into the card too")
    parser.add_argument("models", nargs="+", type=Path, help="model folders")
    given = parser.parse_args()
    rows: dict[str, Mapping[str, object]] = {}
    if TABLE.exists():
        with TABLE.open(newline="") as file:
            rows = {row["model"]: row for row in csv.DictReader(file)}
    for folder in given.models:
        card = load_card(folder)
        look = _look(card, given.data, given.cache)
        clips = _clips(card, given.data)
        rows[card.name] = {**_row(card, look), **_row_of_clips(clips)}
        print(rows[card.name])
        if given.card:
            write_card(_told(card, look, clips))
    write_table(TABLE, rows.values())


def held_out(card: ModelCard, data: Path, cache: Path) -> tuple[CropSet, NDArray[np.int64], Image]:
    """Return the crops of a model's data, the rows of the half of `val` that chose nothing, and that half."""
    assert card.crop is not None
    pictures = read_pictures(data, card.trained["recipe"]["sources"])
    crops = prepare_crops(pictures, card.crop, cache, on_progress=progress_bar("cutting faces"))
    rows = halves(crops)[1]
    return crops, rows, np.asarray(crops.crops[rows])


def _look(card: ModelCard, data: Path, cache: Path) -> Look:
    crops, rows, images = held_out(card, data, cache)
    labels = crops.labels[rows]
    scorer = Scorer(card, engine="onnx", device="cpu", precision="fp32")
    rng, codec = np.random.default_rng(SEED), Codec(23, 36)
    packed = np.stack([codec(image, rng) for image in images])
    fakes = _made(crops, images[labels == 0], card, _redrawers(crops, cache))
    return Look(
        labels,
        [crops.groups[at] for at in rows],
        scored(scorer, images),
        scored(scorer, images[:, :, ::-1]),
        scored(scorer, packed),
        {kind: scored(scorer, made) for kind, made in fakes.items()},
    )


def stated(card: ModelCard) -> dict[str, object]:
    """Return what a row says of the training."""
    recipe = card.trained["recipe"]
    return {
        "model": card.name,
        "backbone": recipe["network"]["backbone"]["name"],
        "parameters": re.findall(r"[\d,]+(?= parameters)", card.summary)[-1],
        "augment": recipe["augment"],
        "own_fakes": recipe["blend"],
        "kinds": " ".join(recipe.get("forgeries", ["blend"])),
        "epochs": recipe["epochs"],
    }


def _row(card: ModelCard, look: Look) -> dict[str, object]:
    found = look.auc(look.plain)
    assert found.interval is not None
    return {
        **stated(card),
        "auc": round(found.interval.value, 4),
        "low": round(found.interval.low, 4),
        "high": round(found.interval.high, 4),
        "auc_mirrored": round(auc(look.labels, (look.plain + look.mirrored) / 2), 4),
        "auc_codec": round(auc(look.labels, look.packed), 4),
        **{f"auc_{kind}": look.auc_of(kind).to_json()["value"] for kind in look.made},
    }


def _redrawers(crops: CropSet, cache: Path) -> Sequence[Redrawer]:
    train = crops.where("train")
    with TrainView("auto") as view:
        return autoencoders(
            crops,
            train[crops.labels[train] == 0],
            cache,
            seed=SEED,
            plans=REDRAWING,
            on_progress=view.autoencoders,
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


def scored(scorer: Scorer, images: Image) -> Floats:
    """Return the raw scores of crops, RGB, shape (N, S, S, 3), uint8."""
    parts = [scorer.score(np.ascontiguousarray(images[at : at + 64])) for at in range(0, len(images), 64)]
    return np.concatenate(parts).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """What a scan said of the clips.

    Attributes:
        votes: Tiers -> their votes.
        called: Label and group -> the verdicts of its clips, in tiers A and B.
        scanned: When, and in which precision, in words.
    """

    votes: Mapping[str, Scores]
    called: Mapping[tuple[str, str], set[str]]
    scanned: str

    def kinds(self, tiers: str) -> dict[str, Measurement]:
        """Return the AUC of each method against all reals of those tiers."""
        given = self.votes[tiers]
        found = measure_kinds(given.labels, given.scores, given.kind.texts(), given.groups(), measures=AUC)
        return {kind: figures[0] for kind, figures in found.items()}

    def fakes(self, label: str) -> str:
        """Return how many votes of a label are called fake, in words."""
        votes = [verdicts for (of, _), verdicts in self.called.items() if of == label]
        return f"{sum('fake' in each for each in votes)} of {len(votes)}"


def _clips(card: ModelCard, data: Path) -> Clips | None:
    records = card.folder.with_suffix(".jsonl")
    if not records.exists():
        return None
    found = {}
    for tiers in (*TIERS, ALL):
        given = group_votes(
            read_scan_scores(records, read_labels(data / "clips.csv", [f"tier={tiers}"]), "clips")
        )
        found[tiers] = given.take(np.flatnonzero(~np.isnan(given.scores)))
    labels = read_labels(data / "clips.csv", ["tier=A,B"])
    called: dict[tuple[str, str], set[str]] = defaultdict(set)
    scanned = ""
    for _, _, record in read_journal(records):
        if record["model"].get("sha256") not in {file.sha256 for file in card.files.values()}:
            raise SystemExit(f"{records} is not of {card.folder}: scan anew")
        scanned = f"scanned on {record['started'][:10]} in {record['model']['precision']}"
        row = labels.get(Path(recorded_path(record).decode()).resolve())
        if row is not None:
            called[row["label"], row["group"]].add(record["verdict"])
    return Clips(found, called, scanned)


def _row_of_clips(clips: Clips | None) -> dict[str, object]:
    if clips is None:
        return {}
    row: dict[str, object] = {}
    for tiers, given in clips.votes.items():
        found = measure_all(given.labels, given.scores, given.groups(), measures=AUC)[0]
        assert found.interval is not None
        name = f"clips_{tiers.lower().replace(',', '')}"
        row |= {name: round(found.interval.value, 4), f"{name}_low": round(found.interval.low, 4)}
        row[f"{name}_high"] = round(found.interval.high, 4)
    return {**row, **{f"{label}s_called_fake": clips.fakes(label) for label in ("fake", "real")}}


def _told(card: ModelCard, look: Look, clips: Clips | None) -> ModelCard:
    """Return the card with the figures, in the place of earlier ones."""
    replaced = (OWN, CLIPS) if clips else (OWN,)
    kept = [each for each in card.results if not str(each["data"]).startswith(replaced)]
    own = [card_result(look.auc_of(kind), "frame", OWN, kind) for kind in look.made]
    told = replace(card, results=(*kept, *own, *(_results_of_clips(clips) if clips else ())))
    if clips is None:
        return told
    unseen = [
        f"{kind} (AUC {one.value:.2f})"
        for kind, one in clips.kinds("A,B").items()
        if one.value is not None and one.value < 0.5
    ]
    misses = (
        f"on clips of the web (tiers A and B) {clips.fakes('fake')} fakes are called fake, and "
        f"{clips.fakes('real')} reals; below most reals score: {', '.join(unseen) or 'no method'}"
    )
    # What a training says of itself, that it was measured on nothing else, holds no longer.
    trained = {name: value for name, value in card.trained.items() if name != "not_tested_on"}
    return replace(told, trained={**trained, "misses": misses})


def _results_of_clips(clips: Clips) -> Iterator[dict[str, Any]]:
    for tiers, told in TIERS.items():
        given = clips.votes[tiers]
        data = f"{CLIPS}, tier {tiers}: {told}; {clips.scanned}"
        measures = {name: METRICS[name] for name in ("auc", "average_precision")}
        for found in measure_all(given.labels, given.scores, given.groups(), measures=measures):
            yield card_result(found, "video", data)
    for kind, found in clips.kinds("A,B").items():
        yield card_result(found, "video", data, kind)


def card_result(found: Measurement, level: str, data: str, kind: str = "") -> dict[str, Any]:
    """Return a figure as a card states it."""
    stated = found.to_json()
    # A method of one clip has no interval, and its card need not say so each time.
    stated.pop("reason", None)
    return {"metric": stated.pop("metric"), "level": level, **stated, "data": data} | (
        {"kind": kind} if kind else {}
    )


if __name__ == "__main__":
    main()
