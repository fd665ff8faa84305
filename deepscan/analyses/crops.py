"""The crops of an analysis, drawn evenly from videos, and the network to analyse."""

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
from deepscan.devices import usable_cpus
from deepscan.errors import MissingError, UsageError
from deepscan.evaluation.scores import LABEL_NAMES
from deepscan.evaluation.scoring import Reader
from deepscan.evaluation.testsets import VideoDataset
from deepscan.progress import OnProgress
from deepscan.training.batches import map_ahead

if TYPE_CHECKING:
    import torch

    from deepscan.detectors.detector import Network

#: Number of crops in a batch, and number of batches to prefetch.
BATCH, AHEAD = 32, 2


@dataclass(frozen=True, slots=True)
class DrawnCrop:
    """A crop drawn from a video.

    Attributes:
        dataset: Name of its data set.
        video: Its video, with the label and the manipulation.
        number: Index of its frame in the video's list.
        reader: Reads the crop.
        group: Source footage of the video, unique over all data sets; the video itself if unknown. Splits
            keep the crops of a group together.
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
        inputs: Preprocessor of its inputs.
        device: `cpu` or `cuda`.
    """

    network: "Network"
    inputs: Preprocessor
    device: str

    def prepare(self, crops: NDArray[np.uint8], view: int = 0) -> "dict[str, torch.Tensor]":
        """Preprocess crops, shape (B, S, S, 3), uint8, into named inputs on the network's device."""
        import torch

        arrays = self.inputs(crops, view)
        return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}


def open_network(card: ModelCard) -> OpenNetwork:
    """Load a card's network in float32, on a GPU if torch can use one.

    Raises:
        UsageError: The card's method or its inputs are unknown.
        MissingError: The model's `torch` file is missing.
        ContractError: The file does not match the network, or the model does not use crops.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_network(card).to(device)
    return OpenNetwork(network, make_preprocessor(card.inputs, card.face_crop, card.mean, card.std), device)


def draw_crops(subject: Subject, both: bool = True) -> list[DrawnCrop]:
    """Draw up to `subject.max_crops` crops of each data set and label at random.

    One frame of every video is drawn before a second one of any, and so on. The draw from a data set does not
    depend on the others.

    Args:
        subject: Data sets, number of crops and seed.
        both: Whether both labels are required; they may come from different data sets.

    Raises:
        MissingError: There are no crops.
        UsageError: A required label is missing.
    """
    drawn = [
        crop
        for dataset in subject.datasets
        for label in (0, 1)
        for crop in _draw(dataset, label, subject.max_crops, subject.seed)
    ]
    if not drawn:
        raise MissingError(
            "there are no crops to analyse",
            "give a folder of prepared data with --data; deepscan prepare creates one",
        )
    missing_labels = [
        name for label, name in enumerate(LABEL_NAMES) if all(crop.label != label for crop in drawn)
    ]
    if both and missing_labels:
        raise UsageError(f"there are no {missing_labels[0]} crops to analyse", "add a data set that has some")
    return drawn


def read_batches(
    crops: Sequence[DrawnCrop], size: int = BATCH, on_progress: OnProgress | None = None
) -> Iterator[tuple[list[DrawnCrop], NDArray[np.uint8]]]:
    """Yield the crops in batches with their pixels, shape (B, S, S, 3), prefetched by threads.

    Unreadable crops are skipped; see `note_unreadable` for a note about them.

    Args:
        crops: The crops.
        size: Maximum number of crops in a batch.
        on_progress: Progress callback: (done, total).
    """
    read = map_ahead(
        lambda crop: (crop, crop.reader(crop.video, crop.number)),
        crops,
        workers=usable_cpus(),
        ahead=AHEAD * size,
        name="read",
    )
    for done in range(0, len(crops), size):
        batch = list(islice(read, size))
        readable = [(crop, image) for crop, image in batch if image is not None]
        if readable:
            yield [crop for crop, _ in readable], np.stack([image for _, image in readable])
        if on_progress:
            on_progress(done + len(batch), len(crops))


def note_unreadable(total: int, read: int) -> tuple[str, ...]:
    """Return a note about unreadable crops; empty if there are none.

    Raises:
        MissingError: No crop could be read.
    """
    if not read:
        raise MissingError(
            f"none of the {total:,} crops could be read", "check the paths in the data set's file"
        )
    return (f"{total - read:,} of {total:,} crops are unreadable and were skipped",) * (read < total)


def _draw(dataset: VideoDataset, label: int, limit: int, seed: int) -> Iterator[DrawnCrop]:
    """Yield the drawn crops of a data set and label."""
    videos = [video for video in dataset.videos if video.label == label and video.frames]
    rng = np.random.default_rng([seed, label, zlib.crc32(dataset.name.encode())])
    videos = [videos[index] for index in rng.permutation(len(videos))]
    # Filled on demand, since a large data set has millions of frames.
    shuffled: dict[int, NDArray[np.int64]] = {}
    remaining = limit or sum(len(video.frames) for video in videos)
    turn = 0
    while remaining and videos:
        videos = [video for video in videos if len(video.frames) > turn]
        for video in videos[:remaining]:
            if id(video) not in shuffled:
                shuffled[id(video)] = rng.permutation(len(video.frames))
            number = int(shuffled[id(video)][turn])
            footage = dataset.groups.get((video.kind, video.name))
            group = footage or f"{dataset.name}/{video.name}"
            yield DrawnCrop(dataset.name, video, number, dataset.read, group)
        remaining -= min(remaining, len(videos))
        turn += 1
