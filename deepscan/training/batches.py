"""The order of the training crops, and their batches, made ahead in threads of their own."""

import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from deepscan.calibration import second_half
from deepscan.data.augmentation.augment import augmented
from deepscan.data.augmentation.degrade import coarsened
from deepscan.data.augmentation.forgeries import Means, Redrawer
from deepscan.data.augmentation.forgeries import forged as forge
from deepscan.data.crops.crop_cache import CropIndices, CropSet, Sampling
from deepscan.data.pictures import PAIRS
from deepscan.detectors.detector import FAKE, REAL, UNKNOWN, Batch, Network
from deepscan.detectors.predict import predict
from deepscan.detectors.preprocess import Preprocessor
from deepscan.errors import UsageError
from deepscan.faces.blend import self_blended
from deepscan.media.frames import Image
from deepscan.training.couples import couples
from deepscan.training.recipe import Recipe

T = TypeVar("T")
R = TypeVar("R")
_WORKERS = 8
_AHEAD = 3
_SCORED = 1024
#: A sample that is not one of a pair.
ALONE = -1


def halves(crops: CropSet, frames: int = 0, sampling: Sampling = "even") -> tuple[CropIndices, CropIndices]:
    """Return the validation crops in two halves, no group in both.

    The first chooses the epoch and fits the calibration; the second, which has chosen nothing, is reported:
    see `calibration.second_half`.

    Args:
        crops: The crops.
        frames: How many of a video at most; 0 for all.
        sampling: Which, as `CropSet.where` has it.

    Raises:
        UsageError: A half lacks one of the classes.
    """
    positions = crops.where("val", frames, sampling)
    second = second_half([crops.groups[row] for row in positions])
    parts = positions[~second], positions[second]
    for part in parts:
        if set(crops.labels[part]) != {REAL, FAKE}:
            raise UsageError(
                f"of {len(positions)} validation crops, one half has {len(part)} and lacks real or fake ones",
                "put more groups into the split val, of both labels",
            )
    return parts


def reals(crops: CropSet, recipe: Recipe) -> CropIndices:
    """Return the training crops that count as real: what fakes are made with, shape (N,)."""
    train = crops.where("train")
    return train if recipe.labels == "none" else train[crops.labels[train] == REAL]


def arrange(crops: CropSet, positions: CropIndices, recipe: Recipe, seed: Sequence[int]) -> CropIndices:
    """Return an epoch's samples in random order.

    Args:
        crops: The crops.
        positions: Which of them to use.
        recipe: States the balance, and whether labels are read.
        seed: The same seed gives the same order.

    Returns:
        A row a sample: its crop, its label, and a real crop of its pair, or `ALONE`; shape (N, 3). Where the
        balance is not natural, real and fake alternate, two of a pair in a row. A fake whose crop is the real
        one of its pair is made from it. Where origins are balanced, the third of a real is its fake, since
        the same real may come again beside another.

    Raises:
        UsageError: A class is missing.
    """
    rng = np.random.default_rng(seed)
    if recipe.labels == "none":
        order = rng.permutation(positions)
        rows = [
            row
            for position in order.tolist()
            for row in ((position, REAL, position), (position, FAKE, position))
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, 3)
    for label, name in ((REAL, "real"), (FAKE, "fake")):
        if not (crops.labels[positions] == label).any():
            raise UsageError(f"there is no {name} crop to train on", "train on both classes")
    if recipe.balance == "natural":
        order = rng.permutation(positions)
        real = order[crops.labels[order] == REAL]
        partners = np.where(crops.labels[order] == FAKE, rng.choice(real, len(order)), ALONE)
        return np.column_stack((order, crops.labels[order], partners))
    own = np.asarray(crops.splits)[positions] == PAIRS
    if recipe.couples:
        if not crops.origins:
            raise UsageError(
                f"balance={recipe.balance} needs the origin of each crop", "train on a folder with faces.csv"
            )
        others, count = positions[~own], len(positions) // 2
        if recipe.balance == "groups":
            drawn = couples(crops, others, count, rng, alike=True, own=recipe.blend, more=positions[own])
        else:
            drawn = couples(crops, others, count, rng)
        return np.array(
            [row for real, fake in drawn.tolist() for row in ((real, REAL, fake), (fake, FAKE, real))],
            dtype=np.int64,
        )
    pairs = _pairs(crops, positions[~own], rng, by_group=recipe.balance == "paired")
    if own.any():
        pairs = rng.permutation(np.concatenate((pairs, np.repeat(positions[own][:, None], 2, axis=1))))
    return np.array([row for a, b in pairs.tolist() for row in ((a, REAL, a), (b, FAKE, a))], dtype=np.int64)


def _pairs(
    crops: CropSet, positions: CropIndices, rng: np.random.Generator, *, by_group: bool
) -> CropIndices:
    """Return pairs (real, fake), shape (N, 2); the smaller class is filled up with random repeats."""
    waiting: dict[tuple[str, int], list[int]] = defaultdict(list)
    shuffled = rng.permutation(positions)
    for position in shuffled:
        waiting[crops.groups[position] if by_group else "", int(crops.labels[position])].append(int(position))
    paired: list[tuple[int, int]] = []
    rest: tuple[list[int], list[int]] = ([], [])
    for group in dict.fromkeys(group for group, _ in waiting):
        real, fake = waiting.get((group, REAL), []), waiting.get((group, FAKE), [])
        paired += zip(real, fake, strict=False)
        rest[REAL].extend(real[len(fake) :])
        rest[FAKE].extend(fake[len(real) :])
    for label in (REAL, FAKE):
        everyone = shuffled[crops.labels[shuffled] == label]
        lacking = len(rest[1 - label]) - len(rest[label])
        rest[label].extend(int(position) for position in rng.choice(everyone, max(0, lacking)))
    paired += zip(*rest, strict=True)
    return rng.permutation(np.array(paired, dtype=np.int64))


class CropSource:
    """Makes the batches of an epoch from crops.

    Args:
        crops: The crops.
        recipe: States augmentation, blending and the seed.
        inputs: Makes the network's inputs.
        masks: Whether the method asks for what was forged.
        redrawers: Trained autoencoders, where the recipe makes fakes by them.
    """

    def __init__(
        self,
        crops: CropSet,
        recipe: Recipe,
        inputs: Preprocessor,
        *,
        masks: bool = False,
        redrawers: Sequence[Redrawer] = (),
    ) -> None:
        if masks and "forged" not in crops.layers and not recipe.blend:
            raise UsageError(
                "this loss needs masks of what was forged, and the data have none",
                "give the index a column mask, or make fakes with a mask by blend=0.5",
            )
        self.crops, self.recipe, self.inputs, self.masks = crops, recipe, inputs, masks
        self._real, self._redrawers = reals(crops, recipe), redrawers

    def batches(self, parts: Sequence[CropIndices], epoch: int) -> Iterator[Batch]:
        """Yield a batch for each part of an epoch's order, in order.

        Every variant of a crop depends only on (seed, epoch, position).

        Args:
            parts: Rows as `arrange` gives them.
            epoch: Number of the epoch.
        """
        # OpenCV and numpy let go of the interpreter's lock, so threads keep up with training; processes would
        # each want a copy of torch. One core is left to the training itself.
        workers = max(1, min(_WORKERS, (os.cpu_count() or 2) - 1))
        return map_ahead(
            lambda rows: self._make(rows, epoch),
            parts,
            workers=workers,
            ahead=workers + _AHEAD,
            name="augment",
        )

    def scores(self, network: Network, rows: CropIndices) -> NDArray[np.float64]:
        """Return the probability of fake of samples as they are, in evaluation, shape (N,).

        Args:
            network: The network.
            rows: As `arrange` gives them.
        """
        judged = []
        # The crops lie on disk: never all of them in memory.
        for start in range(0, len(rows), _SCORED):
            part = rows[start : start + _SCORED]
            crops = np.stack([self._plain(*row) for row in part.tolist()])
            judged.append(predict(network, crops, self.inputs, faces_of(self.crops, part[:, 0])))
        return np.concatenate(judged)

    def _plain(self, position: int, label: int, partner: int) -> NDArray[np.uint8]:
        crop = np.asarray(self.crops.crops[position], dtype=np.uint8)
        if self.recipe.labels == "given" or label == REAL:
            return crop
        return self_blended(crop, self.recipe.crop, np.random.default_rng((self.recipe.seed, position)))[0]

    def _make(self, rows: CropIndices, epoch: int) -> Batch:
        made = [self._sample(position, label, partner, epoch) for position, label, partner in rows.tolist()]
        arrays = self.inputs(np.stack([crop for crop, _, _ in made]), faces=[face for _, _, face in made])
        masks = torch.from_numpy(np.stack([mask for _, mask, _ in made])) if self.masks else None
        return Batch(
            {name: torch.from_numpy(array) for name, array in arrays.items()},
            torch.from_numpy(rows[:, 1].copy()),
            masks,
        )

    def _sample(
        self, position: int, label: int, partner: int, epoch: int
    ) -> tuple[Image, NDArray[np.float32], Image | None]:
        """Return a varied crop, what was forged in it, and where its face is."""
        crops, recipe, shown = self.crops, self.recipe, position
        image = np.asarray(crops.crops[position], dtype=np.uint8)
        layers = np.zeros((*image.shape[:2], 2), np.uint8)
        forged, face = crops.layers.get("forged"), crops.layers.get("face")
        known = label == REAL or (forged is not None and bool(forged.known[position]))
        if label == FAKE and forged is not None:
            layers[..., 0] = forged.values[position]
        if label == FAKE and (recipe.blend or position == partner):
            rng = np.random.default_rng((recipe.seed, epoch, partner, position))
            if position == partner or (recipe.balance != "groups" and rng.random() < recipe.blend):
                image, soft = forge(
                    recipe.forgeries,
                    np.asarray(crops.crops[partner]),
                    Means(lambda: np.asarray(crops.crops[rng.choice(self._real)]), self._redrawers),
                    recipe.crop,
                    rng,
                )
                layers[..., 0], known, shown = np.rint(soft * 255), True, partner
        seen = face is not None and bool(face.known[shown])
        if face is not None and seen:
            layers[..., 1] = face.values[shown]
        # What was paired stays comparable: both are turned, compressed and erased alike.
        variant: tuple[int, ...] = (partner if recipe.balance == "paired" else position,)
        if recipe.couples:
            variant = (min(position, partner), max(position, partner))
            image = coarsened(image, int(crops.face_px[shown]), int(crops.face_px[[position, partner]].min()))
        image, moved = augmented(image, recipe.augment, (recipe.seed, epoch, *variant), layers)
        assert moved is not None
        mask = moved[..., 0].astype(np.float32) / np.float32(255)
        return (
            image,
            mask if known else np.full_like(mask, UNKNOWN),
            np.ascontiguousarray(moved[..., 1]) if seen else None,
        )


def faces_of(crops: CropSet, positions: CropIndices) -> list[Image | None]:
    """Return where the faces of crops are, as far as the data say."""
    layer = crops.layers.get("face")
    return [
        np.asarray(layer.values[position]) if layer is not None and layer.known[position] else None
        for position in positions
    ]


def map_ahead(
    make: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int, name: str
) -> Iterator[R]:
    """Yield what threads make of items, in order and ahead of need.

    Args:
        make: Called by several threads.
        items: Consumed lazily.
        workers: Number of threads.
        ahead: How many items are begun before the first is asked for.
        name: Of the threads.
    """
    coming = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix=name) as pool:
        pending = deque(pool.submit(make, item) for item in islice(coming, ahead))
        try:
            while pending:
                ready = pending.popleft().result()
                pending.extend(pool.submit(make, item) for item in islice(coming, 1))
                yield ready
        finally:
            for waiting in pending:
                waiting.cancel()
