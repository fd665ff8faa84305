"""The user's models: where they lie, which hashes their files had at first, and how they go; no torch."""

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
from deepscan.models.catalogue import Known, catalogue
from deepscan.models.choice import NO_MODEL
from deepscan.models.lookup import installed_models, is_embedded, load_card

ModelState = Literal["embedded", "installed", "known", "refused"]
#: Hashes of downloads, kept when a model goes: what comes later under its name must be the same file.
HASHES = "hashes.json"
#: What a model cannot be called: `--model` takes the first two as something else, and the last is a file.
RESERVED = (NO_MODEL, AUTO, HASHES)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that there is or could be.

    Attributes:
        name: Its name.
        state: `embedded`, `installed`, `known` (it can be pulled or imported) or `refused`.
        card: Of a model that is here.
        known: What the catalogue says, None where it knows none of that name.
        fault: Why its card cannot be read, None where it can.
        place: Its folder, None where it is not here.
    """

    name: str
    state: ModelState
    card: ModelCard | None = None
    known: Known | None = None
    fault: DeepscanError | None = None
    place: Path | None = None

    def verify(self) -> int:
        """Check the hash of every file, and return how many there are.

        Raises:
            MissingError: It, or one of its files, is not here.
            ContractError: Its card cannot be read, or names another file.
        """
        if self.fault:
            raise self.fault
        if self.card is None:
            raise MissingError(
                f"model {self.name!r} is not installed",
                f"deepscan models info {self.name} tells how to get it",
            )
        self.card.verify()
        return len(self.card.files)

    def describe(self) -> dict[str, Any]:
        """Return all that is known of it, for people and programs."""
        said: dict[str, Any] = {"name": self.name, "state": self.state}
        if self.place:
            said["folder"] = str(self.place)
        if self.fault:
            said["fault"] = self.fault.message
        if self.card:
            said["card"] = yaml.safe_load(self.card.to_yaml())
        if self.known:
            said["published"] = self.known.to_json()
            if not self.place:
                said["get"] = self.known.way
        return said

    def to_json(self) -> dict[str, Any]:
        """Return the line of a list."""
        said = self.card or self.known
        return {
            "name": self.name,
            "state": self.state,
            "method": self.card.method if self.card else None,
            "license": said.license if said else None,
            "summary": self.fault.message if self.fault else said.summary if said else "",
            "folder": str(self.place) if self.place else None,
        }


def list_models(store: Path) -> Iterator[Listed]:
    """Yield the embedded models, the installed ones and the others that are known."""
    seen = set()
    for folder in installed_models(store):
        seen.add(folder.name)
        state: ModelState = "embedded" if is_embedded(folder) else "installed"
        known = catalogue().get(folder.name) if state == "installed" else None
        try:
            yield Listed(folder.name, state, load_card(folder), known, place=folder)
        except ContractError as error:
            yield Listed(folder.name, state, None, known, error, folder)
    for name, known in catalogue().items():
        if name not in seen:
            yield Listed(name, "refused" if known.refused else "known", None, known)


def find_listed(name: str, among: Iterable[Listed]) -> Listed:
    """Return the model of that name; of two the first, which is the embedded one.

    Raises:
        UsageError: There is none, and none is known.
    """
    there: dict[str, Listed] = {}
    for each in among:
        there.setdefault(each.name, each)
    if name not in there:
        raise UsageError(f"no model is installed or known as {name!r}", choice_hint(name, there))
    return there[name]


def check_free(name: str, store: Path) -> None:
    """Make sure that a model can be installed under a name.

    Raises:
        UsageError: It cannot be the name of a folder, or is taken.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid model name",
            "use small letters, digits, points and dashes, such as my-gend",
        )
    if name in RESERVED:
        raise UsageError(f"{name!r} means something else", "take another name")
    if is_embedded(embedded_folder() / name):
        raise UsageError(f"{name!r} is the name of an embedded model", "take another name")
    if (store / name).exists():
        raise UsageError(f"{name} is installed already", f"deepscan models remove {name}")


def remove_model(name: str, store: Path, *, forget: bool = False) -> Path:
    """Delete an installed model, or what is left of one without a card, and return its folder.

    Args:
        name: Its name.
        store: Where it is installed.
        forget: Whether the hash of its download is forgotten too, so that another file may come.

    Raises:
        UsageError: No model of that name is installed there.
    """
    recorded = hashes(store)
    folder = store / name
    there = folder.is_dir() and _NAME.fullmatch(name) is not None
    if not there and not (forget and name in recorded):
        installed = [each.name for each in list_models(store) if each.state == "installed"]
        raise UsageError(f"no model {name!r} is installed in {store}", choice_hint(name, installed))
    if there:
        shutil.rmtree(folder)
    if forget and name in recorded:
        del recorded[name]
        _write(store, recorded)
    return folder


def hashes(store: Path) -> dict[str, str]:
    """Return the SHA-256 of each download at its first, by the model's name.

    Raises:
        ContractError: They cannot be read.
    """
    try:
        text = (store / HASHES).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        return {str(name): str(sha256) for name, sha256 in json.loads(text).items()}
    except (AttributeError, ValueError) as error:
        raise ContractError(
            f"{store / HASHES} cannot be read: {error}", "delete it; hashes are recorded again"
        )


def check_hash(name: str, sha256: str, store: Path, known: Known | None) -> None:
    """Hold the hash of a file against what is known of it, or what it was at first.

    Raises:
        ContractError: It is another file.
    """
    stated = known.source.sha256 if known else ""
    if stated and sha256 != stated:
        raise ContractError(
            f"this is not the file that is known as {name}: SHA-256 {sha256[:12]}..., known {stated[:12]}...",
            "fetch it again, or import it under a name of your own with --as",
        )
    first = hashes(store).get(name)
    if first and sha256 != first:
        raise ContractError(
            f"this is not the file that was {name} at first: SHA-256 {sha256[:12]}..., then {first[:12]}...",
            f"ask why it has changed; deepscan models remove {name} --forget lets another in",
        )


def record_hash(name: str, sha256: str, store: Path) -> None:
    """Keep the hash of a file, so that a later one must be the same."""
    recorded = hashes(store)
    if name not in recorded:
        _write(store, {**recorded, name: sha256})


def _write(store: Path, recorded: Mapping[str, str]) -> None:
    with atomic_write(store / HASHES) as file:
        file.write(json.dumps(recorded, indent=1, sort_keys=True).encode() + b"\n")
