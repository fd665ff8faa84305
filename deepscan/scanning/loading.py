"""Loads what a scan needs: the model, the face finder and the networks that go with it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepscan.cards import ModelCard
from deepscan.engines.scorer import Scorer
from deepscan.errors import UsageError
from deepscan.faces.face_filter import FaceFilter
from deepscan.faces.finder import FaceFinder, open_finder
from deepscan.faces.looks import Looks
from deepscan.logs import get_logger
from deepscan.media.decoders import AUTO
from deepscan.media.jobs import DecodeOptions
from deepscan.models.choice import NO_MODEL, Choice, choose_model
from deepscan.models.lookup import load_card
from deepscan.scanning.options import ScanOptions

LOG = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """Everything that a scan has in memory before its first video.

    Attributes:
        options: The scan's parameters, with the model that was chosen where none was named.
        choice: Why this model, None where it was named.
        scorers: The detectors, none to find faces only.
        finder: The face finder.
        face_filter: Decides which of the faces found are faces.
        looks: Knows a person's faces again in another shot.
    """

    options: ScanOptions
    choice: Choice | None
    scorers: tuple[Scorer, ...]
    finder: FaceFinder
    face_filter: FaceFilter
    looks: Looks


def with_model(
    options: ScanOptions, earlier: Mapping[str, Any] | None = None
) -> tuple[ScanOptions, Choice | None]:
    """Return the options with a model named, and why this one; None where the options name it themselves.

    Args:
        options: The scan's parameters.
        earlier: The record of the run to resume, None for a new one.
    """
    if options.model != AUTO:
        return options, None
    choice = chosen_model(options, earlier or {})
    LOG.info("using model %r: %s", choice.model, choice.reason)
    return replace(options, model=choice.model), choice


def load_models(options: ScanOptions, earlier: Mapping[str, Any] | None = None) -> LoadedModels:
    """Load what a scan needs.

    Args:
        options: The scan's parameters.
        earlier: The record of the run to resume, None for a new one.

    Raises:
        DeepscanError: A model, a package or a device is missing, or is not what it must be.
    """
    finder = open_finder(options.faces, device=options.faces_device)
    LOG.info("finding faces with %r on %s", options.faces, finder.device)
    options, choice = with_model(options, earlier)
    return LoadedModels(options, choice, load_scorers(options), finder, FaceFilter(), Looks())


def chosen_model(options: ScanOptions, earlier: Mapping[str, Any]) -> Choice:
    """Return the model for a scan that names none; a run that is gone on with keeps the one that it chose.

    Args:
        options: The scan's parameters.
        earlier: The record of the run to go on with, empty for a new one.
    """
    if earlier.get("choice"):
        return Choice(**earlier["choice"])
    return choose_model(device=options.device, engine=options.engine, precision=options.precision)


def model_names(model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None) -> list[str]:
    """Return models as options name them; a path object is never taken for the name of a model."""
    if model is None:
        return [NO_MODEL]
    several = [model] if isinstance(model, str | os.PathLike) else list(model)
    if not several:
        raise UsageError("no model is named", 'name one, or pass model="auto", or None to find faces only')
    return [each if isinstance(each, str) else os.path.abspath(each) for each in several]


def load_scorer(options: ScanOptions) -> Scorer:
    """Return the detector that the options name, its golden score checked; of several the first."""
    return _ready(load_card(options.model), options)


def load_scorers(options: ScanOptions) -> tuple[Scorer, ...]:
    """Return all detectors that the options name, by name whatever their order; none to find faces only.

    They are loaded one after the other.

    Raises:
        UsageError: Two of them have one name, which is what the record tells them apart by.
    """
    if options.model == NO_MODEL:
        return ()
    named: dict[str, ModelCard] = {}
    for model in (options.model, *options.also):
        card = load_card(model)
        if card.name in named:
            raise UsageError(
                f"two models are called {card.name!r}: {named[card.name].folder} and {card.folder}",
                "name each model once, and give a copy another name in its card.yaml",
            )
        named[card.name] = card
    return tuple(_ready(named[name], options) for name in sorted(named))


def _ready(card: ModelCard, options: ScanOptions) -> Scorer:
    return Scorer(card, engine=options.engine, device=options.device, precision=options.precision)


def suitable_workers() -> int:
    """Return how many decoders at once suit this machine: one a core, for each has one thread."""
    return os.cpu_count() or 1


def decode_options(options: ScanOptions) -> DecodeOptions:
    """Return how a scan's videos are decoded."""
    return DecodeOptions(
        frames=options.frames,
        decoder=options.decoder,
        timeout=options.timeout,
        min_frames=options.min_frames,
        max_pixels=int(options.max_megapixels * 1e6),
    )
