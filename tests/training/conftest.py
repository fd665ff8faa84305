"""Fixtures of the training tests: a tiny recipe and synthetic crops."""

import csv
from functools import partial

import numpy as np
import pytest
import torch

from deepscan.cards import ModelFile, sha256_of
from deepscan.data.crops.crop_cache import CropSet
from deepscan.engines.export import Parity
from deepscan.training import publish
from deepscan.training.processes import Processes
from deepscan.training.recipe import load_recipe
from tests.detectors.tiny import BACKBONE

CPU = Processes(0, 1, torch.device("cpu"))
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
#: A backbone without batch norm, so that a sample's output does not depend on the rest of the batch.
WITHOUT_BATCH_NORM = {"name": "clip-vit-b16", "side": 32, "width": 16, "depth": 1, "heads": 2, "hidden": 16}


class Interruption(Exception):
    """Ends a run between two steps."""


def interrupt_at(epoch, step=1):
    """Return an `on_step` that ends the run after a step."""

    def on_step(report):
        if (report.epoch, report.step) == (epoch, step):
            raise Interruption

    return on_step


def crop_set(labels, groups=None, *, splits=None, side=4, **more):
    """Return black crops with these labels; each is its own video and, by default, its own group."""
    names = tuple(map(str, range(len(labels))))
    splits = splits or ("train",) * len(labels)
    pixels = np.zeros((len(labels), side, side, 3), np.uint8)
    return CropSet(pixels, np.array(labels), tuple(groups or names), names, splits, 0, "", **more)


def write_index(path, crops, files, **columns):
    """Write a faces.csv with one file per crop and extra columns with a constant value."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "group", "split", *columns])
        for name, label, group, split in zip(files, crops.labels, crops.groups, crops.splits, strict=True):
            writer.writerow([name, ("real", "fake")[label], group, split, *columns.values()])


@pytest.fixture
def recipe():
    return load_recipe("qtfp", "qtfp-compact", TINY)


def synthetic_crops():
    """Return crops whose fakes have a fine pattern; each group has a real and a fake, 20 groups are val."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(60, 190, (96, 1, 1, 3)) + rng.integers(-20, 21, (96, 32, 32, 3))
    labels = np.arange(96) % 2
    pictures[labels == 1, ::2, ::2] += 60
    return CropSet(
        np.clip(pictures, 0, 255).astype(np.uint8),
        labels.astype(np.int64),
        tuple(f"group-{row // 2}" for row in range(96)),
        tuple(f"video-{row}" for row in range(96)),
        ("train",) * 56 + ("val",) * 40,
        3,
        "key",
    )


def not_exported(card, network, inputs, folder, *, half=False):
    (folder / "model.onnx").write_bytes(b"graph")
    return ModelFile("model.onnx", sha256_of(folder / "model.onnx")), Parity(0.0, {}, 1)


@pytest.fixture
def quick_publishing(monkeypatch):
    """Without an export, and with few draws for intervals: both take seconds, and are tested elsewhere."""
    monkeypatch.setattr(publish, "export_model", not_exported)
    monkeypatch.setattr(publish, "bootstrap", partial(publish.bootstrap, rounds=5))


@pytest.fixture
def crops():
    """The synthetic crops of the training tests."""
    return synthetic_crops()
