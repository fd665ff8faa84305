"""From a trained network to a model folder: weights, ONNX file, and a card that states all of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import CARD, Golden, ModelCard, ModelFile, sha256_of
from deepscan.data.crops import CropSet
from deepscan.detectors.detector import Network
from deepscan.engines.export import TOLERANCE, export_onnx
from deepscan.engines.golden import golden_crops
from deepscan.evaluation.metrics import (
    Metric,
    accuracy,
    auc,
    average_precision,
    bootstrap,
    calibration_error,
    equal_error_rate,
)
from deepscan.scan.calibration import calibrate, fit
from deepscan.training.checkpoint import save_weights
from deepscan.training.loop import predict
from deepscan.training.recipe import Recipe
from deepscan.training.samples import halves

WEIGHTS, GRAPH = "model.safetensors", "model.onnx"
NOT_FOR = (
    "deciding by itself about a person, an account or a piece of evidence: it gives a reason to look closer",
    "showing that a video is authentic: a low score says that this model found nothing",
    "uses that the terms of its training data exclude: see `trained`",
    "pictures and videos that were made whole by a generator, and changes away from the face",
)


def publish(
    network: Network,
    recipe: Recipe,
    crops: CropSet,
    folder: Path,
    *,
    name: str,
    data: str,
    trained: Mapping[str, Any],
    license_id: str = "Apache-2.0",
) -> ModelCard:
    """Write a model folder and return its card.

    The calibration is fitted on the first half of the validation crops, the one that chose the epoch; the
    figures are those of the second half, which has chosen nothing. Both weights files are float32, so that
    the torch engine gives what was exported.

    Args:
        network: The trained network.
        recipe: What it was trained by.
        crops: What it was trained and is validated on.
        folder: The model folder; it is made.
        name: The model's name.
        data: The data's name, for the figures.
        trained: What the card says of the training.
        license_id: SPDX identifier for the weights.

    Raises:
        ContractError: The exported model differs from the network.
        UsageError: A half of the validation crops lacks a class.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fitted, held = halves(crops)
    calibration = fit(
        crops.labels[fitted],
        predict(network, crops.crops[fitted], recipe),
        level="frame",
        data=f"{data}: first half of the validation groups, which also chose the epoch",
    )
    raw = predict(network, crops.crops[held], recipe)
    groups = [crops.groups[at] for at in held]
    results = measure(crops.labels[held], raw, calibrate(raw, calibration), groups)
    where = f"{data}: second half of the validation groups, used for nothing else"
    golden = predict(network, golden_crops(recipe.crop.input_side), recipe).mean()
    save_weights(folder / WEIGHTS, network)
    parity = export_onnx(
        network,
        folder / GRAPH,
        side=recipe.crop.input_side,
        mean=recipe.mean,
        std=recipe.std,
        metadata={"model": name, "method": recipe.method, "weights_sha256": sha256_of(folder / WEIGHTS)},
    )
    card = ModelCard(
        folder=folder,
        name=name,
        method=recipe.method,
        summary=f"{recipe.method.upper()} on the backbone {recipe.network['backbone']['name']}, "
        f"{sum(value.numel() for value in network.parameters()):,} parameters",
        license=license_id,
        files={
            kind: ModelFile(path, sha256_of(folder / path))
            for kind, path in (("onnx", GRAPH), ("torch", WEIGHTS))
        },
        network=recipe.network,
        crop=recipe.crop,
        mean=recipe.mean,
        std=recipe.std,
        trained={
            **trained,
            "not_tested_on": f"anything but {data}: other manipulations, cameras and compressions are open",
            "dropped_without_a_face": crops.dropped,
            "parity_onnx": f"{parity.probability:.1e} on {parity.samples} crops",
            "recipe": recipe.to_json(),
        },
        results=tuple({**result, "data": where} for result in results),
        calibration=calibration,
        golden=Golden(round(float(golden), 6), TOLERANCE),
        not_for=NOT_FOR,
    )
    (folder / CARD).write_text(card.to_yaml(), encoding="utf-8")
    return card


def measure(
    labels: NDArray[np.int64],
    raw: NDArray[np.float64],
    calibrated: NDArray[np.float64],
    groups: Sequence[str],
) -> list[dict[str, Any]]:
    """Return a card's figures: each with its 95 % interval by group, and what it was measured on.

    Args:
        labels: 0 or 1, shape (N,).
        raw: Probability of fake, shape (N,).
        calibrated: The same calibrated, shape (N,).
        groups: Group of each sample, length N.
    """
    figures: tuple[tuple[str, Metric, NDArray[np.float64]], ...] = (
        ("auc", auc, raw),
        ("average_precision", average_precision, raw),
        ("equal_error_rate", equal_error_rate, raw),
        ("accuracy", accuracy, raw),
        ("calibration_error_raw", calibration_error, raw),
        ("calibration_error", calibration_error, calibrated),
    )
    measured = []
    for name, metric, scores in figures:
        interval = bootstrap(metric, labels, scores, groups)
        measured.append(
            {
                "metric": name,
                "level": "frame",
                "value": round(interval.value, 4),
                "interval": [round(interval.low, 4), round(interval.high, 4)],
                "n": len(labels),
                "groups": len(set(groups)),
            }
        )
    return measured
