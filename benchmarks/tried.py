"""Measure the models that were trained in search of the embedded one, all in the same way, one row for each.

    python benchmarks/tried.py --data DIR MODEL...            # model folders from `deepscan train`

`DIR/faces.csv` lists the pictures. The half of `val` that was not used for any choice is scored unchanged,
together with its mirror image, and compressed like video frames; its reals are also compared with fakes made
from them. Some of these are redrawn by autoencoders that no model was trained with: they have a separate
seed, are trained at first use, which takes minutes, and are kept in the cache. If `DIR` has clips.csv, and
`MODEL.jsonl` next to a model's folder has the records of
`deepscan scan DIR/clips --model MODEL --out MODEL.jsonl`, the clips are measured too, with one vote per group
and label. Rows of other models in the table are kept. With --card the figures are also written to the card:
for each kind of synthetic fakes, for the clips by tier and method, and what the model misses.
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
from deepscan.scanning.reading import open_records
from deepscan.scanning.record_lines import recorded_path
from deepscan.training.autoencoders import PLANS, autoencoders
from deepscan.training.batches import halves

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
TABLE = Path(__file__).parent / "tried.csv"
#: Seed of the fakes that are made from crops of `val` and of the autoencoders.
SEED = 7
AUC = {"auc": METRICS["auc"]}
#: The autoencoders with which the first rows were measured.
AUTOENCODERS = PLANS[:3]
#: Beginnings of the `data` of results in the card that this script writes.
SYNTHETIC = "DFDC: the reals of the second half of the validation groups, against a fake made of each"
CLIPS = "clips from the web and from data sets, those from one source counted as one"
#: Tiers whose results are written to the card.
TIERS = {
    "A": "swaps and reenactments in real footage, and clean reals",
    "A,B": "the same with talking heads driven from one photograph, and stylised reals",
}
#: Includes tiny, dark and illustrated faces; only in the table.
ALL = "A,B,C"


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutScores:
    """Scores of the half of `val` that was not used for any choice.

    Attributes:
        labels: 0 or 1, shape (N,).
        groups: Group of each crop, length N.
        plain: Scores of the unchanged crops, shape (N,).
        mirrored: Scores of their mirror images.
        packed: Scores of the crops after compression with a video codec.
        fakes: Kind of synthetic fakes -> scores of one fake per real.
    """

    labels: NDArray[np.int64]
    groups: Sequence[str]
    plain: Floats
    mirrored: Floats
    packed: Floats
    fakes: Mapping[str, Floats]

    def auc(self, scores: Floats) -> Measurement:
        """Return the AUC of scores of the crops, with its interval by group."""
        return measure_all(self.labels, scores, self.groups, measures=AUC)[0]

    def auc_of(self, kind: str) -> Measurement:
        """Return the AUC of the reals against synthetic fakes of a kind; a fake has its real's group."""
        real = self.labels == 0
        truth = np.repeat([0, 1], real.sum())
        groups = [group for group, is_real in zip(self.groups, real, strict=True) if is_real] * 2
        return measure_all(truth, np.append(self.plain[real], self.fakes[kind]), groups, measures=AUC)[0]


def main() -> None:
    """Measure the given models and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder with faces.csv")
    parser.add_argument("--cache", default=Path("runs/crops"), type=Path, help="folder for crops")
    parser.add_argument("--card", action="store_true", help="also write the figures to the card")
    parser.add_argument("models", nargs="+", type=Path, help="model folders")
    given = parser.parse_args()
    rows: dict[str, Mapping[str, object]] = {}
    if TABLE.exists():
        with TABLE.open(newline="") as file:
            rows = {row["model"]: row for row in csv.DictReader(file)}
    for folder in given.models:
        card = load_card(folder)
        held_out_scores = _score_held_out(card, given.data, given.cache)
        clips = _clips(card, given.data)
        rows[card.name] = {**_row(card, held_out_scores), **_row_of_clips(clips)}
        print(rows[card.name])
        if given.card:
            write_card(_with_results(card, held_out_scores, clips))
    write_table(TABLE, rows.values())


def held_out(card: ModelCard, data: Path, cache: Path) -> tuple[CropSet, NDArray[np.int64], Image]:
    """Return a model's crops, and the rows and images of the half of `val` not used for choices."""
    assert card.crop is not None
    pictures = read_pictures(data, card.trained["recipe"]["sources"])
    crops = prepare_crops(pictures, card.crop, cache, on_progress=progress_bar("cutting faces"))
    rows = halves(crops)[1]
    return crops, rows, np.asarray(crops.crops[rows])


def _score_held_out(card: ModelCard, data: Path, cache: Path) -> HeldOutScores:
    crops, rows, images = held_out(card, data, cache)
    labels = crops.labels[rows]
    scorer = Scorer(card, engine="onnx", device="cpu", precision="fp32")
    rng, codec = np.random.default_rng(SEED), Codec(23, 36)
    packed = np.stack([codec(image, rng) for image in images])
    fakes = _make_fakes(crops, images[labels == 0], card, _redrawers(crops, cache))
    return HeldOutScores(
        labels,
        [crops.groups[row_index] for row_index in rows],
        scored(scorer, images),
        scored(scorer, images[:, :, ::-1]),
        scored(scorer, packed),
        {kind: scored(scorer, images_of_kind) for kind, images_of_kind in fakes.items()},
    )


def training_columns(card: ModelCard) -> dict[str, object]:
    """Return the columns that describe the training."""
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


def _row(card: ModelCard, held_out_scores: HeldOutScores) -> dict[str, object]:
    found = held_out_scores.auc(held_out_scores.plain)
    assert found.interval is not None
    return {
        **training_columns(card),
        "auc": round(found.interval.value, 4),
        "low": round(found.interval.low, 4),
        "high": round(found.interval.high, 4),
        "auc_mirrored": round(
            auc(held_out_scores.labels, (held_out_scores.plain + held_out_scores.mirrored) / 2), 4
        ),
        "auc_codec": round(auc(held_out_scores.labels, held_out_scores.packed), 4),
        **{f"auc_{kind}": held_out_scores.auc_of(kind).to_json()["value"] for kind in held_out_scores.fakes},
    }


def _redrawers(crops: CropSet, cache: Path) -> Sequence[Redrawer]:
    train = crops.where("train")
    with TrainView("auto") as view:
        return autoencoders(
            crops,
            train[crops.labels[train] == 0],
            cache,
            seed=SEED,
            plans=AUTOENCODERS,
            on_progress=view.autoencoders,
        )


def _make_fakes(
    crops: CropSet, reals: Image, card: ModelCard, redrawers: Sequence[Redrawer]
) -> dict[str, Image]:
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
    parts = [
        scorer.score(np.ascontiguousarray(images[row_index : row_index + 64]))
        for row_index in range(0, len(images), 64)
    ]
    return np.concatenate(parts).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Clips:
    """The results of a scan of the clips.

    Attributes:
        votes: Tiers -> votes.
        called: Label and group -> verdicts of the clips, in tiers A and B.
        scanned: Date and precision of the scan, as text.
    """

    votes: Mapping[str, Scores]
    called: Mapping[tuple[str, str], set[str]]
    scanned: str

    def kinds(self, tiers: str) -> dict[str, Measurement]:
        """Return the AUC of each method against all reals of the tiers."""
        given = self.votes[tiers]
        found = measure_kinds(given.labels, given.scores, given.kind.texts(), given.groups(), measures=AUC)
        return {kind: figures[0] for kind, figures in found.items()}

    def fakes(self, label: str) -> str:
        """Return how many votes of a label are called fake, as text."""
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
    for record in open_records(records):
        if record["model"].get("sha256") not in {file.sha256 for file in card.files.values()}:
            raise SystemExit(f"{records} is not from {card.folder}: scan again")
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


def _with_results(card: ModelCard, held_out_scores: HeldOutScores, clips: Clips | None) -> ModelCard:
    """Return the card with the figures, replacing earlier ones."""
    replaced = (SYNTHETIC, CLIPS) if clips else (SYNTHETIC,)
    kept = [each for each in card.results if not str(each["data"]).startswith(replaced)]
    synthetic = [
        card_result(held_out_scores.auc_of(kind), "frame", SYNTHETIC, kind) for kind in held_out_scores.fakes
    ]
    updated = replace(card, results=(*kept, *synthetic, *(_results_of_clips(clips) if clips else ())))
    if clips is None:
        return updated
    unseen = [
        f"{kind} (AUC {measurement.value:.2f})"
        for kind, measurement in clips.kinds("A,B").items()
        if measurement.value is not None and measurement.value < 0.5
    ]
    misses = (
        f"on clips of the web (tiers A and B) {clips.fakes('fake')} fakes are called fake, and "
        f"{clips.fakes('real')} reals; below most reals score: {', '.join(unseen) or 'no method'}"
    )
    # The training's remark that it was not tested on other data no longer applies.
    trained = {name: value for name, value in card.trained.items() if name != "not_tested_on"}
    return replace(updated, trained={**trained, "misses": misses})


def _results_of_clips(clips: Clips) -> Iterator[dict[str, Any]]:
    for tiers, updated in TIERS.items():
        given = clips.votes[tiers]
        data = f"{CLIPS}, tier {tiers}: {updated}; {clips.scanned}"
        measures = {name: METRICS[name] for name in ("auc", "average_precision")}
        for found in measure_all(given.labels, given.scores, given.groups(), measures=measures):
            yield card_result(found, "video", data)
    for kind, found in clips.kinds("A,B").items():
        yield card_result(found, "video", data, kind)


def card_result(found: Measurement, level: str, data: str, kind: str = "") -> dict[str, Any]:
    """Return a figure in the form of a card's results."""
    training_columns = found.to_json()
    # A method with one clip has no interval; the card does not repeat the reason each time.
    training_columns.pop("reason", None)
    return {"metric": training_columns.pop("metric"), "level": level, **training_columns, "data": data} | (
        {"kind": kind} if kind else {}
    )


if __name__ == "__main__":
    main()
