"""Videos of crops that are made, not read, for models at their smallest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepscan.cards import ModelCard
from deepscan.data.benchmark import FaceVideo
from deepscan.evaluation.analyses.analysis import Subject
from deepscan.evaluation.material import Material
from deepscan.evaluation.stream import Reader
from deepscan.faces.recipe import CropRecipe

#: Of a model that nobody opens.
CARD = ModelCard(Path("model"), "model", "qtfp", "a model", "Apache-2.0", {}, crop=CropRecipe(side=32))


def read(video: FaceVideo, number: int, side: int = 32) -> np.ndarray:
    """Return a crop of noise that is the video's and the frame's own."""
    rng = np.random.default_rng([*video.name.encode(), *video.dataset.encode(), number])
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def reader(side: int) -> Reader:
    """Return what reads crops of that side."""
    return lambda video, number: read(video, number, side)


def material(name: str, reals: Sequence[int], fakes: Sequence[int], side: int = 32) -> Material:
    """Return a data set with videos of so many frames."""
    videos = [
        FaceVideo(name, f"{name}-{kind}", label, "test", f"{kind}-{at}", ("x",) * count)
        for label, (kind, counts) in enumerate((("real", reals), ("fake", fakes)))
        for at, count in enumerate(counts)
    ]
    return Material(name, (), videos, reader(side))


def subject(
    materials: Sequence[Material], card: ModelCard = CARD, most: int = 512, seed: int = 1024
) -> Subject:
    """Return what is looked into."""
    return Subject(card, materials, Path("unused"), most=most, seed=seed)
