"""Compare three rules for a person in several shots, with the scores of a model.

    python benchmarks/shot_rules.py --data DIR [MODEL]

The shots are the clips of web faces in `val` of `DIR/faces.csv`, with up to four faces each; a person is a
group. For each group with enough shots, triples of shots are drawn at random: all real, all fake, and two
real ones with a fake one of the same person. Each group counts once. The rules: the mean of all shots; the
highest shot; and the mean, but `inconclusive` instead of `no_evidence` if the highest shot alone would be
called fake, as in a scan.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

from deepscan.bench.output import write_table
from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.data.crops.crop_cache import prepare_crops
from deepscan.data.pictures import read_pictures
from deepscan.engines.scorer import Scorer
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.outcomes import Verdict
from deepscan.scanning.aggregation import verdict

TABLE = Path(__file__).with_suffix(".csv")
SHOTS, DRAWS, BATCH = 3, 40, 32
RULES = ("mean", "worst shot", "mean, no acquittal")
VERDICTS: tuple[Verdict, ...] = ("fake", "inconclusive", "no_evidence")
#: Label -> raw scores of one person's shots.
Person = Mapping[int, Sequence[float]]


def main() -> None:
    """Score crops, draw triples and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL)
    parser.add_argument("--data", required=True, type=Path, help="folder with faces.csv")
    parser.add_argument("--cache", default=Path("runs/crops"), type=Path, help="folder for crops")
    arguments = parser.parse_args()
    card = load_card(arguments.model)
    assert card.crop is not None and card.calibration is not None
    crops = prepare_crops(read_pictures(arguments.data, ("DFDC", "WEB")), card.crop, arguments.cache)
    web = [k for k in crops.where("val") if not crops.videos[k].startswith("faces/dfdc/")]
    scorer = Scorer(card)
    raw = np.concatenate(
        [
            scorer.score(np.stack([crops.crops[k] for k in web[start : start + BATCH]]))
            for start in range(0, len(web), BATCH)
        ]
    )
    shots: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for k, score in zip(web, raw.tolist(), strict=True):
        shots[crops.groups[k], int(crops.labels[k]), crops.videos[k]].append(score)
    persons: dict[str, dict[int, list[float]]] = defaultdict(lambda: {0: [], 1: []})
    for (group, label, _), scores in shots.items():
        persons[group][label].append(float(np.mean(scores)))
    rows = list(table(list(persons.values()), card.calibration))
    write_table(TABLE, rows)
    for row in rows:
        print(*row.values(), sep="\t")


def table(persons: Sequence[Person], calibration: Calibration) -> list[dict[str, object]]:
    """Return the shares of verdicts by rule and kind of triple."""
    rng = np.random.default_rng(1)
    rows: list[dict[str, object]] = []
    for kind, parts in (("all real", (SHOTS, 0)), ("all fake", (0, SHOTS)), ("one fake", (SHOTS - 1, 1))):
        eligible = [person for person in persons if len(person[0]) >= parts[0] and len(person[1]) >= parts[1]]
        triples = [[draw(person, parts, rng) for _ in range(DRAWS)] for person in eligible]
        for rule in RULES:
            verdicts = [
                apply_rule(scores, rule, calibration)
                for triples_of_person in triples
                for scores in triples_of_person
            ]
            shares: dict[str, float] = {
                name: round(verdicts.count(name) / max(len(verdicts), 1), 3) for name in VERDICTS
            }
            rows.append({"shots": kind, "persons": len(eligible), "rule": rule, **shares})
    return rows


def draw(person: Person, parts: tuple[int, int], rng: Generator) -> list[float]:
    """Draw shots of a person, and return their raw scores."""
    return [
        float(score) for label, count in enumerate(parts) for score in rng.choice(person[label], count, False)
    ]


def apply_rule(scores: Sequence[float], rule: str, calibration: Calibration) -> Verdict:
    """Return the verdict for a person by a rule."""
    mean, worst = (
        verdict(calibrate(score, calibration), calibration) for score in (float(np.mean(scores)), max(scores))
    )
    if rule == "mean":
        return mean
    if rule == "worst shot":
        return worst
    return "inconclusive" if mean == "no_evidence" and worst == "fake" else mean


if __name__ == "__main__":
    main()
