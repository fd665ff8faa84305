"""Videos of crops that are made, not read, for models at their smallest."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepscan.analyses.analysis import Subject
from deepscan.backbones.tuning import fold
from deepscan.cards import ModelCard, ModelFile, sha256_of
from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.detectors import DETECTORS
from deepscan.detectors.detector import Network
from deepscan.detectors.weights import save_weights
from deepscan.evaluation.scoring import Reader
from deepscan.evaluation.testsets import VideoDataset
from tests.detectors.tiny import TINY
from tests.tiny import recipe_of

#: Of a model that nobody opens.
CARD = ModelCard(Path("model"), "model", "qtfp", "a model", "Apache-2.0", {}, crop=CropRecipe(side=32))


def read(video: FaceVideo, number: int, side: int = 32) -> np.ndarray:
    """Return a crop of noise that is the video's and the frame's own."""
    rng = np.random.default_rng([*video.name.encode(), *video.dataset.encode(), number])
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def reader(side: int) -> Reader:
    """Return what reads crops of that side."""
    return lambda video, number: read(video, number, side)


def dataset(name: str, reals: Sequence[int], fakes: Sequence[int], side: int = 32) -> VideoDataset:
    """Return a data set with videos of so many frames."""
    videos = [
        FaceVideo(name, f"{name}-{kind}", label, "test", f"{kind}-{index}", ("x",) * count)
        for label, (kind, counts) in enumerate((("real", reals), ("fake", fakes)))
        for index, count in enumerate(counts)
    ]
    return VideoDataset(name, (), videos, reader(side))


def subject(datasets: Sequence[VideoDataset], card: ModelCard = CARD, **more: Any) -> Subject:
    """Return what is looked into."""
    return Subject(card, datasets, Path("unused"), **more)


def model(method: str, folder: Path, **stated: object) -> ModelCard:
    """Return the card of a tiny model as a training leaves it, but for the export.

    Args:
        method: The method.
        folder: Where its weights go.
        **stated: What the network is built from, in the place of what is tiny.
    """
    torch.manual_seed(0)
    network = DETECTORS.get(method)().build({**TINY[method], **stated})
    with torch.no_grad():
        for value in network.parameters():
            # Nothing that starts as the identity is it any more.
            value.add_(0.05 * torch.randn_like(value))
    return kept(network, method, folder, **stated)


def kept(network: Network, method: str, folder: Path, **stated: object) -> ModelCard:
    """Return the card of a network whose weights are written into a folder; see `model`."""
    recipe = replace(recipe_of(method, network), network={**TINY[method], **stated})
    fold(network.backbone)
    path = folder / "model.safetensors"
    save_weights(path, network)
    return ModelCard(
        folder,
        f"tiny-{method}",
        method,
        "a tiny model",
        "Apache-2.0",
        {"torch": ModelFile(path.name, sha256_of(path))},
        network={key: value for key, value in recipe.network.items() if key != "tuning"},
        crop=recipe.crop,
        inputs=recipe.inputs,
        mean=recipe.mean,
        std=recipe.std,
        trained={"recipe": recipe.to_json()},
    )
