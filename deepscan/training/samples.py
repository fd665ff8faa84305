"""The order of the training samples, and their batches, made ahead in a thread of their own."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepscan.data.augment import Image, augmented
from deepscan.data.blend import self_blended
from deepscan.data.crops import CropSet
from deepscan.detectors.detector import FAKE, REAL
from deepscan.engines.golden import normalised
from deepscan.errors import UsageError
from deepscan.training.recipe import Recipe

Indices = NDArray[np.int64]
_AHEAD = 4


def halves(crops: CropSet) -> tuple[Indices, Indices]:
    """Return the validation crops in two halves, no group in both.

    The first chooses the epoch and fits the calibration; the second, which has chosen nothing, is reported. A
    group's half hangs on the hash of its name, so that it does not change with what else is in the data.

    Raises:
        UsageError: A half lacks one of the classes.
    """
    positions = crops.where("val")
    second = np.array(
        [hashlib.sha256(crops.groups[at].encode()).digest()[0] & 1 for at in positions], dtype=bool
    )
    parts = positions[~second], positions[second]
    for part in parts:
        if set(crops.labels[part]) != {REAL, FAKE}:
            raise UsageError(
                f"of {len(positions)} validation crops, one half has {len(part)} and lacks real or fake ones",
                "put more groups into the split val, of both labels",
            )
    return parts


def pairs(crops: CropSet, positions: Indices, seed: Sequence[int], *, by_group: bool) -> Indices:
    """Return an epoch's samples in random order, as pairs of a real and a fake one.

    The class with fewer samples is filled up with random repeats, so that both weigh the same.

    Args:
        crops: The crops.
        positions: Which of them to use.
        seed: The same seed gives the same order.
        by_group: Pair samples of the same group first: the two then differ by the manipulation, and by little
            else.

    Returns:
        Positions (real, fake), shape (N, 2).

    Raises:
        UsageError: A class is missing.
    """
    rng = np.random.default_rng(seed)
    waiting: dict[tuple[str, int], list[int]] = defaultdict(list)
    shuffled = rng.permutation(positions)
    for at in shuffled:
        waiting[crops.groups[at] if by_group else "", int(crops.labels[at])].append(int(at))
    paired: list[tuple[int, int]] = []
    rest: tuple[list[int], list[int]] = ([], [])
    for group in dict.fromkeys(group for group, _ in waiting):
        real, fake = waiting.get((group, REAL), []), waiting.get((group, FAKE), [])
        paired += zip(real, fake, strict=False)
        rest[REAL].extend(real[len(fake) :])
        rest[FAKE].extend(fake[len(real) :])
    for label, name in ((REAL, "real"), (FAKE, "fake")):
        everyone = shuffled[crops.labels[shuffled] == label]
        if not len(everyone):
            raise UsageError(f"there is no {name} crop to train on", "train on both classes")
        lacking = len(rest[1 - label]) - len(rest[label])
        rest[label].extend(int(at) for at in rng.choice(everyone, max(0, lacking)))
    paired += zip(*rest, strict=True)
    return rng.permutation(np.array(paired, dtype=np.int64))


def batches(crops: CropSet, order: Indices, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's batches: normalised crops, shape (B, 3, S, S), and labels, shape (B,), int64.

    Every variant of a crop hangs on (seed, epoch, position) alone. A last batch that is not full is left out.

    Args:
        crops: The crops.
        order: Pairs of positions, as `pairs` gives them.
        recipe: States the batch, the augmentation and the normalisation.
        epoch: Number of the epoch.
    """
    half = recipe.batch // 2

    def make(start: int) -> tuple[Tensor, Tensor]:
        images: list[Image] = []
        for real, fake in order[start : start + half].tolist():
            images += [crops.crops[real], _fake(crops, real, fake, recipe, epoch)]
        # What was paired stays comparable: both are turned, compressed and erased alike.
        seeds = [
            (recipe.seed, epoch, int(pair[0] if recipe.paired else at))
            for pair in order[start : start + half]
            for at in pair
        ]
        varied = [augmented(image, recipe.augment, seed) for image, seed in zip(images, seeds, strict=True)]
        values = normalised(np.stack(varied), recipe.mean, recipe.std)
        return torch.from_numpy(values), torch.tensor([REAL, FAKE] * half)

    return _ahead(make, range(0, len(order) - half + 1, half))


def _fake(crops: CropSet, real: int, fake: int, recipe: Recipe, epoch: int) -> Image:
    rng = np.random.default_rng((recipe.seed, epoch, real, fake))
    if rng.random() < recipe.blend:
        return self_blended(crops.crops[real], recipe.crop, rng)
    return np.asarray(crops.crops[fake], dtype=np.uint8)


def _ahead(
    make: Callable[[int], tuple[Tensor, Tensor]], starts: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    # OpenCV and numpy let go of the interpreter's lock, so one thread keeps up with training on two cores;
    # worker processes would each want a copy of torch, and a core.
    coming = iter(starts)
    with ThreadPoolExecutor(1, thread_name_prefix="augment") as pool:
        pending = deque(pool.submit(make, start) for start in islice(coming, _AHEAD))
        while pending:
            ready = pending.popleft().result()
            pending.extend(pool.submit(make, start) for start in islice(coming, 1))
            yield ready
