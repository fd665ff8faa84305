"""Whose face is whose in the web faces, and how well vectors tell it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Vectors = NDArray[np.floating[Any]]
#: Kinds of pictures whose group may hold several persons: who is put on whom, and who drives whom.
SEVERAL = {"swap", "generated", "talking-head-video", "reenactment", "avatar-3d"}
#: Share of pairs of two persons that may count as one person.
FALSE_ACCEPTS = 0.001


@dataclass(frozen=True)
class Faces:
    """What is known of faces.

    Attributes:
        groups: Person or footage of each.
        videos: Of which video each is.
        kinds: What each video is, by its name.
    """

    groups: tuple[str, ...]
    videos: tuple[str, ...]
    kinds: Mapping[str, str]

    def part(self, which: NDArray[np.int64]) -> "Faces":
        """Return some of them."""
        groups, videos = (tuple(names[k] for k in which) for names in (self.groups, self.videos))
        return Faces(groups, videos, self.kinds)

    def persons(self) -> list[list[int]]:
        """Return which are one person's: a group's, or a video's where a group may hold several persons."""
        of_group: dict[str, list[int]] = defaultdict(list)
        for at, group in enumerate(self.groups):
            of_group[group].append(at)
        persons = []
        for own in of_group.values():
            if not {self.kinds[self.videos[at]] for at in own} & SEVERAL:
                persons.append(own)
                continue
            of_video: dict[str, list[int]] = defaultdict(list)
            for at in own:
                of_video[self.videos[at]].append(at)
            persons += of_video.values()
        return persons

    def doubtful(self) -> NDArray[np.bool_]:
        """Return of whom it is not known who they are, shape (n,).

        Of two such faces nobody knows whether they are of one person: one face is put on many.
        """
        return np.array([self.kinds[video] in SEVERAL for video in self.videos])


def threshold(vectors: Vectors, faces: Faces) -> float:
    """Return the cosine between the mean vectors of two videos that few of two groups reach."""
    between, same, _ = between_videos(vectors, faces)
    return round(float(np.quantile(between[~same], 1 - FALSE_ACCEPTS)), 3)


def measured(vectors: Vectors, faces: Faces) -> dict[str, Any]:
    """Return how well videos of one person are distinguished from those of two, each group counting once.

    Those of one person are videos of a real person, and talking heads made of one picture. Those of two are
    of two groups, where at least one of them is a group of one person: a swapped face may be on both.
    """
    between, same, pairs = between_videos(vectors, faces)
    names, group = _videos(faces)
    several = {group[video] for video in names if faces.kinds[video] in SEVERAL}
    one = np.array(
        [
            group[names[a]] not in several or faces.kinds[names[a]] == faces.kinds[names[b]] == "real"
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


def _videos(faces: Faces) -> tuple[list[str], dict[str, str]]:
    return sorted(set(faces.videos)), dict(zip(faces.videos, faces.groups, strict=True))


def between_videos(vectors: Vectors, faces: Faces) -> tuple[Vectors, NDArray[np.bool_], NDArray[np.int64]]:
    """Return the cosine of the mean vectors of each two videos, whether they share a group, and which two.

    Videos of two groups are left out where both may show the same face.
    """
    names, group = _videos(faces)
    place = {name: at for at, name in enumerate(names)}
    total = np.zeros((len(names), vectors.shape[1]))
    for vector, video in zip(vectors, faces.videos, strict=True):
        total[place[video]] += vector / np.linalg.norm(vector)
    centres = total / np.linalg.norm(total, axis=1, keepdims=True)
    groups = np.array([group[name] for name in names])
    doubtful = np.array([faces.kinds[name] in SEVERAL for name in names])
    a, b = np.triu_indices(len(names), 1)
    same = groups[a] == groups[b]
    known = same | ~(doubtful[a] & doubtful[b])
    return (centres @ centres.T)[a, b][known], same[known], np.column_stack([a, b])[known]


def false_accepts(vectors: Vectors, faces: Faces, alike: float) -> float:
    """Return the share of pairs of two persons that a threshold takes for one."""
    between, same, _ = between_videos(vectors, faces)
    return round(float((between[~same] > alike).mean()), 5)
