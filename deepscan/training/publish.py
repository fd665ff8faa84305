"""Publish a trained network as a model folder: weights, ONNX file and card."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepscan.backbones.tuning import fold
from deepscan.calibration import calibrate, count_verdicts, fit_calibration
from deepscan.cards import Calibration, Golden, ModelCard, ModelFile, sha256_of, write_card
from deepscan.data.crops.crop_cache import CropSet
from deepscan.detectors import load_network
from deepscan.detectors.detector import Network
from deepscan.detectors.predict import predict
from deepscan.detectors.preprocess import Preprocessor
from deepscan.detectors.weights import WEIGHTS, round_weights, save_weights
from deepscan.engines import rounding
from deepscan.engines.export import TOLERANCE, export_model
from deepscan.engines.golden import golden_crops
from deepscan.engines.onnx import PRECISIONS
from deepscan.engines.quantise import INT8_GRAPH
from deepscan.engines.selection import too_coarse
from deepscan.error_rates import ErrorRates
from deepscan.errors import ContractError, UsageError
from deepscan.metrics.binary import METRICS, Interval, auc, bootstrap
from deepscan.training.batches import halves
from deepscan.training.recipe import Recipe
from deepscan.training.validation import GroupVotes, mean_votes

#: Number of crops read at a time.
SCORED_AT_ONCE = 1024
HELD_OUT = "second half of the validation groups, which chose neither epoch nor thresholds"
NOT_FOR = (
    "deciding alone about a person, an account or a piece of evidence: a score is a reason to look closer",
    "showing that a video is authentic: a low score only means that this model found nothing",
    "uses that the terms of its training data exclude: see `trained` in its card",
    "fully generated pictures and videos, and changes outside the face",
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
) -> ModelCard:
    """Write a model folder and return its card.

    The calibration is fitted on the first half of the validation crops, which also chose the epoch; the
    results are measured on the second half, which chose nothing. The torch and ONNX files have the same
    weights. The card is written before the export, so that a network that fails the export's parity check can
    still be used with the torch engine.

    Args:
        network: The trained network; its tuning is folded into its weights in place.
        recipe: Its recipe.
        crops: The crops that it was trained and validated on.
        folder: The model folder, which is created.
        name: The model's name.
        data: The data's name, for the results.
        trained: Entries of the card's `trained`.

    Raises:
        ContractError: The folded or the exported model differs from the network.
        UsageError: A half of the validation crops lacks a class, or the network is too large for ONNX.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inputs = recipe.make_preprocessor()
    parameters = [value.numel() for value in network.parameters() if value.requires_grad]
    _fold(network, inputs)
    if recipe.quantise:
        round_weights(network)
    fitted, reported = halves(crops, recipe.frames["val"], recipe.sampling)
    calibration = _fit(
        crops,
        fitted,
        _scores(network, crops, fitted, inputs),
        f"{data}: first half of the validation groups, which also chose the epoch",
    )
    raw = _scores(network, crops, reported, inputs)
    results = [
        {**result, "data": f"{name}: {HELD_OUT}"}
        for name, part in _sources(crops, reported, data).items()
        for result in card_results(crops, reported[part], raw[part], calibration)
    ]
    save_weights(folder / WEIGHTS, network, half=recipe.quantise)
    card = ModelCard(
        folder=folder,
        name=name,
        method=recipe.method,
        summary=f"{recipe.method} on the backbone {recipe.network['backbone']['name']}, "
        f"{sum(value.numel() for value in network.parameters()):,} parameters",
        license=recipe.license,
        files={"torch": ModelFile(WEIGHTS, sha256_of(folder / WEIGHTS))},
        network={key: value for key, value in recipe.network.items() if key != "tuning"},
        crop=recipe.crop,
        inputs=recipe.inputs,
        mean=recipe.mean,
        std=recipe.std,
        trained={
            **trained,
            "not_tested_on": f"anything but {data}: no other manipulations, cameras or compressions",
            "dropped_without_a_face": crops.dropped,
            "parameters": f"{sum(parameters):,}",
            "recipe": recipe.to_json(),
        },
        results=tuple(results),
        calibration=calibration,
        error_rates=_error_rates(crops, reported, raw, calibration, data),
        not_for=NOT_FOR,
    )
    # The golden score and the export are of the stored weights, as they will be loaded.
    loaded = load_network(card)
    score = predict(loaded, golden_crops(recipe.crop.input_side), inputs).mean()
    card = replace(card, golden=Golden(round(float(score), 6), TOLERANCE))
    write_card(card)
    graph, parity = export_model(card, loaded, inputs, folder, half=recipe.quantise)
    agreement = f"{parity.probability:.1e} on {parity.samples} crops"
    card = replace(
        card, files={"onnx": graph, **card.files}, trained={**card.trained, "parity_onnx": agreement}
    )
    write_card(card)
    if recipe.quantise:
        card = _quantise(card, crops, fitted, reported, data)
        write_card(card)
    return card


def _quantise(
    card: ModelCard,
    crops: CropSet,
    fitted: NDArray[np.int64],
    reported: NDArray[np.int64],
    data: str,
) -> ModelCard:
    """Return the card with an 8-bit file, its AUC and its rounding, or with the reason why it has none."""
    objection, candidate = "", card
    try:
        candidate = rounding.add_int8(
            card,
            crops.crops,
            crops.labels,
            crops.where("train"),
            fitted,
            f"{data}: first half of the validation groups",
        )
        objection = too_coarse(candidate.rounding[PRECISIONS["int8"]])
    except UsageError as error:
        objection = error.message
    if objection:
        (card.folder / INT8_GRAPH).unlink(missing_ok=True)
        return replace(card, trained={**card.trained, "int8": f"none: {objection}"})
    scores = rounding.score(candidate, crops.crops, reported, engine="onnx", precision="int8")
    measured = []
    for name, part in _sources(crops, reported, data).items():
        groups = [crops.groups[row] for row in reported[part]]
        interval = bootstrap(auc, crops.labels[reported[part]], scores[part], groups)
        result = _result("auc", "frame", interval, groups)
        measured.append({**result, "data": f"{name}: {HELD_OUT}, in int8"})
    return replace(candidate, results=(*card.results, *measured))


def _fit(crops: CropSet, rows: NDArray[np.int64], raw: NDArray[np.float64], data: str) -> Calibration:
    """Fit the calibration to scores of crops or, with several sources, of videos.

    A scan scores a person by the mean over frames. Each of several sources must keep the error rates by
    itself; otherwise the easiest one would dominate.
    """
    if len(_sources(crops, rows, data)) < 2:
        return fit_calibration(crops.labels[rows], raw, level="frame", data=data)
    means, positions = _video_means(crops, rows, raw)
    return fit_calibration(
        means.labels,
        means.scores,
        level="video",
        data=data,
        groups=[crops.groups[row] for row in positions],
        sources=[crops.sources[row] for row in positions],
    )


def _sources(crops: CropSet, rows: NDArray[np.int64], data: str) -> dict[str, NDArray[np.bool_]]:
    """Return a mask of rows for each source with both labels; if there are not two, one mask named `data`."""
    names = np.array([crops.sources[row] if crops.sources else "" for row in rows])
    parts = {str(name): names == name for name in np.unique(names)}
    both = {name: part for name, part in parts.items() if len(np.unique(crops.labels[rows[part]])) == 2}
    return both if len(both) > 1 else {data: np.ones(len(rows), dtype=bool)}


def _video_means(
    crops: CropSet, rows: NDArray[np.int64], raw: NDArray[np.float64]
) -> tuple[GroupVotes, list[int]]:
    """Return the mean score of each video, and the position of one of its crops."""
    labels, videos = crops.labels[rows], [crops.videos[row] for row in rows]
    # In order of first occurrence, like the means.
    position_of = dict(zip(zip(videos, labels.tolist(), strict=True), rows.tolist(), strict=True))
    return mean_votes(labels, raw, videos), list(position_of.values())


def _fold(network: Network, inputs: Preprocessor) -> None:
    """Fold the tuning into the backbone's weights, and check that the scores do not change."""
    crops = golden_crops(inputs.crop.input_side)
    before = predict(network, crops, inputs)
    fold(network.backbone)
    difference = float(np.abs(predict(network, crops, inputs) - before).max())
    if not difference < TOLERANCE:
        raise ContractError(
            f"folding the tuning into the weights changes scores by {difference:.2e}; at most "
            f"{TOLERANCE:g} is allowed",
            "report it with the recipe; the trained weights are in best.safetensors of the run's folder",
        )


def _scores(
    network: Network, crops: CropSet, rows: NDArray[np.int64], inputs: Preprocessor
) -> NDArray[np.float64]:
    # The crops are on disk and may not fit into memory.
    parts = np.array_split(rows, math.ceil(len(rows) / SCORED_AT_ONCE))
    return np.concatenate([predict(network, crops.crops[part], inputs) for part in parts])


def _error_rates(
    crops: CropSet,
    rows: NDArray[np.int64],
    raw: NDArray[np.float64],
    calibration: Calibration,
    data: str,
) -> tuple[ErrorRates, ...]:
    """Return how often verdicts are wrong in each source, for videos if they have several crops."""
    rates = []
    for name, part in _sources(crops, rows, data).items():
        means, positions = _video_means(crops, rows[part], raw[part])
        level: Literal["frame", "video"] = "video" if len(positions) < int(part.sum()) else "frame"
        description = f"{name}: {HELD_OUT}"
        rates.append(count_verdicts(means.labels, means.scores, calibration, level=level, data=description))
    return tuple(rates)


def card_results(
    crops: CropSet, rows: NDArray[np.int64], raw: NDArray[np.float64], calibration: Calibration
) -> list[dict[str, Any]]:
    """Return a card's results for crops and, if videos have several crops, for the means of videos.

    Args:
        crops: The crops.
        rows: Indices of the scored crops, shape (N,).
        raw: Probability of fake, shape (N,).
        calibration: The model's calibration.
    """
    labels, groups = crops.labels[rows], [crops.groups[row] for row in rows]
    measured = results_at_level("frame", labels, raw, calibration, groups)
    means, positions = _video_means(crops, rows, raw)
    if len(positions) < len(rows):
        video_groups = [crops.groups[row] for row in positions]
        measured += results_at_level("video", means.labels, means.scores, calibration, video_groups)
    return measured


def results_at_level(
    level: Literal["frame", "video"],
    labels: NDArray[np.int64],
    raw: NDArray[np.float64],
    calibration: Calibration,
    groups: Sequence[str],
) -> list[dict[str, Any]]:
    """Return results with 95 % intervals by group.

    Args:
        level: Kind of the samples.
        labels: 0 or 1, shape (N,).
        raw: Probability of fake, shape (N,).
        calibration: The model's calibration.
        groups: Group of each sample, length N.
    """
    calibrated = calibrate(raw, calibration)
    measured = []
    for name, metric in METRICS.items():
        scores = raw if metric.needs == "raw" else calibrated
        interval = bootstrap(metric.at(calibration.fake), labels, scores, groups)
        measured.append(_result(name, level, interval, groups))
    return measured


def _result(metric: str, level: str, interval: Interval, groups: Sequence[str]) -> dict[str, Any]:
    return {
        "metric": metric,
        "level": level,
        "value": round(interval.value, 4),
        "interval": interval.bounds,
        "n": len(groups),
        "groups": len(set(groups)),
    }
