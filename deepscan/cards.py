"""Model cards: what a model states about itself, in the file beside its weights."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from deepscan.crop_recipe import CropRecipe
from deepscan.error_rates import ErrorRates
from deepscan.errors import ContractError, MissingError, UsageError, reinstall_hint
from deepscan.files import atomic_write

CARD = "card.yaml"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns a raw score into a calibrated one and into a verdict.

    Attributes:
        level: `frame` or `video`: what one sample of the fit was.
        data: The data it was fitted on, named.
        n: How many samples that was.
        rule: How the thresholds were chosen, in words.
        temperature: Divides the logit of a raw score; above 1 it takes confidence back.
        no_evidence: Calibrated scores below this give the verdict `no_evidence`.
        fake: Calibrated scores of at least this give the verdict `fake`.
        method: `temperature`, or `isotonic`: the temperature is 1 then, and the knots take its place.
        knots: Raw scores, rising, each with its calibrated one, between which lines are straight.
    """

    level: str
    data: str
    n: int
    rule: str
    temperature: float
    no_evidence: float
    fake: float
    method: str = "temperature"
    knots: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.level not in ("frame", "video"):
            raise ValueError(f"calibration level must be 'frame' or 'video', not {self.level!r}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if not 0 <= self.no_evidence <= self.fake <= 1:
            raise ValueError(f"thresholds must satisfy 0 <= {self.no_evidence} <= {self.fake} <= 1")
        if self.method not in ("temperature", "isotonic"):
            raise ValueError(f"calibration method must be 'temperature' or 'isotonic', not {self.method!r}")
        isotonic = self.method == "isotonic"
        if bool(self.knots) != isotonic or (isotonic and self.temperature != 1):
            raise ValueError("an isotonic calibration has knots and a temperature of 1, another has no knots")
        rises = all(x < u and y <= v for (x, y), (u, v) in pairwise(self.knots))
        if not rises or not all(0 <= value <= 1 for knot in self.knots for value in knot):
            raise ValueError("knots must be in [0, 1] and rise")

    def to_json(self) -> dict[str, Any]:
        """Return it as cards state it: what only an isotonic one has is left out of others."""
        stated = {name: getattr(self, name) for name in Calibration.__slots__}
        if not self.knots:
            del stated["method"], stated["knots"]
        return stated

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> "Calibration":
        """Return what a card states.

        Raises:
            TypeError: Something is missing, or not known to this version.
            ValueError: Something is out of its range.
        """
        knots = tuple((float(raw), float(calibrated)) for raw, calibrated in stated.get("knots", ()))
        return cls(**{**stated, "knots": knots})


@dataclass(frozen=True, slots=True)
class Golden:
    """The score that a model must give to a fixed synthetic input (see `engines.golden`).

    Attributes:
        score: Expected probability of fake in [0, 1], by float32 torch on a CPU.
        tolerance: How far an engine in float32 may be from it.
    """

    score: float
    tolerance: float = 1e-3


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model.

    Attributes:
        path: Relative to the card.
        sha256: Of its content.
        golden: Expected score of the golden input, where rounding makes it another than the card's.
    """

    path: str
    sha256: str
    golden: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as cards state it."""
        stated = {"path": self.path, "sha256": self.sha256}
        return stated if self.golden is None else {**stated, "golden": self.golden}


@dataclass(frozen=True, slots=True)
class Rounding:
    """How far a model's scores in a reduced precision are from those in float32, on the same crops.

    Attributes:
        mean: Mean difference of scores, calibrated where the model is, in [0, 1].
        largest: The largest of them.
        samples: Crops compared.
        data: What these were.
        auc_lost: What of the AUC is lost, below 0 where it gains; None where no labels are known.
    """

    mean: float
    largest: float
    samples: int
    data: str
    auc_lost: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.mean <= self.largest <= 1 or self.samples < 1:
            raise ValueError(
                f"{self.samples} differences of {self.mean} in the mean and {self.largest} at most"
            )

    def to_json(self) -> dict[str, Any]:
        """Return it as cards state it."""
        stated = {name: getattr(self, name) for name in Rounding.__slots__}
        return {name: value for name, value in stated.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Everything a model states about itself.

    Attributes:
        folder: Where its files lie.
        name: Folder name, and what `--model` takes.
        method: Registered detector method, such as `qtfp`; `mtcnn` for the face finder.
        summary: One line for people.
        license: SPDX identifier of the weights.
        files: What a file is for (`onnx`, `torch`, ...) -> the file.
        network: Arguments that rebuild the network: backbone, its configuration, the method's own.
        crop: Crop recipe, None for a model that takes no faces.
        inputs: What is made of a crop before the network: the `kind` of inputs, and its arguments.
        mean: Per RGB channel, of pixels in [0, 1].
        std: Per RGB channel.
        trained: Data, terms, command, seed and date of the training.
        results: Measured figures, each with the data it was measured on.
        calibration: None for a model without one: its verdicts are always inconclusive.
        error_rates: How often its verdicts were wrong on each set of data, the one most like a scan first.
        golden: Expected score of the golden input, None where the model gives no score.
        rounding: Engine and precision (`onnx-int8`, ...) -> how far its scores are from float32's.
        not_for: What it must not be used for.
        source: Of a model that somebody else has published: where it is from, its hash, the publisher's
            threshold, rule and figures; empty for our own.
    """

    folder: Path
    name: str
    method: str
    summary: str
    license: str
    files: Mapping[str, ModelFile]
    network: Mapping[str, Any] = field(default_factory=dict)
    crop: CropRecipe | None = None
    inputs: Mapping[str, Any] = field(default_factory=lambda: {"kind": "crops"})
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    trained: Mapping[str, Any] = field(default_factory=dict)
    results: tuple[Mapping[str, Any], ...] = ()
    calibration: Calibration | None = None
    error_rates: tuple[ErrorRates, ...] = ()
    golden: Golden | None = None
    rounding: Mapping[str, Rounding] = field(default_factory=dict)
    not_for: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    def path(self, kind: str) -> Path:
        """Return the path of the file for that use, its hash verified.

        Raises:
            MissingError: The model has no such file, or the file is not there.
            ContractError: The file is not the one that the card names.
        """
        if kind not in self.files:
            raise MissingError(
                f"model {self.name!r} has no {kind} file",
                f"it has: {', '.join(self.files)}; choose another engine or another model",
            )
        path = self.folder / self.files[kind].path
        if not path.is_file():
            raise MissingError(f"{path} is not there", f"restore the folder of model {self.name!r}")
        if (found := sha256_of(path)) != self.files[kind].sha256:
            raise ContractError(
                f"{path} is not the file that its card names: SHA-256 {found[:12]}..., "
                f"stated {self.files[kind].sha256[:12]}...",
                f"restore the folder of model {self.name!r}",
            )
        return path

    def verify(self) -> None:
        """Check the hash of every file.

        Raises:
            MissingError: A file is not there.
            ContractError: A file is not the one that the card names.
        """
        for kind in self.files:
            self.path(kind)

    @property
    def face_crop(self) -> CropRecipe:
        """Crop recipe of a detector.

        Raises:
            UsageError: The model takes no faces.
        """
        if self.crop is None:
            raise UsageError(f"model {self.name!r} is no detector", "name a detector with --model")
        return self.crop

    def facts(self) -> dict[str, Any]:
        """Return what the record of a run says of the model: name, method, license, file hashes and crop."""
        return {
            "name": self.name,
            "method": self.method,
            "license": self.license,
            "files": {kind: file.sha256 for kind, file in self.files.items()},
            "crop": self.crop.to_json() if self.crop else None,
        }

    def to_yaml(self) -> str:
        """Return the text of the card."""
        stated: dict[str, Any] = {
            "schema": 1,
            "name": self.name,
            "method": self.method,
            "summary": self.summary,
            "license": self.license,
            "files": {kind: file.to_json() for kind, file in self.files.items()},
            "network": dict(self.network),
            "crop": self.crop and self.crop.to_json(),
            "inputs": dict(self.inputs) if self.crop else {},
            "mean": list(self.mean),
            "std": list(self.std),
            "trained": dict(self.trained),
            "results": [dict(result) for result in self.results],
            "calibration": self.calibration and self.calibration.to_json(),
            "error_rates": [each.to_json() for each in self.error_rates],
            "golden": self.golden and {"score": self.golden.score, "tolerance": self.golden.tolerance},
            "rounding": {kind: rounding.to_json() for kind, rounding in self.rounding.items()},
            "not_for": list(self.not_for),
            "source": dict(self.source),
        }
        for name in ("inputs", "error_rates", "rounding", "source"):
            if not stated[name]:
                del stated[name]
        return yaml.safe_dump(stated, sort_keys=False, allow_unicode=True, width=110)


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def embedded_folder() -> Path:
    """Return the folder of the models that come with deepscan, from a wheel or from a checkout.

    Raises:
        MissingError: Neither is there.
    """
    package = Path(__file__).parent
    for folder in (package / "embedded", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise MissingError("the embedded models are not there", reinstall_hint())


def read_card(folder: Path) -> ModelCard:
    """Return the card in a model's folder; `ModelCard.path` verifies each file that is used.

    Raises:
        ContractError: The card cannot be read.
    """
    try:
        stated = yaml.safe_load((folder / CARD).read_text(encoding="utf-8"))
        return _from_stated(folder, stated)
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractError(f"{folder / CARD} is not a model card: {error!r}", "restore the model's folder")


def write_card(card: ModelCard) -> None:
    """Write a card into its folder, whole or not at all.

    Raises:
        DeepscanError: It cannot be written; the one that was there stays.
    """
    with atomic_write(card.folder / CARD) as file:
        file.write(card.to_yaml().encode())


def _from_stated(folder: Path, stated: dict[str, Any]) -> ModelCard:
    if stated["schema"] != 1:
        raise ValueError(f"schema {stated['schema']} is not known to this version")
    return ModelCard(
        folder=folder,
        name=stated["name"],
        method=stated["method"],
        summary=stated["summary"],
        license=stated["license"],
        files={kind: ModelFile(**file) for kind, file in stated["files"].items()},
        network=stated.get("network") or {},
        crop=CropRecipe.from_json(stated["crop"]) if stated.get("crop") else None,
        inputs=stated.get("inputs") or {"kind": "crops"},
        mean=tuple(stated.get("mean", (0.0, 0.0, 0.0))),
        std=tuple(stated.get("std", (1.0, 1.0, 1.0))),
        trained=stated.get("trained") or {},
        results=tuple(stated.get("results") or ()),
        calibration=Calibration.from_json(stated["calibration"]) if stated.get("calibration") else None,
        error_rates=tuple(map(ErrorRates.from_json, stated.get("error_rates") or ())),
        golden=Golden(**stated["golden"]) if stated.get("golden") else None,
        rounding={kind: Rounding(**each) for kind, each in (stated.get("rounding") or {}).items()},
        not_for=tuple(stated.get("not_for") or ()),
        source=stated.get("source") or {},
    )
