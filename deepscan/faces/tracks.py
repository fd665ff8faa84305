"""Tracks: which faces of the sampled frames are one person, by their look first and their place second."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, pairwise
from typing import cast

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from deepscan.faces.face import Face, Floats
from deepscan.faces.gradients import oriented_gradients
from deepscan.faces.looks import Looks
from deepscan.faces.shots import ShotSpan, shot_of
from deepscan.media.frames import Image

# Measured on 2,142 faces of 67 clips with one person each (crops of `recipe.REFERENCE`), as 1 - cosine: to
# the nearest earlier face of the same clip 0.03 (95th percentile) and 0.07 (99th), to the last one 0.05 and
# 0.12; between faces of two persons 0.10 (1st percentile), 0.13 (5th), 0.23 (median).
#: Largest appearance distance at which two faces in the same place are taken for one person.
LIMIT = 0.12
#: How much of it a face loses that is a face's size or more away, where only its look speaks for it.
PLACE = 0.045

#: Faces of a track whose looks are taken where it is held against others, spread over it.
LOOKED_AT = 8

#: Cost of a link that may not be made; finite, since the assignment needs finite costs.
FORBIDDEN = 1e6


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """The faces of one person.

    Attributes:
        id: From 0, the person seen most often first; of two seen equally often the larger one.
        faces: At least one, in the order of their frames, at most one a frame.
        is_face: Whether the face filter takes them for faces at all.
        still: Whether they hardly change, as those of a photograph.
    """

    id: int
    faces: tuple[Face, ...]
    is_face: bool = True
    still: bool = False

    def __post_init__(self) -> None:
        indices = [face.index for face in self.faces]
        if not indices or any(b <= a for a, b in pairwise(indices)):
            raise ValueError(f"a track has faces of increasing frame indices, not {indices}")

    @property
    def face_score(self) -> float:
        """The median of its faces' scores by the face filter, in [0, 1]."""
        return float(np.median([face.face_score for face in self.faces]))


def appearance(crop: Image) -> Floats:
    """Return what a face looks like, a unit vector of shape (416,), float32.

    Three parts, weighted: brightness on a 16 x 16 grid with its mean and contrast taken out, colour on a
    4 x 4 grid, histograms of 8 gradient directions in 4 x 4 cells (after Dalal and Triggs 2005). It tells
    apart the persons of one video; it does not recognise a person elsewhere.

    Args:
        crop: The aligned face, RGB, square, uint8, cut by `recipe.REFERENCE`: distances compare only between
            crops of one recipe, and the limits of `link` are made for that one.
    """
    whole = cast(Image, cv2.cvtColor(crop, cv2.COLOR_RGB2YCrCb))
    luma = _shrunk(whole, 16)[..., 0]
    colour = (_shrunk(whole, 4)[..., 1:] - 128) / 160
    shape = np.sqrt(oriented_gradients(_shrunk(whole, 64)[..., 0], cells=4))
    return _unit(np.concatenate([_unit(luma - luma.mean()), 3 * colour.ravel(), 3 * _unit(shape)]))


def link(
    faces: Sequence[Face], shots: Sequence[ShotSpan] = (), looks: Looks | None = None
) -> list[FaceTrack]:
    """Return the persons that faces belong to, `FaceTrack.id` ascending.

    Frame by frame, the faces are assigned to the persons seen so far at the least total cost (the Hungarian
    method). The cost is the distance in appearance to the most similar face of that person, plus up to
    `PLACE` for how far away the person was last seen; above `LIMIT` the face starts a new person. Two persons
    who cross are so told apart by their appearance. Two tracks with no frame in common whose appearances are
    close are then joined. The order in which faces are given does not matter.

    All this goes on within a shot: after a cut neither place nor appearance, which changes with the light,
    says who somebody is. Tracks with no frame in common, in whichever shots, are joined by their looks.

    Args:
        faces: From any frames of one video, in any order; all appearances of one length.
        shots: The video's shots, none for a video without cuts.
        looks: Describes the faces of tracks that are to be joined, which then have grey crops; without it
            appearance does.
    """
    if not faces:
        return []
    ordered = sorted(faces, key=lambda face: (face.index, *face.detection.box.tolist()))
    appearances = np.stack([face.appearance for face in ordered])
    apart = 1 - appearances @ appearances.T
    groups = []
    parted = groupby(
        range(len(ordered)), key=lambda k: shot_of(shots, ordered[k].index) if looks and shots else 0
    )
    for _, members in parted:
        own = list(members)
        near = apart[np.ix_(own, own)]
        part = [ordered[k] for k in own]
        tracks = _joined(_linked(part, near), part, _nearest(near), LIMIT - PLACE)
        groups += [[own[k] for k in track] for track in tracks]
    if looks is not None and len(groups) > 1:
        groups = _joined(groups, ordered, _unlike(ordered, looks), 1 - looks.alike)
    sets = [[ordered[k] for k in sorted(group)] for group in groups]
    # The first sighting decides between equals, so that a run repeats another's ids.
    sets.sort(key=lambda own: (-len(own), -_size(own), own[0].index, *own[0].detection.box.tolist()))
    return [FaceTrack(number, tuple(own)) for number, own in enumerate(sets)]


def _linked(faces: Sequence[Face], apart: Floats) -> list[list[int]]:
    """Return groups of faces, by their positions: each frame's assigned to the persons seen before it."""
    boxes = np.stack([face.detection.box for face in faces])
    groups: list[list[int]] = []
    # Each group's distance in appearance to every face.
    nearest: list[Floats] = []
    for _, frame in groupby(range(len(faces)), key=lambda k: faces[k].index):
        members = np.array(list(frame))
        owner = {}
        if groups:
            far = _far(boxes[[group[-1] for group in groups]], boxes[members])
            cost = np.stack(nearest)[:, members] + PLACE * far
            # Every link that is too dear costs the same, so that none crowds out one that may be made.
            rows, columns = linear_sum_assignment(np.where(cost <= LIMIT, cost, FORBIDDEN))
            owner = {c: r for r, c in zip(rows, columns, strict=True) if cost[r, c] <= LIMIT}
        for column, member in enumerate(members.tolist()):
            if column in owner:
                groups[owner[column]].append(member)
                nearest[owner[column]] = np.minimum(nearest[owner[column]], apart[member])
            else:
                groups.append([member])
                nearest.append(apart[member])
    return groups


def _far(last: Floats, boxes: Floats) -> Floats:
    """Return how far boxes (m, 4) are from others (n, 4), shape (n, m): 0 the same, 1 a face's size away."""
    a, b = last[:, None, :].astype(np.float64), boxes[None].astype(np.float64)
    a_side = np.maximum((a[..., 2:] - a[..., :2]).mean(axis=-1), 1e-6)
    b_side = np.maximum((b[..., 2:] - b[..., :2]).mean(axis=-1), 1e-6)
    shift = np.hypot(*np.moveaxis(a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:], -1, 0)) / (
        a_side + b_side
    )
    far: Floats = np.minimum(1, np.maximum(shift, np.abs(np.log2(b_side / a_side)))).astype(np.float32)
    return far


def _joined(
    groups: list[list[int]],
    faces: Sequence[Face],
    distance: Callable[[Sequence[int], Sequence[int]], float],
    limit: float,
) -> list[list[int]]:
    """Join, the closest first, groups that share no frame and lie no further apart than a limit.

    Args:
        groups: Faces by their positions.
        faces: The faces.
        distance: Says how far two groups are apart.
        limit: The largest distance.
    """
    merged = [list(group) for group in groups]
    frames = [{faces[k].index for k in group} for group in groups]
    between = np.full((len(groups), len(groups)), np.inf)

    def measure(a: int, b: int) -> None:
        if frames[a].isdisjoint(frames[b]):
            between[a, b] = between[b, a] = distance(merged[a], merged[b])

    for a, b in combinations(range(len(groups)), 2):
        measure(a, b)
    while len(groups) > 1:
        a, b = sorted(divmod(int(between.argmin()), len(groups)))
        if between[a, b] > limit:
            break
        merged[a] += merged[b]
        frames[a] |= frames[b]
        merged[b] = []
        between[[a, b]] = between[:, [a, b]] = np.inf
        for other, group in enumerate(merged):
            if group and other != a:
                measure(a, other)
    return [group for group in merged if group]


def _nearest(apart: Floats) -> Callable[[Sequence[int], Sequence[int]], float]:
    """Return the distance of two groups of faces in appearance: that of their two most similar ones."""
    return lambda a, b: float(apart[np.ix_(a, b)].min())


def _unlike(faces: Sequence[Face], looks: Looks) -> Callable[[Sequence[int], Sequence[int]], float]:
    """Return the distance of two groups of faces in looks: the mean over all pairs of some of each."""
    centres: dict[tuple[int, int], Floats] = {}

    def centre(group: Sequence[int]) -> Floats:
        # Groups share no face, and grow when they are joined.
        key = min(group), len(group)
        if key not in centres:
            spread = np.linspace(0, len(group) - 1, min(len(group), LOOKED_AT)).round().astype(int)
            chosen = [faces[sorted(group)[k]].grey for k in spread]
            seen = looks.vectors([grey for grey in chosen if grey is not None])
            centres[key] = seen.mean(axis=0)
        return centres[key]

    return lambda a, b: 1 - float(centre(a) @ centre(b))


def _size(faces: Sequence[Face]) -> float:
    return float(np.mean([face.detection.width * face.detection.height for face in faces]))


def _shrunk(image: Image, side: int) -> Floats:
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)


def _unit(values: Floats) -> Floats:
    unit: Floats = (values.ravel() / max(float(np.linalg.norm(values)), 1e-6)).astype(np.float32)
    return unit
