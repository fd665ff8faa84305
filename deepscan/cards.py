"""Model cards: the file next to a model's weights that describes it."""

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
    """Calibration from raw scores to calibrated ones and verdicts.

    Attributes:
        level: Samples of the fit: `frame` or `video`.
        data: Name of the data it was fitted on.
        n: Number of samples.
        rule: Description of how the thresholds were chosen.
        temperature: Divides the logit of a raw score; above 1 it lowers the confidence.
        no_evidence: Calibrated scores below this give the verdict `no_evidence`.
        fake: Calibrated scores of at least this give the verdict `fake`.
        method: `temperature`, or `isotonic`, which has a temperature of 1 and knots.
        knots: Ascending raw scores, each with its calibrated score; interpolated linearly.
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
            raise ValueError(
                "an isotonic calibration needs knots and a temperature of 1; others have no knots"
            )
        ascending = all(x < u and y <= v for (x, y), (u, v) in pairwise(self.knots))
        if not ascending or not all(0 <= value <= 1 for knot in self.knots for value in knot):
            raise ValueError("knots must be in [0, 1] and in ascending order")

    def to_json(self) -> dict[str, Any]:
        """Return its entry in a card; only an isotonic one has method and knots."""
        entry = {name: getattr(self, name) for name in Calibration.__slots__}
        if not self.knots:
            del entry["method"], entry["knots"]
        return entry

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Calibration":
        """Create it from its entry in a card.

        Raises:
            TypeError: A key is missing or unknown.
            ValueError: A value is out of range.
        """
        knots = tuple((float(raw), float(calibrated)) for raw, calibrated in entry.get("knots", ()))
        return cls(**{**entry, "knots": knots})


@dataclass(frozen=True, slots=True)
class Golden:
    """Expected score for a fixed synthetic input, see `engines.golden`.

    Attributes:
        score: Expected probability of fake in [0, 1], from float32 torch on a CPU.
        tolerance: Largest difference for an engine in float32.
    """

    score: float
    tolerance: float = 1e-3


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model.

    Attributes:
        path: Path relative to the card.
        sha256: Hash of its content.
        golden: Expected score for the golden input, if rounding makes it differ from the card's.
    """

    path: str
    sha256: str
    golden: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return its entry in a card."""
        entry = {"path": self.path, "sha256": self.sha256}
        return entry if self.golden is None else {**entry, "golden": self.golden}


@dataclass(frozen=True, slots=True)
class Rounding:
    """Differences of a model's scores in a reduced precision from float32, on the same crops.

    Attributes:
        mean: Mean difference of scores (calibrated if the model is), in [0, 1].
        largest: Largest difference.
        samples: Number of crops compared.
        data: Description of the crops.
        auc_lost: Loss of AUC, negative for a gain; None without labels.
    """

    mean: float
    largest: float
    samples: int
    data: str
    auc_lost: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.mean <= self.largest <= 1 or self.samples < 1:
            raise ValueError(
                f"mean {self.mean}, largest {self.largest} and samples {self.samples} are not possible"
            )

    def to_json(self) -> dict[str, Any]:
        """Return its entry in a card."""
        entry = {name: getattr(self, name) for name in Rounding.__slots__}
        return {name: value for name, value in entry.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Description of a model.

    Attributes:
        folder: Folder of its files.
        name: Name of the folder, for `--model`.
        method: Detection method, such as `qtfp`; `mtcnn` for the face finder.
        summary: One-line description.
        license: SPDX identifier of the weights.
        files: Kind of a file (`onnx`, `torch`, ...) -> the file.
        network: Arguments that rebuild the network: the backbone's and the method's.
        crop: Crop recipe; None if it is not a detector.
        inputs: Preprocessing of a crop: the `kind` of inputs and its arguments.
        mean: Mean per RGB channel, for pixels in [0, 1].
        std: Standard deviation per RGB channel.
        trained: Data, terms, command, seed and date of the training.
        results: Measurements, each with its data.
        calibration: Calibration; without one, verdicts are always inconclusive.
        error_rates: How often its verdicts were wrong on each data set, the one most similar to a scan first.
        golden: Expected score for the golden input; None if it gives no score.
        rounding: Engine and precision (`onnx-int8`, ...) -> difference of its scores from float32.
        not_for: Uses to avoid.
        source: For a model published by others: its origin, hash, and the publisher's threshold, rule and
            results; empty for our own.
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
        """Return the path of a file after checking its hash.

        Raises:
            MissingError: The model has no file of that kind, or the file is missing.
            ContractError: The file's hash differs from the card's.
        """
        if kind not in self.files:
            raise MissingError(
                f"model {self.name!r} has no {kind} file",
                f"it has: {', '.join(self.files)}; choose another engine or another model",
            )
        path = self.folder / self.files[kind].path
        if not path.is_file():
            raise MissingError(f"{path} is missing", f"restore the folder of model {self.name!r}")
        if (actual := sha256_of(path)) != (expected := self.files[kind].sha256):
            raise ContractError(
                f"{path} has changed: its SHA-256 is {actual[:12]}..., not {expected[:12]}... as on its card",
                f"restore the folder of model {self.name!r}",
            )
        return path

    def verify(self) -> None:
        """Check the hash of every file.

        Raises:
            MissingError: A file is missing.
            ContractError: A file's hash differs from the card's.
        """
        for kind in self.files:
            self.path(kind)

    @property
    def face_crop(self) -> CropRecipe:
        """Crop recipe of a detector.

        Raises:
            UsageError: The model is not a detector.
        """
        if self.crop is None:
            raise UsageError(f"model {self.name!r} is not a detector", "name a detector with --model")
        return self.crop

    def facts(self) -> dict[str, Any]:
        """Return the model's entry in a run's record: name, method, license, file hashes and crop."""
        return {
            "name": self.name,
            "method": self.method,
            "license": self.license,
            "files": {kind: file.sha256 for kind, file in self.files.items()},
            "crop": self.crop.to_json() if self.crop else None,
        }

    def to_yaml(self) -> str:
        """Return the text of the card."""
        content: dict[str, Any] = {
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
            "error_rates": [rates.to_json() for rates in self.error_rates],
            "golden": self.golden and {"score": self.golden.score, "tolerance": self.golden.tolerance},
            "rounding": {kind: rounding.to_json() for kind, rounding in self.rounding.items()},
            "not_for": list(self.not_for),
            "source": dict(self.source),
        }
        for name in ("inputs", "error_rates", "rounding", "source"):
            if not content[name]:
                del content[name]
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def embedded_folder() -> Path:
    """Return the folder of the models that come with deepscan, in a wheel or a checkout.

    Raises:
        MissingError: The folder is missing.
    """
    package = Path(__file__).parent
    for folder in (package / "embedded", package.parent / "models"):
        if folder.is_dir():
            return folder
    raise MissingError("the embedded models are missing", reinstall_hint())


def read_card(folder: Path) -> ModelCard:
    """Read the card in a model's folder; `ModelCard.path` checks each file when it is used.

    Raises:
        ContractError: The card cannot be read.
    """
    try:
        return _parse(folder, yaml.safe_load((folder / CARD).read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ContractError(f"{folder / CARD} is not a model card: {error!r}", "restore the model's folder")


def write_card(card: ModelCard) -> None:
    """Write a card into its folder, atomically.

    Raises:
        DeepscanError: It cannot be written; an existing card is kept.
    """
    with atomic_write(card.folder / CARD) as file:
        file.write(card.to_yaml().encode())


def _parse(folder: Path, content: dict[str, Any]) -> ModelCard:
    if content["schema"] != 1:
        raise ValueError(f"schema {content['schema']} is not supported by this version")
    return ModelCard(
        folder=folder,
        name=content["name"],
        method=content["method"],
        summary=content["summary"],
        license=content["license"],
        files={kind: ModelFile(**file) for kind, file in content["files"].items()},
        network=content.get("network") or {},
        crop=CropRecipe.from_json(content["crop"]) if content.get("crop") else None,
        inputs=content.get("inputs") or {"kind": "crops"},
        mean=tuple(content.get("mean", (0.0, 0.0, 0.0))),
        std=tuple(content.get("std", (1.0, 1.0, 1.0))),
        trained=content.get("trained") or {},
        results=tuple(content.get("results") or ()),
        calibration=Calibration.from_json(content["calibration"]) if content.get("calibration") else None,
        error_rates=tuple(map(ErrorRates.from_json, content.get("error_rates") or ())),
        golden=Golden(**content["golden"]) if content.get("golden") else None,
        rounding={kind: Rounding(**entry) for kind, entry in (content.get("rounding") or {}).items()},
        not_for=tuple(content.get("not_for") or ()),
        source=content.get("source") or {},
    )
