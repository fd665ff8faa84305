"""The training recipe: every choice of a training run, from a YAML file and overrides `key=value`."""

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from deepscan.data.augment import steps_of
from deepscan.detectors import DETECTORS
from deepscan.errors import MissingError, UsageError
from deepscan.faces.recipe import CropRecipe

Optimiser = Literal["adam", "adamw"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "bfloat16"]
Value = str | int | float | bool | list[Any] | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained.

    Attributes:
        method: Registered detector method.
        seed: Of the initial weights, the order of the samples and their augmentation.
        network: What the method builds its network from.
        loss: Settings of the method's loss.
        crop: How faces are cut out; the card states the same for scanning.
        mean: Per RGB channel, of pixels in [0, 1].
        std: Per RGB channel.
        sources: Sources of the data set to train on, all of them where empty.
        terms: Under which terms the data may be used; the card repeats it.
        augment: Named augmentation of the training crops.
        blend: Share of the fakes that are replaced by the pair's real crop blended with itself.
        paired: Whether a batch holds a real and a fake of each of its groups, as far as there are both, and
            varies the two alike.
        optimiser: `adam` or `adamw`.
        lr: Learning rate after the warm-up.
        weight_decay: Of matrices and kernels; biases and norms have none.
        schedule: `constant`, or `cosine` down to zero at the last step.
        warmup: Steps over which the learning rate rises from zero.
        epochs: Passes over the training crops.
        batch: Crops a step, half of them real: an even number.
        clip: Largest norm of the gradient, 0 for no limit.
        ema: Decay a step of the averaged weights, which are then what is validated and kept; 0 for none.
        precision: Of the network's arithmetic in training, `float32` or `bfloat16` (autocast); losses and
            weights are float32 either way.
    """

    method: str
    seed: int
    network: Mapping[str, Any]
    loss: Mapping[str, Any]
    crop: CropRecipe
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    sources: tuple[str, ...]
    terms: str
    augment: str
    blend: float
    paired: bool
    optimiser: Optimiser
    lr: float
    weight_decay: float
    schedule: Schedule
    warmup: int
    epochs: int
    batch: int
    clip: float
    ema: float
    precision: Precision

    def __post_init__(self) -> None:
        for name, allowed in (("optimiser", Optimiser), ("schedule", Schedule), ("precision", Precision)):
            if getattr(self, name) not in get_args(allowed):
                raise UsageError(
                    f"{name} must be one of {', '.join(get_args(allowed))}, not {getattr(self, name)!r}",
                    f"correct {name} in the recipe",
                )
        for name, least in (
            ("seed", 0),
            ("warmup", 0),
            ("epochs", 1),
            ("weight_decay", 0),
            ("clip", 0),
        ):
            if getattr(self, name) < least:
                raise UsageError(
                    f"{name} must be at least {least}, not {getattr(self, name)}", f"raise {name}"
                )
        if not 0 <= self.blend <= 1:
            raise UsageError(f"blend must be in [0, 1], not {self.blend}", "it is a share of the fakes")
        if self.lr <= 0 or not 0 <= self.ema < 1:
            raise UsageError(f"lr {self.lr} or ema {self.ema} is out of range", "lr > 0 and 0 <= ema < 1")
        if self.batch < 2 or self.batch % 2:
            raise UsageError(f"batch must be an even number, not {self.batch}", "half of a batch is real")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UsageError(f"mean {self.mean}, std {self.std}", "give three values each, std above 0")
        steps_of(self.augment)

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as its file states it."""
        stated = {item.name: getattr(self, item.name) for item in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in stated.items()}
        # A copy all through: YAML writes what occurs twice in a card as an anchor and an alias.
        return copy.deepcopy({**plain, "crop": self.crop.to_json()})


def load_recipe(method: str, path: Path | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a file, or the method's own, with values overridden.

    Args:
        method: The method; a recipe of another one is refused.
        path: A recipe file; None for the one that comes with the method. Keys that it leaves out have the
            values of the method's own.
        overrides: `key=value` each, the key dotted where it is nested (`crop.scale=0.8`), the value as YAML.

    Raises:
        UsageError: The method or a key is unknown, or a value is of the wrong kind or out of range.
        MissingError: The file is not there.
    """
    stated = _own(method)
    if path is not None:
        _merge(stated, _read(path), str(path))
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"{override!r} is not key=value", "write for example: lr=0.0005")
        _set(stated, key.strip(), _value(value), "")
    if stated["method"] != method:
        raise UsageError(
            f"the recipe is one of method {stated['method']!r}, not {method!r}",
            f"use --method {stated['method']}",
        )
    try:
        return Recipe(**{**stated, **_typed(stated)})
    except TypeError as error:
        raise UsageError(f"bad recipe: {error}", "correct the recipe")


def _own(method: str) -> dict[str, Any]:
    DETECTORS.get(method)
    resource = files("deepscan.training") / "recipes" / f"{method}.yaml"
    stated: dict[str, Any] = yaml.safe_load(resource.read_text(encoding="utf-8"))
    return stated


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingError(f"there is no recipe {path}", "name a YAML file with --recipe")
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {str(error).splitlines()[0]}", "correct the file")
    if not isinstance(stated, dict):
        raise UsageError(f"{path} is not a recipe", "write key: value lines")
    return stated


def _value(text: str) -> Value:
    try:
        value: Value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"the value {text!r} is not YAML", "quote it for the shell")
    return value


def _merge(stated: dict[str, Any], other: Mapping[str, Any], origin: str) -> None:
    # Another backbone takes other arguments: it replaces the one of the method's own recipe as a whole.
    for key, value in _leaves(other):
        if key.startswith("network.backbone."):
            continue
        _set(stated, key, value, f" in {origin}")
    if backbone := (other.get("network") or {}).get("backbone"):
        stated["network"]["backbone"] = dict(backbone)


def _leaves(stated: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in stated.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _set(stated: dict[str, Any], key: str, value: Value, where: str) -> None:
    known = dict(_leaves(stated))
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from: {', '.join(known)}"
        raise UsageError(f"unknown recipe key {key!r}{where}", hint)
    *parents, name = key.split(".")
    inside = stated
    for parent in parents:
        inside = inside[parent]
    inside[name] = _like(known[key], value, key)


def _like(former: Value, value: Value, key: str) -> Value:
    """Return a value as the kind of the one that it replaces; None stands for any kind."""
    if former is None or value is None:
        return value
    if isinstance(former, float):
        try:
            # YAML 1.1 reads 1e-3 as a string.
            return float(str(value))
        except (TypeError, ValueError):
            raise UsageError(f"{key} is a number, not {value!r}", f"for example {key}={former}")
    if type(value) is not type(former):
        raise UsageError(f"{key} is like {former!r}, not {value!r}", f"for example {key}={former}")
    return value


def _typed(stated: Mapping[str, Any]) -> dict[str, Any]:
    try:
        shift = tuple(stated["crop"].get("shift", (0.0, 0.0)))
        crop = CropRecipe(**{**stated["crop"], "shift": shift})
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad crop recipe: {error}", "correct `crop` in the recipe")
    return {"crop": crop, **{name: tuple(stated[name]) for name in ("mean", "std", "sources")}}
