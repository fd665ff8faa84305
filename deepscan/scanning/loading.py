"""Load what a scan needs: the models, the face finder and its companion networks."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepscan.arguments import wrong_type
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
    """Everything that a scan loads before its first video.

    Attributes:
        options: The scan's parameters, with the chosen model if none was named.
        choice: Why this model was chosen, None if it was named.
        scorers: The detectors, empty to only find faces.
        finder: The face finder.
        face_filter: Rejects false detections of the finder.
        looks: Recognises a person's faces in other shots.
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
    """Return the options with a model named, and why this one; None if the options name it themselves.

    Args:
        options: The scan's parameters.
        earlier: The record of the run to resume, None for a new one.
    """
    if options.model != AUTO:
        return options, None
    choice = chosen_model(options, earlier or {})
    LOG.info("using model %r: %s", choice.model, choice.reason)
    return replace(options, model=choice.model), choice


def load_models(
    options: ScanOptions, earlier: Mapping[str, Any] | None = None, *, threads: int | None = None
) -> LoadedModels:
    """Load what a scan needs.

    Args:
        options: The scan's parameters.
        earlier: The record of the run to resume, None for a new one.
        threads: Threads of each session on a CPU, None for one per core that this process may use.

    Raises:
        DeepscanError: A model, a package or a device is missing or unusable.
    """
    finder = open_finder(options.faces, device=options.faces_device, threads=threads)
    LOG.info("finding faces with %r on %s", options.faces, finder.device)
    options, choice = with_model(options, earlier)
    return LoadedModels(options, choice, load_scorers(options, threads), finder, FaceFilter(), Looks())


def chosen_model(options: ScanOptions, earlier: Mapping[str, Any]) -> Choice:
    """Choose the model for a scan that names none; a resumed run keeps its choice.

    Args:
        options: The scan's parameters.
        earlier: The record of the run to resume, empty for a new one.
    """
    if earlier.get("choice"):
        return Choice(**earlier["choice"])
    return choose_model(device=options.device, engine=options.engine, precision=options.precision)


def model_names(model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None) -> list[str]:
    """Return models as options name them.

    Raises:
        UsageError: No model is named, or one is neither a name nor a path.
    """
    if model is None:
        return [NO_MODEL]
    wanted = "a name, a path or a list of these, or None"
    if isinstance(model, bytes) or not isinstance(model, str | os.PathLike | Iterable):
        raise wrong_type("model", wanted, model, "leave it out for the default")
    several = [model] if isinstance(model, str | os.PathLike) else list(model)
    if not several or "" in several:
        raise UsageError("no model is named", 'name one, or pass model="auto", or None to find faces only')
    return [model_name(each) for each in several]


def model_name(model: str | os.PathLike[str]) -> str:
    """Return a model as options name it; a path object is never treated as the name of a model.

    Raises:
        UsageError: It is neither a name nor a path.
    """
    if not isinstance(model, str | os.PathLike):
        raise wrong_type("model", "a name or a path", model, "name one, or leave it out for the default")
    return model if isinstance(model, str) else os.path.abspath(model)


def load_scorer(options: ScanOptions) -> Scorer:
    """Load the detector that the options name, or the first of several, and check its golden score."""
    return _ready(load_card(options.model), options, None)


def load_scorers(options: ScanOptions, threads: int | None = None) -> tuple[Scorer, ...]:
    """Load all detectors that the options name, sorted by name; none to only find faces.

    They are loaded one after the other.

    Args:
        options: The scan's parameters.
        threads: Threads of each session on a CPU, None for one per core that this process may use.

    Raises:
        UsageError: Two of them have the same name, so a record could not distinguish them.
    """
    if options.model == NO_MODEL:
        return ()
    named: dict[str, ModelCard] = {}
    for model in (options.model, *options.also):
        card = load_card(model)
        if card.name in named:
            raise UsageError(
                f"two models have the name {card.name!r}: {named[card.name].folder} and {card.folder}",
                "name each model once, and give a copy another name in its card.yaml",
            )
        named[card.name] = card
    return tuple(_ready(named[name], options, threads) for name in sorted(named))


def _ready(card: ModelCard, options: ScanOptions, threads: int | None) -> Scorer:
    return Scorer(
        card, engine=options.engine, device=options.device, precision=options.precision, threads=threads
    )


def decode_options(options: ScanOptions) -> DecodeOptions:
    """Return the decoding options of a scan."""
    return DecodeOptions(
        frames=options.frames,
        decoder=options.decoder,
        timeout=options.timeout,
        min_frames=options.min_frames,
        max_pixels=int(options.max_megapixels * 1e6),
    )
