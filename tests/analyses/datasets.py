"""Synthetic videos of crops, and tiny models."""

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

#: Card of a model that is not opened.
CARD = ModelCard(Path("model"), "model", "qtfp", "a model", "Apache-2.0", {}, crop=CropRecipe(side=32))


def read(video: FaceVideo, number: int, side: int = 32) -> np.ndarray:
    """Return a crop of noise, seeded by video and frame."""
    rng = np.random.default_rng([*video.name.encode(), *video.dataset.encode(), number])
    return rng.integers(0, 256, (side, side, 3), dtype=np.uint8)


def reader(side: int) -> Reader:
    """Return a reader of crops of a side."""
    return lambda video, number: read(video, number, side)


def dataset(name: str, reals: Sequence[int], fakes: Sequence[int], side: int = 32) -> VideoDataset:
    """Return a data set of videos, given their numbers of frames."""
    videos = [
        FaceVideo(name, f"{name}-{kind}", label, "test", f"{kind}-{index}", ("x",) * count)
        for label, (kind, counts) in enumerate((("real", reals), ("fake", fakes)))
        for index, count in enumerate(counts)
    ]
    return VideoDataset(name, (), videos, reader(side))


def subject(datasets: Sequence[VideoDataset], card: ModelCard = CARD, **options: Any) -> Subject:
    """Return the subject of an analysis."""
    return Subject(card, datasets, Path("unused"), **options)


def model(method: str, folder: Path, **settings: object) -> ModelCard:
    """Return the card of a tiny model, as after training, but without an export.

    Args:
        method: The method.
        folder: Folder for the weights.
        **settings: Settings of the network that differ from the tiny defaults.
    """
    torch.manual_seed(0)
    network = DETECTORS.get(method)().build({**TINY[method], **settings})
    with torch.no_grad():
        for value in network.parameters():
            # Layers that are initialised as the identity must change too.
            value.add_(0.05 * torch.randn_like(value))
    return kept(network, method, folder, **settings)


def kept(network: Network, method: str, folder: Path, **settings: object) -> ModelCard:
    """Write the weights of a network into a folder and return its card; see `model`."""
    recipe = replace(recipe_of(method, network), network={**TINY[method], **settings})
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
