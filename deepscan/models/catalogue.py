"""Catalogue of detectors published by others: their files, preprocessing and terms. Needs no torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import yaml

from deepscan.crop_recipe import CropRecipe
from deepscan.errors import ContractError, UsageError, choice_hint

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """Source of a model's file: the hub, an address, or a page that needs a browser.

    Attributes:
        publisher: Address of the publisher's repository.
        file: Name of the file.
        hub: Repository on the Hugging Face hub.
        revision: Commit or branch of that repository.
        beside: Further files of that repository, which say how to read the first.
        url: Address of the file.
        page: Page to download it from by hand.
        bytes: Size of the file; None if unknown.
        sha256: Hash of the file; empty if unknown.
        sha256_from: Source of the hash.
    """

    publisher: str
    file: str
    hub: str = ""
    revision: str = ""
    beside: tuple[str, ...] = ()
    url: str = ""
    page: str = ""
    bytes: int | None = None
    sha256: str = ""
    sha256_from: str = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.hub, self.url, self.page))) != 1:
            raise ValueError("a file needs exactly one of hub, url and page")
        if bool(self.hub) != bool(self.revision) or bool(self.sha256) != bool(self.sha256_from):
            raise ValueError("hub needs a revision, and sha256 needs sha256_from")

    @property
    def address(self) -> str:
        """Address to show to users."""
        return f"https://huggingface.co/{self.hub}" if self.hub else self.url or self.page


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A published detector.

    Attributes:
        name: Its name here.
        layout: Layout of its file.
        summary: One-line description.
        license: SPDX identifier.
        terms: Description of its terms.
        device: Slowest device on which it is fast enough to be a default.
        source: Source of its file.
        crop: Crop recipe.
        mean: Mean per RGB channel, for pixels in [0, 1].
        std: Standard deviation per RGB channel.
        threshold: The publisher's threshold on the probability of fake, or a note that there is none.
        video_rule: How the publisher combines frame scores into a video's score.
        trained: Training data and paper.
        published: Published results, each with its data.
        published_in: Where to find more results.
        not_for: Uses to avoid.
        deviates: Differences between the publisher's pipeline and ours.
        rank: Order in which a scan prefers installed models, 1 first; None if it must be named.
        tensors: Number of tensors in its file; None if it varies.
        elements: Number of elements of these tensors; None if it varies.
        refused: Why it is not supported; empty if it is.
    """

    name: str
    layout: str
    summary: str
    license: str
    terms: str
    device: Device
    source: PublishedFile
    crop: CropRecipe
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    threshold: float | str
    video_rule: str
    trained: Mapping[str, Any]
    published: tuple[Mapping[str, Any], ...]
    published_in: str
    not_for: tuple[str, ...]
    deviates: str
    rank: int | None = None
    tensors: int | None = None
    elements: int | None = None
    refused: str = ""

    @property
    def terms_line(self) -> str:
        """Its terms in one line."""
        return f"terms of {self.name}: {self.license}, {self.terms}"

    @property
    def how_to_get(self) -> str:
        """Instructions for installing it."""
        if self.refused:
            return f"not supported: {self.refused}"
        if self.source.page:
            return f"download {self.source.page} by hand, then: deepscan models import FILE --as {self.name}"
        return f"deepscan models pull {self.name} --accept-license"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, without empty ones."""
        plain = json.loads(json.dumps(asdict(self)))
        plain["source"] = {key: value for key, value in plain["source"].items() if value}
        return {key: value for key, value in plain.items() if key != "name" and value not in (None, "", [])}

    def __post_init__(self) -> None:
        if self.device not in get_args(Device):
            raise ValueError(f"device must be one of {', '.join(get_args(Device))}, not {self.device!r}")


@cache
def catalogue() -> Mapping[str, PublishedModel]:
    """Return every published detector of the catalogue by name."""
    text = files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8")
    entries = yaml.safe_load(text).items()
    return {name: _parse(name, entry) for name, entry in entries if not name.startswith("_")}


def published_model(name: str) -> PublishedModel:
    """Return a published detector of the catalogue.

    Raises:
        UsageError: The name is unknown.
    """
    if name not in catalogue():
        raise UsageError(f"unknown published model {name!r}", choice_hint(name, catalogue()))
    return catalogue()[name]


def check_refused(model: PublishedModel | None) -> None:
    """Check that a published detector is supported.

    Raises:
        ContractError: It is not; the message says why.
    """
    if model and model.refused:
        raise ContractError(f"{model.name} is not supported: {model.refused}", "run: deepscan models list")


def _parse(name: str, entry: Mapping[str, Any]) -> PublishedModel:
    source = {**entry["source"], "beside": tuple(entry["source"].get("beside", ()))}
    parsed = {
        "source": PublishedFile(**source),
        "crop": CropRecipe.from_json(entry["crop"]),
        **{key: tuple(entry[key]) for key in ("mean", "std", "published", "not_for")},
    }
    return PublishedModel(name=name, **{**entry, **parsed})
