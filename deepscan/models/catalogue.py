"""What is known of detectors that others have published: where they lie, what they take; no torch."""

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
    """Where the file of a model lies: on the hub, at an address, or on a page that needs a browser.

    Attributes:
        publisher: Address of the publisher's repository.
        file: The file's name there.
        hub: Repository on the Hugging Face hub.
        revision: Commit or branch there.
        beside: Files there that say how the first is to be read.
        url: Address of the file.
        page: Page to fetch it from by hand.
        bytes: Its size, None where that is not known.
        sha256: Its hash, empty where that is not known.
        sha256_from: Who says so.
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
            raise ValueError("a file lies on the hub, at a url, or on a page")
        if bool(self.hub) != bool(self.revision) or bool(self.sha256) != bool(self.sha256_from):
            raise ValueError("a hub has a revision, and a hash somebody who says so")

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return f"https://huggingface.co/{self.hub}" if self.hub else self.url or self.page


@dataclass(frozen=True, slots=True)
class Known:
    """A published detector.

    Attributes:
        name: What it is called here.
        layout: Whose names its file has.
        summary: One line for people.
        license: SPDX identifier.
        terms: What is known of its terms, in words.
        device: Where it is quick enough to be a default.
        source: Where its file lies.
        crop: What of a frame it takes.
        mean: Per RGB channel, of pixels in [0, 1].
        std: Per RGB channel.
        threshold: On the probability of fake, as its publisher states it, or that none is.
        video_rule: How its publisher makes a video's score of its frames'.
        trained: Data and paper.
        published: Its publisher's figures, or others', each with its data.
        published_in: Where more of them are.
        not_for: What it must not be used for.
        deviates: What of its publisher's way to a score is done otherwise here.
        rank: Place in the order in which a scan prefers the installed ones; None: it must be named.
        tensors: How many its file holds, None where that depends.
        elements: How many numbers these hold, None likewise.
        refused: Why it cannot be had here, empty where it can.
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
        """Its terms, in one line for people."""
        return f"terms of {self.name}: {self.license}, {self.terms}"

    @property
    def way(self) -> str:
        """How it can be had, for people."""
        if self.refused:
            return f"not at all: {self.refused}"
        if self.source.page:
            return f"fetch {self.source.page} by hand, then: deepscan models import FILE --as {self.name}"
        return f"deepscan models pull {self.name} --accept-license"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, without what is not stated."""
        plain = json.loads(json.dumps(asdict(self)))
        plain["source"] = {key: value for key, value in plain["source"].items() if value}
        return {key: value for key, value in plain.items() if key != "name" and value not in (None, "", [])}

    def __post_init__(self) -> None:
        if self.device not in get_args(Device):
            raise ValueError(f"device is one of {', '.join(get_args(Device))}, not {self.device!r}")


@cache
def catalogue() -> Mapping[str, Known]:
    """Return every published detector that is known here, by name."""
    stated = yaml.safe_load(files(__package__).joinpath("catalogue.yaml").read_text(encoding="utf-8"))
    return {name: _known(name, each) for name, each in stated.items() if not name.startswith("_")}


def known(name: str) -> Known:
    """Return what is known of a published detector.

    Raises:
        UsageError: None is called so.
    """
    if name not in catalogue():
        raise UsageError(f"no published model is known as {name!r}", choice_hint(name, catalogue()))
    return catalogue()[name]


def check_refused(listed: Known | None) -> None:
    """Make sure that a published detector can be taken.

    Raises:
        ContractError: It cannot; the message says why.
    """
    if listed and listed.refused:
        raise ContractError(
            f"{listed.name} cannot be taken: {listed.refused}", "deepscan models lists others"
        )


def _known(name: str, stated: Mapping[str, Any]) -> Known:
    source = {**stated["source"], "beside": tuple(stated["source"].get("beside", ()))}
    made = {
        "source": PublishedFile(**source),
        "crop": CropRecipe.from_json(stated["crop"]),
        **{key: tuple(stated[key]) for key in ("mean", "std", "published", "not_for")},
    }
    return Known(name=name, **{**stated, **made})
