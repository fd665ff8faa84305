"""Look up embedded and installed models."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from deepscan.cache import cache_folder
from deepscan.cards import CARD, ModelCard, embedded_folder, read_card
from deepscan.errors import ContractError, MissingError, UsageError, reinstall_hint
from deepscan.models.catalogue import catalogue

#: The model that `scan` uses when none is named.
DEFAULT_MODEL = "lite0-224"


def is_embedded(folder: Path) -> bool:
    """Return whether a folder is that of an embedded model."""
    return folder.resolve().parent == embedded_folder().resolve() and (folder / CARD).is_file()


def user_folder() -> Path:
    """Return the folder of the user's installed models, in the user's cache."""
    return cache_folder("models")


def installed_models(store: Path | None = None) -> Iterator[Path]:
    """Yield the folders of all embedded and installed models, the embedded ones first.

    Args:
        store: Folder of installed models; None for `user_folder`.
    """
    for folder in (embedded_folder(), store or user_folder()):
        for card in sorted(folder.glob(f"*/{CARD}")):
            # Names that begin with a dot are incomplete installations.
            if not card.parent.name.startswith("."):
                yield card.parent


def find_model(model: str) -> Path:
    """Return the folder of a model given by name or by path.

    Raises:
        MissingError: The default model is missing, or a published model is not installed.
        UsageError: No model has that name, and the path is not a folder with a card.
    """
    named: dict[str, Path] = {}
    for folder in installed_models():
        named.setdefault(folder.name, folder)
    if model in named:
        return named[model]
    if (Path(model) / CARD).is_file():
        return Path(model)
    if model == DEFAULT_MODEL:
        raise MissingError(f"the default model {model!r} is missing", reinstall_hint())
    if model in catalogue():
        raise MissingError(
            f"model {model!r} is not installed",
            f"run: deepscan models info {model} (shows how to install it)",
        )
    close = difflib.get_close_matches(model, [*named, *catalogue()], n=1)
    hint = (
        f"did you mean {close[0]!r}?"
        if close
        else f"name one of {_detectors(named)}, or a folder with a {CARD}"
    )
    if Path(model).is_dir():
        raise UsageError(f"folder {model!r} is not a model: it has no {CARD}", hint)
    raise UsageError(f"unknown model {model!r}", hint)


def _detectors(named: Mapping[str, Path]) -> str:
    """Return the names of the detectors, without those whose card cannot be read."""
    names = []
    for name, folder in named.items():
        with suppress(ContractError):
            if read_card(folder).crop:
                names.append(name)
    return ", ".join(names)


def load_card(model: str | Path) -> ModelCard:
    """Return the card of a model given by name or folder.

    Raises:
        MissingError: The default model is missing, or a published model is not installed.
        UsageError: The model is unknown.
        ContractError: The card cannot be read.
    """
    return read_card(model if isinstance(model, Path) else find_model(model))
