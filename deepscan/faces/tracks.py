"""Group the faces of the sampled frames into tracks, one per person, by appearance and by position."""

import math
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

# Measured on 2,142 faces of 67 clips with one person each (`crop_recipe.REFERENCE` crops), as 1 - cosine: to
# the nearest earlier face of the same clip 0.03 (95th percentile) and 0.07 (99th), to the latest one 0.05 and
# 0.12; between faces of two persons 0.10 (1st percentile), 0.13 (5th), 0.23 (median).
#: Largest appearance distance at which two faces in the same place count as one person.
LIMIT = 0.12
#: The part of that limit which is used up if a face is a face's size or more away from the person's last
#: place.
PLACE = 0.045

#: Number of faces, spread over a track, whose looks are used to compare it with other tracks.
LOOKED_AT = 3

#: Cost of a forbidden link; finite, because the assignment needs finite costs.
FORBIDDEN = 1e6


@dataclass(frozen=True, slots=True)
class FaceTrack:
    """The faces of one person.

    Attributes:
        id: From 0, ordered by number of faces, then by their mean size, both descending.
        faces: At least one, in order of their frames, at most one per frame.
        is_face: Whether the face filter accepts them as faces.
        still: Whether they hardly change, like those of a photo.
    """

    id: int
    faces: tuple[Face, ...]
    is_face: bool = True
    still: bool = False

    def __post_init__(self) -> None:
        indices = [face.index for face in self.faces]
        if not indices or any(b <= a for a, b in pairwise(indices)):
            raise ValueError(f"the frame indices of a track's faces must increase, not {indices}")

    @property
    def face_score(self) -> float:
        """The median of its faces' scores by the face filter, in [0, 1]."""
        return float(np.median([face.face_score for face in self.faces]))


def appearance(crop: Image) -> Floats:
    """Return a descriptor of a face's appearance, a unit vector of shape (416,), float32.

    It has three weighted parts: brightness on a 16 x 16 grid, normalised for mean and contrast; colour on a 4
    x 4 grid; and histograms of 8 gradient directions in 4 x 4 cells (after Dalal and Triggs 2005). It
    distinguishes the persons of one video, but does not recognise a person in another one.

    Args:
        crop: The aligned face, RGB, square, uint8, cut by `crop_recipe.REFERENCE`. Distances are only
            comparable between crops of one recipe, and the limits of `link` apply to that one.
    """
    whole = cast(Image, cv2.cvtColor(crop, cv2.COLOR_RGB2YCrCb))
    luma = _shrunk(whole, 16)[..., 0]
    colour = (_shrunk(whole, 4)[..., 1:] - 128) / 160
    shape = np.sqrt(oriented_gradients(_shrunk(whole, 64)[..., 0], cells=4))
    return _unit(np.concatenate([_unit(luma - luma.mean()), 3 * colour.ravel(), 3 * _unit(shape)]))


def link(
    faces: Sequence[Face], shots: Sequence[ShotSpan] = (), looks: Looks | None = None
) -> list[FaceTrack]:
    """Group faces by person and return the tracks, `FaceTrack.id` ascending.

    Frame by frame, faces are assigned to the persons seen so far at the lowest total cost (Hungarian method).
    The cost is the distance in appearance to the person's most similar face, plus up to `PLACE` for the
    distance to where the person was last seen; above `LIMIT` the face starts a new person. Two persons who
    cross are thus kept apart by their appearance. After that, tracks with similar appearance and no frame in
    common are joined. The order of the given faces does not matter.

    This is done within each shot, because after a cut neither position nor appearance, which changes with the
    light, identifies a person. Tracks of any shots with no frame in common are then joined by their looks.

    Args:
        faces: Faces from any frames of one video, in any order, with appearances of equal length.
        shots: The video's shots, empty for a video without cuts.
        looks: Describes faces for joining tracks, and needs their crops. Without it, appearance is used
            throughout, as if there were no cuts.
    """
    if not faces:
        return []
    ordered = sorted(faces, key=lambda face: (face.index, *face.detection.box.tolist()))
    appearances = np.stack([face.appearance for face in ordered])
    distances = 1 - appearances @ appearances.T
    groups = []
    by_shot = groupby(
        range(len(ordered)), key=lambda k: shot_of(shots, ordered[k].index) if looks and shots else 0
    )
    for _, members in by_shot:
        positions = list(members)
        within = distances[np.ix_(positions, positions)]
        part = [ordered[k] for k in positions]
        tracks = _joined(_linked(part, within), part, _nearest(within), LIMIT - PLACE)
        groups += [[positions[k] for k in track] for track in tracks]
    if looks is not None and len(groups) > 1:
        groups = _joined(groups, ordered, _look_distance(groups, ordered, looks), 1 - looks.alike)
    sets = [[ordered[k] for k in sorted(group)] for group in groups]
    # Ties are broken by the first appearance, so that ids are the same in every run.
    sets.sort(key=lambda own: (-len(own), -_size(own), own[0].index, *own[0].detection.box.tolist()))
    return [FaceTrack(number, tuple(own)) for number, own in enumerate(sets)]


def _linked(faces: Sequence[Face], distances: Floats) -> list[list[int]]:
    """Return groups of positions in `faces`, one per person, assigned frame by frame."""
    boxes = np.stack([face.detection.box for face in faces])
    groups: list[list[int]] = []
    # Each group's distance in appearance to every face.
    nearest: list[Floats] = []
    for _, frame in groupby(range(len(faces)), key=lambda k: faces[k].index):
        members = np.array(list(frame))
        owner = {}
        if groups:
            far = _box_distances(boxes[[group[-1] for group in groups]], boxes[members])
            cost = np.stack(nearest)[:, members] + PLACE * far
            # All forbidden links cost the same, so that none of them displaces an allowed one.
            rows, columns = linear_sum_assignment(np.where(cost <= LIMIT, cost, FORBIDDEN))
            owner = {c: r for r, c in zip(rows, columns, strict=True) if cost[r, c] <= LIMIT}
        for column, member in enumerate(members.tolist()):
            if column in owner:
                groups[owner[column]].append(member)
                nearest[owner[column]] = np.minimum(nearest[owner[column]], distances[member])
            else:
                groups.append([member])
                nearest.append(distances[member])
    return groups


def _box_distances(last: Floats, boxes: Floats) -> Floats:
    """Return how far boxes (m, 4) are from others (n, 4), shape (n, m): 0 if equal, 1 if a face's size."""
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
    """Join groups with no frame in common, closest first, while their distance is within a limit.

    Args:
        groups: Groups of positions in `faces`.
        faces: The faces.
        distance: Returns the distance of two groups.
        limit: The largest distance at which groups are joined.
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


def _nearest(distances: Floats) -> Callable[[Sequence[int], Sequence[int]], float]:
    """Return a distance of two groups: the appearance distance of their two most similar faces."""
    return lambda a, b: float(distances[np.ix_(a, b)].min())


def _look_distance(
    groups: Sequence[Sequence[int]], faces: Sequence[Face], looks: Looks
) -> Callable[[Sequence[int], Sequence[int]], float]:
    """Return a distance of two groups: 1 - cosine of the mean looks of selected faces.

    Faces are selected from the given groups. Their looks are computed when a group is first compared, and
    kept for the groups that are made by joining.

    Args:
        groups: Positions in `faces`, before groups are joined.
        faces: The faces.
        looks: Describes them.
    """
    selected = [_selected(group, faces) for group in groups]
    vectors: dict[int, Floats] = {}
    centres: dict[tuple[int, int], Floats | None] = {}

    def centre(group: Sequence[int]) -> Floats | None:
        # Groups are disjoint and only grow, so the smallest position and the length identify one.
        key = min(group), len(group)
        if key not in centres:
            members = set(group)
            own = [k for part in selected if members.issuperset(part) for k in part]
            missing = [k for k in own if k not in vectors]
            crops = [crop for k in missing if (crop := faces[k].look) is not None]
            if crops:
                vectors.update(zip(missing, looks.vectors(crops), strict=True))
            centres[key] = _unit(np.mean([vectors[k] for k in own], axis=0)) if own else None
        return centres[key]

    def distance(a: Sequence[int], b: Sequence[int]) -> float:
        one, other = centre(a), centre(b)
        return math.inf if one is None or other is None else 1 - float(one @ other)

    return distance


def _selected(group: Sequence[int], faces: Sequence[Face]) -> list[int]:
    """Return the faces of a group that represent it: the most frontal one in each part of its time."""
    usable = [k for k in sorted(group) if faces[k].look is not None]
    parts = np.array_split(usable, min(len(usable), LOOKED_AT)) if usable else []
    return [min(part.tolist(), key=lambda k: faces[k].quality.yaw_proxy) for part in parts]


def _size(faces: Sequence[Face]) -> float:
    return float(np.mean([face.detection.width * face.detection.height for face in faces]))


def _shrunk(image: Image, side: int) -> Floats:
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)


def _unit(values: Floats) -> Floats:
    unit: Floats = (values.ravel() / max(float(np.linalg.norm(values)), 1e-6)).astype(np.float32)
    return unit
