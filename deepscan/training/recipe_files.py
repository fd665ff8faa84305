"""Read recipe files and overrides, merge them, and check their keys and types."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from deepscan.backbones import BACKBONES
from deepscan.detectors import DETECTORS
from deepscan.errors import MissingError, UsageError, choice_hint
from deepscan.registry import Registry

Value = str | int | float | bool | list[Any] | dict[str, Any] | None
#: Method if neither a method nor a recipe is named.
DEFAULT_METHOD = "qtfp"
_ROOT = "common"
#: Keys that may be null, and parts of a recipe that are checked by the classes that use them.
_NULLABLE = ("mean", "std", "backbone_lr", "crop.resize")
_OPEN = ("network.", "loss.", "inputs.")
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
#: Keys that people change most often, to name first.
_USUAL = ("epochs", "lr", "batch", "seed", "augment")
#: Parts of a recipe whose keys depend on a name: changing the name removes the other keys.
_NAMED = {"network.backbone": "name", "network.tuning": "type", "inputs": "kind"}


#: Key of a recipe -> former value -> current value.
_RENAMED = {"schedule": {"tail": "wsd"}}


def read_recipe(method: str | None, recipe: Path | str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Return all values of a recipe with its overrides, with every key present.

    Args:
        method: Method whose default recipe fills missing keys; None for the file's method, or the default.
        recipe: A file, or the name of a packaged recipe; None for the method's default.
        overrides: `key=value` each.

    Raises:
        UsageError: A name or a key is unknown, or a value has the wrong type.
        MissingError: The file does not exist.
    """
    values = _recipe(method, recipe)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"{override!r} is not key=value", "write for example: lr=0.0005")
        # A mapping overrides each of its keys: network.tuning={type: lora, rank: 8}.
        _merge(values, {key.strip(): _value(value)}, "")
    values = {key: renamed_value(key, value) for key, value in values.items()}
    missing = [key for key in ("method", "network", "loss") if not isinstance(values.get(key), str | dict)]
    if missing or not (values["network"].get("backbone") or {}).get("name"):
        raise UsageError(
            f"the recipe has no {missing[0] if missing else 'network.backbone.name'}",
            "start it with base: and the name of a method",
        )
    return values


def renamed_value(key: str, value: Value) -> Value:
    """Return a value's current name if it was renamed since an earlier version, or else the value."""
    return _RENAMED.get(key, {}).get(value, value) if isinstance(value, str) else value


def packaged_recipes() -> tuple[str, ...]:
    """Return the names of the packaged recipes, without the common base."""
    folder = files("deepscan.training") / "recipes"
    names = (entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return tuple(sorted(name for name in names if name != _ROOT))


def recipe_summaries() -> dict[str, str]:
    """Return the first comment line of each recipe of `packaged_recipes`, which says what it trains."""
    folder = files("deepscan.training") / "recipes"
    return {
        name: (folder / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        for name in packaged_recipes()
    }


def _recipe(method: str | None, recipe: Path | str | None) -> dict[str, Any]:
    if method is not None:
        DETECTORS.get(method)
    name = str(recipe or method or DEFAULT_METHOD)
    if name in packaged_recipes():
        values = _packaged(name)
    elif Path(name).is_file():
        values = _parse(Path(name).read_text(encoding="utf-8"), name)
    else:
        raise MissingError(
            f"recipe {name} does not exist", f"name a YAML file, or one of: {', '.join(packaged_recipes())}"
        )
    return _resolve(values, name, method or values.get("method") or DEFAULT_METHOD)


def _resolve(own: dict[str, Any], name: str, method: str | None = None) -> dict[str, Any]:
    """Return a recipe merged over its bases; one without a base is merged over a method's default recipe."""
    bases = own.pop("base", None) or method
    if bases == _ROOT:
        # A method's default recipe defines its keys; later recipes and overrides only change values.
        return _combine(_packaged(_ROOT), own)
    first, *others = bases if isinstance(bases, list) else [bases]
    values = _resolve(_packaged(str(first)), str(first), method if str(first) != method else None)
    for other in others:
        _merge(values, _packaged(str(other)), f" in {other}")
    _merge(values, own, f" in {name}")
    return values


def _packaged(name: str) -> dict[str, Any]:
    if name not in (*packaged_recipes(), _ROOT):
        raise UsageError(f"unknown recipe {name!r}", choice_hint(name, packaged_recipes()))
    text = (files("deepscan.training") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    return _parse(text, name)


def _combine(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; a new name in a part of `_NAMED` replaces the whole part."""
    merged = dict(base)
    for key, value in own.items():
        former = base.get(key)
        named = _NAMED.get(key)
        both = isinstance(value, Mapping) and isinstance(former, dict) and not (named and named in value)
        merged[key] = _combine(former, value) if both and former is not None else value
    return merged


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{origin} is not valid YAML: {str(error).splitlines()[0]}", "correct the file")
    if not isinstance(values, dict):
        raise UsageError(f"{origin} is not a recipe", "write key: value lines")
    return values


def _value(text: str) -> Value:
    try:
        value: Value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"the value {text!r} is not valid YAML", "quote it for the shell")
    return value


def _merge(values: dict[str, Any], other: Mapping[str, Any], where: str) -> None:
    leaves = dict(leaves_of(other))
    # Names first, because the other keys of their parts depend on them.
    named = [f"{part}.{name}" for part, name in _NAMED.items()]
    for key in sorted(leaves, key=lambda key: key not in named):
        _set(values, key, leaves[key], where)


def leaves_of(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings with their dotted keys."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _set(values: dict[str, Any], key: str, value: Value, where: str) -> None:
    *parents, name = key.split(".")
    part = ".".join(parents)
    allowed = {**_parameters(values), **dict(leaves_of(values))}
    if key not in allowed:
        # A hint shows only the first of many.
        known = [*(name for name in _USUAL if name in allowed), *sorted(allowed, key=lambda k: k.count("."))]
        known = list(dict.fromkeys(known))
        raise UsageError(f"unknown recipe key {key!r}{where}", choice_hint(key, known))
    inner = values
    for parent in parents:
        inner = inner[parent]
    value = _convert(allowed[key], value, key)
    if _NAMED.get(part) == name and inner.get(name) != value:
        inner.clear()
    inner[name] = value


def _parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the dotted keys of the parameters of a recipe's backbone, tuning and inputs, with value None."""
    from deepscan.backbones.tuning import TUNINGS
    from deepscan.detectors.preprocess import PREPROCESSORS

    network = values.get("network") or {}
    named: dict[str, tuple[Registry[Any], str | None]] = {
        "network.backbone": (BACKBONES, (network.get("backbone") or {}).get("name")),
        "network.tuning": (TUNINGS, (network.get("tuning") or {}).get("type")),
        "inputs": (PREPROCESSORS, (values.get("inputs") or {}).get("kind")),
    }
    parameters: dict[str, Any] = {}
    for part, (registry, name) in named.items():
        if name is None:
            continue
        for parameter in inspect.signature(registry.get(name)).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
                parameters[f"{part}.{parameter.name}"] = None
    return parameters


def _convert(former: Value, value: Value, key: str) -> Value:
    """Return a value converted to the type of the one that it replaces; None allows any type."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value) and not isinstance(former, str):
        # YAML 1.1 reads 1e-3 as a string.
        value = float(value)
    if former is None or (value is None and (key in _NULLABLE or key.startswith(_OPEN))):
        return value
    if value is None:
        raise UsageError(f"{key} must not be null", f"write for example: {key}={former}")
    if isinstance(former, float):
        try:
            return float(str(value))
        except (TypeError, ValueError):
            raise UsageError(f"{key} must be a number, not {value!r}", f"write for example: {key}={former}")
    if type(value) is not type(former):
        raise UsageError(
            f"{key} must have the type of {former!r}, not {value!r}", f"write for example: {key}={former}"
        )
    if isinstance(value, list) and isinstance(former, list) and not key.startswith(_OPEN):
        _check_items(former, value, key)
    return value


def _check_items(former: list[Any], value: list[Any], key: str) -> None:
    number = bool(former) and not isinstance(former[0], str)
    kinds = (int, float) if number else (str,)
    if not all(isinstance(item, kinds) and not isinstance(item, bool) for item in value):
        items = "numbers" if number else "names"
        raise UsageError(
            f"{key} must be a list of {items}, not {value!r}", f"write for example: {key}={former}"
        )
