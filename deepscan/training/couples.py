"""Couples of a real and a fake, drawn so that the origin of a crop says little of its label."""

from collections import defaultdict

import numpy as np
from numpy.random import Generator

from deepscan.data.crops.crop_cache import CropIndices, CropSet
from deepscan.detectors.detector import FAKE, REAL

#: How much more often an origin with both labels is drawn than one of as many groups with one label.
BOTH = 1.5
#: Groups of an origin beyond which its share grows no more, where shares grow with the groups.
MOST = 200


class _Pool:
    """Crops of one label: draws an origin, of this a group, and of the group a crop.

    An origin's share grows with the root of its number of groups: a large data set does not drown the small
    ones, and a single clip does not count as much as a data set. Or every group counts the same, up to `MOST`
    of an origin.
    """

    def __init__(self, crops: CropSet, positions: CropIndices, favoured: set[str], alike: bool) -> None:
        groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for position in positions.tolist():
            groups[crops.origins[position]][crops.groups[position]].append(position)
        self._groups = [list(of_group.values()) for of_group in groups.values()]
        weights = np.array(
            [
                (min(len(of_group), MOST) if alike else len(of_group) ** 0.5)
                * (BOTH if name in favoured else 1)
                for name, of_group in groups.items()
            ]
        )
        self._shares = weights / weights.sum()

    def draw(self, count: int, rng: Generator) -> list[int]:
        """Return that many positions."""
        return [
            int(rng.choice(groups[rng.integers(len(groups))]))
            for groups in (
                self._groups[index] for index in rng.choice(len(self._groups), count, p=self._shares)
            )
        ]


def couples(
    crops: CropSet,
    positions: CropIndices,
    count: int,
    rng: Generator,
    *,
    alike: bool = False,
    own: float = 0.0,
    more: CropIndices | None = None,
) -> CropIndices:
    """Return couples (real, fake), shape (count, 2).

    Fakes are drawn by origin. The real of a couple is the nearest there is: of the same pair, else of the
    same group, else of the same origin. So an origin with both labels has as many reals as fakes, and tells
    nothing. A fake of an origin without reals takes the place of a real from an origin without fakes.

    Args:
        crops: The crops, with origins.
        positions: Which of them to use; both labels occur.
        count: How many couples.
        rng: Draws them.
        alike: Whether every group counts the same, up to `MOST` of an origin.
        own: Share of couples that are a real, of any origin, twice: its fake is to be made from it. They use
            the reals of origins that have fewer fakes than reals.
        more: Other reals, for these couples alone.
    """
    of_label = {label: positions[crops.labels[positions] == label] for label in (REAL, FAKE)}
    origins = {
        label: {crops.origins[position] for position in rows.tolist()} for label, rows in of_label.items()
    }
    both = origins[REAL] & origins[FAKE]
    near: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position in of_label[REAL].tolist():
        for key in _nearness(crops, position):
            near[key].append(position)
    alone = np.array(
        [position for position in of_label[REAL].tolist() if crops.origins[position] not in both],
        dtype=np.int64,
    )
    others = _Pool(crops, alone if len(alone) else of_label[REAL], set(), alike)
    made = rng.binomial(count, own)
    reals = of_label[REAL] if more is None else np.concatenate((of_label[REAL], more))
    paired = [(real, real) for real in _Pool(crops, reals, set(), alike).draw(made, rng)]
    for fake in _Pool(crops, of_label[FAKE], both, alike).draw(count - made, rng):
        found = next((near[key] for key in _nearness(crops, fake) if key in near), None)
        paired.append((int(rng.choice(found)) if found else others.draw(1, rng)[0], fake))
    if made:
        rng.shuffle(paired)
    return np.array(paired, dtype=np.int64).reshape(-1, 2)


def _nearness(crops: CropSet, position: int) -> list[tuple[str, ...]]:
    """Return what a real and a fake may share, the nearest first."""
    origin, pair = crops.origins[position], crops.pairs[position]
    return [
        *([("pair", origin, pair)] if pair else []),
        ("group", origin, crops.groups[position]),
        ("origin", origin),
    ]
