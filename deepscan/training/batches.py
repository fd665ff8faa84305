"""The order of the training crops, and their batches, prepared ahead in threads."""

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
from deepscan.devices import usable_cpus
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
#: Partner of a sample that has none.
ALONE = -1


def halves(crops: CropSet, frames: int = 0, sampling: Sampling = "even") -> tuple[CropIndices, CropIndices]:
    """Split the validation crops into two halves that share no group.

    The first is for choosing the epoch and fitting the calibration; the second, used for neither, is for the
    reported results. See `calibration.second_half`.

    Args:
        crops: The crops.
        frames: Maximum number of crops per video; 0 for all.
        sampling: How they are chosen, see `CropSet.where`.

    Raises:
        UsageError: A half lacks one of the classes.
    """
    positions = crops.where("val", frames, sampling)
    second = second_half([crops.groups[row] for row in positions])
    parts = positions[~second], positions[second]
    for part in parts:
        if set(crops.labels[part]) != {REAL, FAKE}:
            raise UsageError(
                f"a half of the {len(positions)} validation crops has {len(part)}, without reals or fakes",
                "put more groups with both labels into the split val",
            )
    return parts


def reals(crops: CropSet, recipe: Recipe) -> CropIndices:
    """Return the indices of the training crops that count as real, shape (N,); fakes are made from them."""
    train = crops.where("train")
    return train if recipe.labels == "none" else train[crops.labels[train] == REAL]


def arrange(crops: CropSet, positions: CropIndices, recipe: Recipe, seed: Sequence[int]) -> CropIndices:
    """Return an epoch's samples in random order.

    Args:
        crops: The crops.
        positions: Indices of the crops to use, shape (M,).
        recipe: Sets the balance, and whether labels are used.
        seed: The same seed gives the same order.

    Returns:
        One row for each sample: its crop, its label, and the real crop of its pair, or `ALONE`; shape (N, 3).
        Unless the balance is natural, reals and fakes alternate, and pairs are adjacent. A fake whose crop is
        the real of its pair is made from it. With the balances `origins` and `groups` the third column of a
        real is its fake, since the same real may occur with several fakes.

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
            raise UsageError(f"there are no {name} crops to train on", "give training data of both classes")
    if recipe.balance == "natural":
        order = rng.permutation(positions)
        real = order[crops.labels[order] == REAL]
        partners = np.where(crops.labels[order] == FAKE, rng.choice(real, len(order)), ALONE)
        return np.column_stack((order, crops.labels[order], partners))
    pairs_only = np.asarray(crops.splits)[positions] == PAIRS
    if recipe.couples:
        if not crops.origins:
            raise UsageError(
                f"balance={recipe.balance} needs the origin of each crop", "train on a folder with faces.csv"
            )
        others, count = positions[~pairs_only], len(positions) // 2
        if recipe.balance == "groups":
            drawn = couples(
                crops, others, count, rng, equal=True, self_made=recipe.blend, more=positions[pairs_only]
            )
        else:
            drawn = couples(crops, others, count, rng)
        return np.array(
            [row for real, fake in drawn.tolist() for row in ((real, REAL, fake), (fake, FAKE, real))],
            dtype=np.int64,
        )
    pairs = _pairs(crops, positions[~pairs_only], rng, by_group=recipe.balance == "paired")
    if pairs_only.any():
        pairs = rng.permutation(np.concatenate((pairs, np.repeat(positions[pairs_only][:, None], 2, axis=1))))
    return np.array([row for a, b in pairs.tolist() for row in ((a, REAL, a), (b, FAKE, a))], dtype=np.int64)


def _pairs(
    crops: CropSet, positions: CropIndices, rng: np.random.Generator, *, by_group: bool
) -> CropIndices:
    """Return pairs (real, fake), shape (N, 2); the smaller class is filled with random repeats."""
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
        candidates = shuffled[crops.labels[shuffled] == label]
        missing = len(rest[1 - label]) - len(rest[label])
        rest[label].extend(int(position) for position in rng.choice(candidates, max(0, missing)))
    paired += zip(*rest, strict=True)
    return rng.permutation(np.array(paired, dtype=np.int64))


class CropSource:
    """Makes the batches of an epoch from crops.

    Args:
        crops: The crops.
        recipe: Sets augmentation, forgeries and the seed.
        inputs: Makes the network's inputs.
        masks: Whether the method needs masks of the forged parts.
        redrawers: Trained autoencoders, if the recipe uses them.

    Raises:
        UsageError: The method needs masks, and neither the data nor the forgeries have any.
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
                "this loss needs masks of the forged parts, but the data have none",
                "add a column mask to the index, or use self-made fakes, which have masks: blend=0.5",
            )
        self.crops, self.recipe, self.inputs, self.masks = crops, recipe, inputs, masks
        self._real, self._redrawers = reals(crops, recipe), redrawers

    def batches(self, parts: Sequence[CropIndices], epoch: int) -> Iterator[Batch]:
        """Yield a batch for each part of an epoch's order, in order.

        A crop's augmentation depends only on (seed, epoch, position).

        Args:
            parts: Parts of the rows from `arrange`.
            epoch: Number of the epoch.
        """
        # OpenCV and NumPy release the GIL, so threads keep up with training; each process would need its own
        # copy of torch. One core is left for the training itself.
        workers = max(1, min(_WORKERS, usable_cpus() - 1))
        return map_ahead(
            lambda rows: self._make(rows, epoch),
            parts,
            workers=workers,
            ahead=workers + _AHEAD,
            name="augment",
        )

    def scores(self, network: Network, rows: CropIndices) -> NDArray[np.float64]:
        """Return the probability of fake of samples without augmentation, shape (N,).

        Args:
            network: The network.
            rows: Samples, see `arrange`.
        """
        scores = []
        # The crops are on disk and may not fit into memory.
        for start in range(0, len(rows), _SCORED):
            part = rows[start : start + _SCORED]
            crops = np.stack([self._plain(*row) for row in part.tolist()])
            scores.append(predict(network, crops, self.inputs, faces_of(self.crops, part[:, 0])))
        return np.concatenate(scores)

    def _plain(self, position: int, label: int, partner: int) -> NDArray[np.uint8]:
        crop = np.asarray(self.crops.crops[position], dtype=np.uint8)
        if self.recipe.labels == "given" or label == REAL:
            return crop
        return self_blended(crop, self.recipe.crop, np.random.default_rng((self.recipe.seed, position)))[0]

    def _make(self, rows: CropIndices, epoch: int) -> Batch:
        samples = [
            self._sample(position, label, partner, epoch) for position, label, partner in rows.tolist()
        ]
        images, faces = np.stack([crop for crop, _, _ in samples]), [face for _, _, face in samples]
        arrays = self.inputs(images, faces=faces)
        masks = torch.from_numpy(np.stack([mask for _, mask, _ in samples])) if self.masks else None
        return Batch(
            {name: torch.from_numpy(array) for name, array in arrays.items()},
            torch.from_numpy(rows[:, 1].copy()),
            masks,
        )

    def _sample(
        self, position: int, label: int, partner: int, epoch: int
    ) -> tuple[Image, NDArray[np.float32], Image | None]:
        """Return an augmented crop, its forgery mask, and its face mask."""
        crops, recipe, source = self.crops, self.recipe, position
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
                layers[..., 0], known, source = np.rint(soft * 255), True, partner
        has_face = face is not None and bool(face.known[source])
        if face is not None and has_face:
            layers[..., 1] = face.values[source]
        # Both crops of a pair get the same augmentation, so that it does not distinguish them.
        variant: tuple[int, ...] = (partner if recipe.balance == "paired" else position,)
        if recipe.couples:
            variant = (min(position, partner), max(position, partner))
            image = coarsened(
                image, int(crops.face_px[source]), int(crops.face_px[[position, partner]].min())
            )
        image, augmented_layers = augmented(image, recipe.augment, (recipe.seed, epoch, *variant), layers)
        assert augmented_layers is not None
        mask = augmented_layers[..., 0].astype(np.float32) / np.float32(255)
        return (
            image,
            mask if known else np.full_like(mask, UNKNOWN),
            np.ascontiguousarray(augmented_layers[..., 1]) if has_face else None,
        )


def faces_of(crops: CropSet, positions: CropIndices) -> list[Image | None]:
    """Return the face masks of crops, None if the data have none."""
    layer = crops.layers.get("face")
    return [
        np.asarray(layer.values[position]) if layer is not None and layer.known[position] else None
        for position in positions
    ]


def map_ahead(
    make: Callable[[T], R], items: Iterable[T], *, workers: int, ahead: int, name: str
) -> Iterator[R]:
    """Apply a function to items in threads ahead of time, and yield the results in order.

    Args:
        make: The function, called in several threads.
        items: The items, consumed lazily.
        workers: Number of threads.
        ahead: Number of items that are started before the first result is requested.
        name: Prefix of the threads' names.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix=name) as pool:
        pending = deque(pool.submit(make, item) for item in islice(remaining, ahead))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(make, item) for item in islice(remaining, 1))
                yield result
        finally:
            for waiting in pending:
                waiting.cancel()
