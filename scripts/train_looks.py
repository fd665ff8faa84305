"""Fits what knows a person's faces again in another shot, and what finds the cut between two shots.

    python scripts/train_looks.py DATA --cache CACHE     # a minute once the crops are in the cache

From the faces of the web in `DATA/faces.csv`: the directions of `deepscan.faces.looks` from those of `train`,
each as it is and once changed, one class a person; the figures from those of `val`, of which the first half,
by the hash of the group, chooses the threshold. The folder `models/looks` is replaced. The weights of
`deepscan.faces.shots` are printed: they are fitted to pairs of whole pictures of `train`, of one clip and of
two.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from deepscan.calibration import second_half
from deepscan.cards import ModelCard, ModelFile, sha256_of, write_card
from deepscan.crop_recipe import REFERENCE
from deepscan.data.crops.crop_cache import CropSet, prepare_crops
from deepscan.data.pictures import read_pictures
from deepscan.faces.looks import features
from deepscan.faces.shots import differences, thumbnail
from deepscan.faces.still import SIDE, grey_crop
from deepscan.faces.tracks import appearance
from deepscan.media.frames import Image

Vectors = NDArray[np.floating[Any]]
MODELS = Path(__file__).parents[1] / "models"
#: Kinds of pictures whose group may hold several persons: who is put on whom, and who drives whom.
SEVERAL = {"swap", "generated", "talking-head-video", "reenactment", "avatar-3d"}
#: Principal components kept, part of the mean variance added to each, directions kept.
COMPONENTS, RIDGE, DIRECTIONS = 400, 0.1, 128
#: Share of pairs of two persons that may count as one.
FALSE_ACCEPTS = 0.001
SEED = 1


def main() -> None:
    """Fit, measure and write the model's folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with faces.csv")
    parser.add_argument("--cache", type=Path, default=Path("runs/crops"), help="folder for crops")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    crops = prepare_crops(read_pictures(given.data, ("WEB",)), REFERENCE, given.cache, workers=0)
    with (given.data / "faces.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "WEB"]
    kinds = {row["video"]: row["kind"] for row in rows}
    print_cut_weights(given.data, [row for row in rows if row["split"] == "train"])
    mean, directions = fitted(crops, kinds)
    val = crops.where("val")
    seen = np.stack([features(grey_crop(crop)) for crop in crops.crops[val]])
    looks = (seen - mean) @ directions
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    before = np.stack([appearance(crop) for crop in crops.crops[val]])
    groups, videos = ([names[k] for k in val] for names in (crops.groups, crops.videos))
    late = second_half(groups)
    first, second = np.flatnonzero(~late), np.flatnonzero(late)
    alike = threshold(looks[first], *_names(groups, videos, first))
    results = [
        {**measured(vectors[second], *_names(groups, videos, second), kinds), "vector": name}
        for name, vectors in (("looks", looks), ("appearance", before))
    ]
    for result in results:
        print(result)
    write(mean, directions, alike, results)


def fitted(crops: CropSet, kinds: Mapping[str, str]) -> tuple[Vectors, Vectors]:
    """Return the mean of the features, and the directions in which persons differ most for what they vary."""
    rng = np.random.default_rng(SEED)
    train = crops.where("train")
    greys = [grey_crop(crop) for crop in crops.crops[train]]
    plain = np.stack([features(grey) for grey in greys])
    changed = np.stack([features(altered(grey, rng)) for grey in greys])
    persons = classes([crops.groups[k] for k in train], [crops.videos[k] for k in train], kinds)
    mean = plain.mean(axis=0)
    _, _, axes = np.linalg.svd(plain - mean, full_matrices=False)
    basis = axes[:COMPONENTS].T
    kept = np.stack([(each - mean) @ basis for each in (plain, changed)])
    within, centres = np.zeros((COMPONENTS, COMPONENTS)), []
    for own in persons:
        faces = kept[:, own].reshape(-1, COMPONENTS)
        centres.append(faces.mean(axis=0))
        apart = faces - centres[-1]
        # Each person counts once, whoever has many pictures.
        within += apart.T @ apart / len(faces)
    within /= len(persons)
    within += RIDGE * np.trace(within) / COMPONENTS * np.eye(COMPONENTS)
    _, vectors = eigh(np.cov(np.array(centres).T), within)
    return mean.astype(np.float16), (basis @ vectors[:, ::-1][:, :DIRECTIONS]).astype(np.float16)


def classes(groups: Sequence[str], videos: Sequence[str], kinds: Mapping[str, str]) -> list[list[int]]:
    """Return which faces are one person's: a group's, or a video's where a group may hold several persons."""
    of_group: dict[str, list[int]] = defaultdict(list)
    for at, group in enumerate(groups):
        of_group[group].append(at)
    persons = []
    for own in of_group.values():
        if not {kinds[videos[at]] for at in own} & SEVERAL:
            persons.append(own)
            continue
        of_video: dict[str, list[int]] = defaultdict(list)
        for at in own:
            of_video[videos[at]].append(at)
        persons += of_video.values()
    return persons


def altered(grey: Image, rng: Generator) -> Image:
    """Return a face in other light, from a little elsewhere, and less sharp."""
    angle, scale = rng.normal(0, 3), rng.normal(1, 0.03)
    middle = SIDE / 2
    turn = np.asarray(cv2.getRotationMatrix2D((middle, middle), angle, scale), dtype=np.float64)
    turn[:, 2] += rng.normal(0, 1, 2)
    face = cv2.warpAffine(grey, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    if (blur := rng.uniform(-0.5, 1.5)) > 0.2:
        face = cv2.GaussianBlur(face, (0, 0), blur)
    across, down = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 2)
    way = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.6) * (across * np.cos(way) + down * np.sin(way))
    lit = 255 * (face / 255) ** rng.uniform(0.6, 1.6) * light * rng.uniform(0.6, 1.2)
    changed: Image = np.clip(lit + rng.normal(0, 2, lit.shape), 0, 255).astype(np.uint8)
    return changed


def threshold(looks: Vectors, groups: Sequence[str], videos: Sequence[str]) -> float:
    """Return the mean cosine between two videos that few of two groups reach."""
    between, same, _ = _between_videos(looks, groups, videos)
    return round(float(np.quantile(between[~same], 1 - FALSE_ACCEPTS)), 3)


def measured(
    looks: Vectors, groups: Sequence[str], videos: Sequence[str], kinds: Mapping[str, str]
) -> dict[str, Any]:
    """Return how well videos of one person are distinguished from those of two, each group counting once.

    Those of one person are videos of a real person, and talking heads made of one picture.
    """
    between, same, pairs = _between_videos(looks, groups, videos)
    names = sorted(set(videos))
    group = dict(zip(videos, groups, strict=True))
    several = {group[video] for video in names if kinds[video] in SEVERAL}
    one = np.array(
        [
            group[names[a]] not in several or kinds[names[a]] == kinds[names[b]] == "real"
            for a, b in pairs.tolist()
        ]
    )
    count: dict[str, int] = defaultdict(int)
    for a, _ in pairs[same & one].tolist():
        count[group[names[a]]] += 1
    weights = np.array([1 / count[group[names[a]]] for a, _ in pairs[same & one].tolist()])
    weights /= weights.sum()
    apart, alike = between[~same], between[same & one]
    labels = np.r_[np.zeros(len(apart)), np.ones(len(alike))]
    sizes = np.r_[np.full(len(apart), 1 / len(apart)), weights]
    accepted = {
        f"accepted at {100 * rate:g} %": round(float(weights[alike > np.quantile(apart, 1 - rate)].sum()), 4)
        for rate in (0.01, 0.001)
    }
    auc = roc_auc_score(labels, np.r_[apart, alike], sample_weight=sizes)
    return {"auc": round(float(auc), 4), **accepted, "persons": len(count), "pairs of two": len(apart)}


def _between_videos(
    looks: Vectors, groups: Sequence[str], videos: Sequence[str]
) -> tuple[Vectors, NDArray[np.bool_], NDArray[np.int64]]:
    """Return the mean cosine between each two videos, whether they are of one group, and which they are."""
    names = sorted(set(videos))
    place = {name: at for at, name in enumerate(names)}
    total, count = np.zeros((len(names), looks.shape[1])), np.zeros(len(names))
    for look, video in zip(looks, videos, strict=True):
        total[place[video]] += look
        count[place[video]] += 1
    centres = total / count[:, None]
    group = np.array([dict(zip(videos, groups, strict=True))[name] for name in names])
    a, b = np.triu_indices(len(names), 1)
    return (centres @ centres.T)[a, b], group[a] == group[b], np.column_stack([a, b])


def _names(
    groups: Sequence[str], videos: Sequence[str], which: NDArray[np.int64]
) -> tuple[list[str], list[str]]:
    return [groups[k] for k in which], [videos[k] for k in which]


def print_cut_weights(data: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Fit the odds of a cut to pairs of whole pictures, and print them."""
    rng = np.random.default_rng(SEED)
    of_video: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        of_video[row["video"]].append(row)
    ends = [(own[0], own[-1]) for own in of_video.values() if len(own) > 1]
    small = {
        row["file"]: thumbnail(np.asarray(cv2.imread(str(data / row["file"])), dtype=np.uint8)[..., ::-1])
        for pair in ends
        for row in pair
    }
    others = rng.permutation(len(ends))
    one = [differences(small[a["file"]], small[b["file"]]) for a, b in ends]
    two = [
        differences(small[a["file"]], small[ends[other][1]["file"]])
        for (a, _), other in zip(ends, others, strict=True)
        if a["group"] != ends[other][0]["group"]
    ]
    values, labels = np.array(one + two), np.r_[np.zeros(len(one)), np.ones(len(two))]
    model = LogisticRegression(C=1e3).fit(values, labels)
    right = model.predict(values) == labels
    print("cut: structure, colour, bias", *np.round(model.coef_[0], 3), np.round(model.intercept_, 3))
    print(f"of one clip right {right[: len(one)].mean():.4f} of {len(one)}", end=", ")
    print(f"of two {right[len(one) :].mean():.4f} of {len(two)}")


def write(mean: Vectors, directions: Vectors, alike: float, results: Sequence[Mapping[str, Any]]) -> None:
    """Write the model's folder."""
    folder = MODELS / "looks"
    folder.mkdir(exist_ok=True)
    file = folder / "directions.npz"
    np.savez_compressed(file, mean=mean, directions=directions)
    said = "; ".join(f"{key} {value}" for key, value in results[0].items() if key != "vector")
    print(f"alike {alike}, {file.stat().st_size} bytes; {said}")
    write_card(
        ModelCard(
            folder=folder,
            name="looks",
            method="looks",
            summary="Knows a person's face again in another shot of the same video: a linear discriminant",
            license="Apache-2.0",
            files={"directions": ModelFile(file.name, sha256_of(file))},
            network={"alike": alike, "components": COMPONENTS, "ridge": RIDGE, "directions": DIRECTIONS},
            trained={
                "data": "faces of demo clips and pictures that the authors of about 100 public repositories "
                "published, split train, hardly any of them cleared for more than looking at",
                "command": "python scripts/train_looks.py DATA",
                "seed": SEED,
            },
            results=tuple(
                {
                    "data": "the same kind of faces, other people: second half of the groups of val; videos "
                    "of one person against videos of two, by the mean cosine of their faces",
                    **result,
                }
                for result in results
            ),
            not_for=(
                "telling who a person is: it tells the persons of one video apart",
                "evidence that two faces are one person's",
            ),
        )
    )


if __name__ == "__main__":
    main()
