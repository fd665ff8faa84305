"""The user's installed models: list, verify and remove them, and record their hashes. Needs no torch."""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from deepscan.cards import ModelCard, embedded_folder
from deepscan.errors import ContractError, DeepscanError, MissingError, UsageError, choice_hint
from deepscan.files import atomic_write
from deepscan.media.decoders import AUTO
from deepscan.models.catalogue import PublishedModel, catalogue
from deepscan.models.choice import NO_MODEL
from deepscan.models.lookup import installed_models, is_embedded, load_card

ModelState = Literal["embedded", "installed", "known", "refused"]
#: File with the hashes of downloads. They outlive the model: a later file under its name must be the same.
HASHES = "hashes.json"
#: Names that no model can have: the first two are special values of `--model`, the last is a file.
RESERVED = (NO_MODEL, AUTO, HASHES)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Listed:
    """An embedded, installed or published model.

    Attributes:
        name: Its name.
        state: `embedded`, `installed`, `known` (it can be pulled or imported) or `refused`.
        card: Its card; None if it is not installed or the card cannot be read.
        published: Its entry in the catalogue; None if it has none.
        error: Why its card cannot be read; None if it can.
        folder: Its folder; None if it is not installed.
    """

    name: str
    state: ModelState
    card: ModelCard | None = None
    published: PublishedModel | None = None
    error: DeepscanError | None = None
    folder: Path | None = None

    def verify(self) -> int:
        """Check the hash of every file, and return the number of files.

        Raises:
            MissingError: The model or one of its files is missing.
            ContractError: Its card cannot be read, or a file's hash differs from the card's.
        """
        if self.error:
            raise self.error
        if self.card is None:
            raise MissingError(
                f"model {self.name!r} is not installed",
                f"run: deepscan models info {self.name} (shows how to install it)",
            )
        self.card.verify()
        return len(self.card.files)

    def describe(self) -> dict[str, Any]:
        """Return the full description, for users and programs."""
        description: dict[str, Any] = {"name": self.name, "state": self.state}
        if self.folder:
            description["folder"] = str(self.folder)
        if self.error:
            description["fault"] = self.error.message
        if self.card:
            description["card"] = yaml.safe_load(self.card.to_yaml())
        if self.published:
            description["published"] = self.published.to_json()
            if not self.folder:
                description["get"] = self.published.how_to_get
        return description

    def to_json(self) -> dict[str, Any]:
        """Return the model's entry in a list."""
        source = self.card or self.published
        return {
            "name": self.name,
            "state": self.state,
            "method": self.card.method if self.card else None,
            "license": source.license if source else None,
            "summary": self.error.message if self.error else source.summary if source else "",
            "folder": str(self.folder) if self.folder else None,
        }


def list_models(store: Path) -> Iterator[Listed]:
    """Yield the embedded models, the installed ones and the published ones that are not installed."""
    seen = set()
    for folder in installed_models(store):
        seen.add(folder.name)
        state: ModelState = "embedded" if is_embedded(folder) else "installed"
        published = catalogue().get(folder.name) if state == "installed" else None
        try:
            yield Listed(folder.name, state, load_card(folder), published, folder=folder)
        except ContractError as error:
            yield Listed(folder.name, state, None, published, error, folder)
    for name, published in catalogue().items():
        if name not in seen:
            yield Listed(name, "refused" if published.refused else "known", None, published)


def find_listed(name: str, models: Iterable[Listed]) -> Listed:
    """Return the first model of that name; embedded models come first.

    Raises:
        UsageError: No model has that name.
    """
    by_name: dict[str, Listed] = {}
    for model in models:
        by_name.setdefault(model.name, model)
    if name not in by_name:
        raise UsageError(f"unknown model {name!r}", choice_hint(name, by_name))
    return by_name[name]


def check_free(name: str, store: Path) -> None:
    """Check that a model can be installed under a name.

    Raises:
        UsageError: The name is invalid or taken.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid model name",
            "use lower-case letters, digits, dots, dashes and underscores, such as my-gend",
        )
    if name in RESERVED:
        raise UsageError(f"{name!r} is a reserved name", "choose another name")
    if is_embedded(embedded_folder() / name):
        raise UsageError(f"{name!r} is the name of an embedded model", "choose another name")
    if (store / name).exists():
        raise UsageError(
            f"{name} is already installed", f"to replace it, first run: deepscan models remove {name}"
        )


def remove_model(name: str, store: Path, *, forget: bool = False) -> Path:
    """Delete an installed model, or the remains of one without a card, and return its folder.

    Args:
        name: Its name.
        store: Folder of installed models.
        forget: Whether to forget the hash of its download too, so that another file may be installed.

    Raises:
        UsageError: No model of that name is installed there.
    """
    recorded = hashes(store)
    folder = store / name
    exists = folder.is_dir() and _NAME.fullmatch(name) is not None
    if not exists and not (forget and name in recorded):
        if is_embedded(embedded_folder() / name):
            raise UsageError(f"model {name!r} is built in and cannot be deleted", "remove an installed model")
        installed = [model.name for model in list_models(store) if model.state == "installed"]
        raise UsageError(f"model {name!r} is not installed in {store}", choice_hint(name, installed))
    if exists:
        shutil.rmtree(folder)
    if forget and name in recorded:
        del recorded[name]
        _write(store, recorded)
    return folder


def hashes(store: Path) -> dict[str, str]:
    """Return the SHA-256 of each model's first download, by the model's name.

    Raises:
        ContractError: The file of hashes cannot be read.
    """
    try:
        text = (store / HASHES).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        return {str(name): str(sha256) for name, sha256 in json.loads(text).items()}
    except (AttributeError, ValueError) as error:
        raise ContractError(
            f"{store / HASHES} cannot be read: {error}", "delete it; hashes will be recorded again"
        )


def check_hash(name: str, sha256: str, store: Path, published: PublishedModel | None) -> None:
    """Compare the hash of a file with the published one and with that of the first download.

    Raises:
        ContractError: The hashes differ.
    """
    expected = published.source.sha256 if published else ""
    if expected and sha256 != expected:
        raise ContractError(
            f"this is not the published file of {name}: its SHA-256 is {sha256[:12]}..., not "
            f"{expected[:12]}...",
            "download it again, or import it under another name with --as",
        )
    first = hashes(store).get(name)
    if first and sha256 != first:
        raise ContractError(
            f"this is not the file first installed as {name}: its SHA-256 is {sha256[:12]}..., not "
            f"{first[:12]}...",
            f"find out why it changed; to accept it, first run: deepscan models remove {name} --forget",
        )


def record_hash(name: str, sha256: str, store: Path) -> None:
    """Record the hash of a model's first file, so that later files must be the same."""
    recorded = hashes(store)
    if name not in recorded:
        _write(store, {**recorded, name: sha256})


def _write(store: Path, recorded: Mapping[str, str]) -> None:
    with atomic_write(store / HASHES) as file:
        file.write(json.dumps(recorded, indent=1, sort_keys=True).encode() + b"\n")
