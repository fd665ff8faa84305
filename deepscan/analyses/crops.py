"""The crops of an analysis, drawn evenly over videos, and the network that it analyses."""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deepscan.analyses.analysis import Subject
from deepscan.cards import ModelCard
from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.detectors import load_network
from deepscan.detectors.preprocess import Preprocessor, make_preprocessor
from deepscan.errors import MissingError, UsageError
from deepscan.evaluation.scores import LABEL_NAMES
from deepscan.evaluation.scoring import Reader
from deepscan.evaluation.testsets import VideoDataset
from deepscan.progress import OnProgress
from deepscan.training.batches import map_ahead

if TYPE_CHECKING:
    import torch

    from deepscan.detectors.detector import Network

#: Crops that go through a network together, and batches that are read ahead of it.
BATCH, AHEAD = 32, 2


@dataclass(frozen=True, slots=True)
class DrawnCrop:
    """A crop that was drawn from a video.

    Attributes:
        dataset: Name of its data set.
        video: Its video, with the label and the manipulation.
        number: Number of its frame in the video's list, from 0.
        reader: Reads it.
        group: The footage that its video was made from, over all data sets; if unknown, the video itself.
            A split never separates crops of one group.
    """

    dataset: str
    video: FaceVideo
    number: int
    reader: Reader
    group: str

    @property
    def label(self) -> int:
        """0 for real, 1 for fake."""
        return self.video.label


@dataclass(frozen=True, slots=True, eq=False)
class OpenNetwork:
    """A network in evaluation mode, and the preprocessing of its crops.

    Attributes:
        network: The network, on the device.
        inputs: Makes its inputs from crops.
        device: `cpu` or `cuda`.
    """

    network: "Network"
    inputs: Preprocessor
    device: str

    def prepare(self, crops: NDArray[np.uint8], view: int = 0) -> "dict[str, torch.Tensor]":
        """Return the network's inputs by name, on its device, of crops, shape (B, S, S, 3), uint8."""
        import torch

        made = self.inputs(crops, view)
        return {name: torch.from_numpy(array).to(self.device) for name, array in made.items()}


def open_network(card: ModelCard) -> OpenNetwork:
    """Return a card's network, float32, on a GPU where torch can use one.

    Raises:
        UsageError: The card's method or its inputs are unknown.
        MissingError: The model's `torch` file is not there.
        ContractError: The file does not fit, or the model takes no crops.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_network(card).to(device)
    return OpenNetwork(network, make_preprocessor(card.inputs, card.face_crop, card.mean, card.std), device)


def draw_crops(subject: Subject, both: bool = True) -> list[DrawnCrop]:
    """Return crops of each data set and label, at most `subject.most`, drawn by its seed.

    Each video gives one frame before any gives a second, and so on. The draw from a data set does not depend
    on the others.

    Args:
        subject: Its datasets, number of crops and seed.
        both: Whether both labels are required; they may come from different data sets.

    Raises:
        MissingError: There are no crops.
        UsageError: A required label is missing.
    """
    drawn = [
        crop
        for dataset in subject.datasets
        for label in (0, 1)
        for crop in _of(dataset, label, subject.most, subject.seed)
    ]
    if not drawn:
        raise MissingError(
            "there are no crops to look at",
            "name a folder of prepared data by --data; deepscan prepare makes one",
        )
    absent = [name for label, name in enumerate(LABEL_NAMES) if all(crop.label != label for crop in drawn)]
    if both and absent:
        raise UsageError(f"there is no {absent[0]} crop to look at", "add a data set that has some")
    return drawn


def read_batches(
    crops: Sequence[DrawnCrop], size: int = BATCH, on_progress: OnProgress | None = None
) -> Iterator[tuple[list[DrawnCrop], NDArray[np.uint8]]]:
    """Yield the crops in batches with their pixels, shape (B, S, S, 3), read ahead by threads.

    Crops that cannot be read are left out; `note_unread` gives the note for the reader.

    Args:
        crops: The crops.
        size: Greatest number of crops in a batch.
        on_progress: Progress callback: (done, total).
    """
    read = map_ahead(
        lambda crop: (crop, crop.reader(crop.video, crop.number)),
        crops,
        workers=max(1, os.cpu_count() or 1),
        ahead=AHEAD * size,
        name="read",
    )
    for done in range(0, len(crops), size):
        batch = list(islice(read, size))
        there = [(crop, image) for crop, image in batch if image is not None]
        if there:
            yield [crop for crop, _ in there], np.stack([image for _, image in there])
        if on_progress:
            on_progress(done + len(batch), len(crops))


def note_unread(wanted: int, read: int) -> tuple[str, ...]:
    """Return a note on the crops that could not be read; empty if all were.

    Raises:
        MissingError: No crop could be read.
    """
    if not read:
        raise MissingError(
            f"none of the {wanted:,} crops could be read", "check the paths in the data set's file"
        )
    return (f"{wanted - read:,} of {wanted:,} crops could not be read and are left out",) * (read < wanted)


def _of(dataset: VideoDataset, label: int, most: int, seed: int) -> Iterator[DrawnCrop]:
    """Yield the drawn crops of one data set and label."""
    videos = [video for video in dataset.videos if video.label == label and video.frames]
    rng = np.random.default_rng([seed, label, zlib.crc32(dataset.name.encode())])
    videos = [videos[index] for index in rng.permutation(len(videos))]
    # Only for videos that are reached: a large set has millions of frames.
    shuffled: dict[int, NDArray[np.int64]] = {}
    left = most or sum(len(video.frames) for video in videos)
    turn = 0
    while left and videos:
        videos = [video for video in videos if len(video.frames) > turn]
        for video in videos[:left]:
            if id(video) not in shuffled:
                shuffled[id(video)] = rng.permutation(len(video.frames))
            number = int(shuffled[id(video)][turn])
            stated = dataset.groups.get((video.kind, video.name))
            group = stated or f"{dataset.name}/{video.name}"
            yield DrawnCrop(dataset.name, video, number, dataset.read, group)
        left -= min(left, len(videos))
        turn += 1
