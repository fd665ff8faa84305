"""Draw couples of a real and a fake so that a crop's origin says little about its label."""

from collections import defaultdict

import numpy as np
from numpy.random import Generator

from deepscan.data.crops.crop_cache import CropIndices, CropSet
from deepscan.detectors.detector import FAKE, REAL

#: Factor on the probability of an origin with both labels.
BOTH = 1.5
#: Number of groups above which an origin's probability does not increase, with equal groups.
MOST = 200


class _Pool:
    """Crops of one label: draws an origin, then one of its groups, then one of the group's crops.

    An origin's probability is proportional to the square root of its number of groups, so that a large data
    set does not dominate and a single clip does not count as much as a data set. With `equal`, it is
    proportional to the number of groups, up to `MOST`.
    """

    def __init__(self, crops: CropSet, positions: CropIndices, favoured: set[str], equal: bool) -> None:
        groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for position in positions.tolist():
            groups[crops.origins[position]][crops.groups[position]].append(position)
        self._groups = [list(by_group.values()) for by_group in groups.values()]
        weights = np.array(
            [
                (min(len(by_group), MOST) if equal else len(by_group) ** 0.5)
                * (BOTH if name in favoured else 1)
                for name, by_group in groups.items()
            ]
        )
        self._probabilities = weights / weights.sum()

    def draw(self, count: int, rng: Generator) -> list[int]:
        """Draw that many positions."""
        return [
            int(rng.choice(groups[rng.integers(len(groups))]))
            for groups in (
                self._groups[index] for index in rng.choice(len(self._groups), count, p=self._probabilities)
            )
        ]


def couples(
    crops: CropSet,
    positions: CropIndices,
    count: int,
    rng: Generator,
    *,
    equal: bool = False,
    self_made: float = 0.0,
    more: CropIndices | None = None,
) -> CropIndices:
    """Draw couples (real, fake), shape (count, 2).

    Fakes are drawn by origin. A couple's real is the closest available: of the same pair, else of the same
    group, else of the same origin. An origin with both labels thus has as many reals as fakes, and says
    nothing about the label. A fake of an origin without reals is coupled with a real of an origin without
    fakes.

    Args:
        crops: The crops, with origins.
        positions: Indices of the crops to use; both labels must occur.
        count: Number of couples.
        rng: Random generator.
        equal: Whether every group has the same probability, up to `MOST` groups of an origin.
        self_made: Share of couples that consist of the same real twice, from which a fake is made. They use
            the reals of origins that have fewer fakes than reals.
        more: Further reals, only for these couples.
    """
    by_label = {label: positions[crops.labels[positions] == label] for label in (REAL, FAKE)}
    origins = {
        label: {crops.origins[position] for position in rows.tolist()} for label, rows in by_label.items()
    }
    both = origins[REAL] & origins[FAKE]
    reals_by_key: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position in by_label[REAL].tolist():
        for key in _shared_keys(crops, position):
            reals_by_key[key].append(position)
    without_fakes = np.array(
        [position for position in by_label[REAL].tolist() if crops.origins[position] not in both],
        dtype=np.int64,
    )
    others = _Pool(crops, without_fakes if len(without_fakes) else by_label[REAL], set(), equal)
    made = rng.binomial(count, self_made)
    reals = by_label[REAL] if more is None else np.concatenate((by_label[REAL], more))
    paired = [(real, real) for real in _Pool(crops, reals, set(), equal).draw(made, rng)]
    for fake in _Pool(crops, by_label[FAKE], both, equal).draw(count - made, rng):
        keys = _shared_keys(crops, fake)
        closest = next((reals_by_key[key] for key in keys if key in reals_by_key), None)
        paired.append((int(rng.choice(closest)) if closest else others.draw(1, rng)[0], fake))
    if made:
        rng.shuffle(paired)
    return np.array(paired, dtype=np.int64).reshape(-1, 2)


def _shared_keys(crops: CropSet, position: int) -> list[tuple[str, ...]]:
    """Return the keys that a real and a fake may share, the closest first."""
    origin, pair = crops.origins[position], crops.pairs[position]
    return [
        *([("pair", origin, pair)] if pair else []),
        ("group", origin, crops.groups[position]),
        ("origin", origin),
    ]
