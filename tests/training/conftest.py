"""A training run small enough for a test: 16 pixels of colour stand for a face."""

import numpy as np
import pytest

from deepscan.data.crops.crop_cache import CropSet
from deepscan.training.recipe import load_recipe
from tests.detectors.tiny import BACKBONE

TINY = (
    "crop.side=32",
    "batch=8",
    "epochs=3",
    "warmup=2",
    "lr=0.003",
    "precision=float32",
    "ema=0.5",
    "network.queries=2",
    "network.heads=2",
    *(f"network.backbone.{key}={value}" for key, value in BACKBONE.items()),
)
#: A backbone without batch norm: what it makes of a sample does not hang on the others.
WITHOUT_BATCH_NORM = {"name": "clip-vit-b16", "side": 32, "width": 16, "depth": 1, "heads": 2, "hidden": 16}


@pytest.fixture
def recipe():
    return load_recipe("qtfp", "qtfp-compact", TINY)


def made_crops():
    """Fakes have a fine pattern that reals lack; one real and one fake a group, half of the groups of val."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(60, 190, (96, 1, 1, 3)) + rng.integers(-20, 21, (96, 32, 32, 3))
    labels = np.arange(96) % 2
    pictures[labels == 1, ::2, ::2] += 60
    groups = tuple(f"group-{at // 2}" for at in range(96))
    splits = tuple("val" if at >= 56 else "train" for at in range(96))
    return CropSet(
        np.clip(pictures, 0, 255).astype(np.uint8),
        labels.astype(np.int64),
        groups,
        tuple(f"video-{at}" for at in range(96)),
        splits,
        3,
        "key",
    )


@pytest.fixture
def crops():
    """The crops of every test here."""
    return made_crops()
