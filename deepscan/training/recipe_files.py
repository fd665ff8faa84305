"""What recipe files and overrides state, merged: keys checked, with the near one named where one is wrong."""

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
#: What is trained where neither a method nor a recipe is named.
DEFAULT_METHOD = "qtfp"
_ROOT = "common"
#: Keys that may be null, and parts of a recipe whose owners check what is in them.
_NULLABLE = ("mean", "std", "backbone_lr", "crop.resize")
_OPEN = ("network.", "loss.", "inputs.")
_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
#: Parts of a recipe whose keys depend on a name in them: where the name changes, the other keys go.
_NAMED = {"network.backbone": "name", "network.tuning": "type", "inputs": "kind"}


#: Key of a recipe -> what earlier versions called a value of it -> what it is called today.
_RENAMED = {"schedule": {"tail": "wsd"}}


def read_recipe(method: str | None, recipe: Path | str | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what a recipe and its overrides state, every key present.

    Args:
        method: The method whose own recipe fills what a file leaves out; None for the file's, or the default.
        recipe: A file, or the name of a recipe that comes with deepscan; None for the method's own.
        overrides: `key=value` each.

    Raises:
        UsageError: A name or a key is unknown, or a value is of the wrong kind.
        MissingError: The file is not there.
    """
    stated = _recipe(method, recipe)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UsageError(f"{override!r} is not key=value", "write for example: lr=0.0005")
        # A mapping stands for each of its keys: network.tuning={type: lora, rank: 8}.
        _merge(stated, {key.strip(): _value(value)}, "")
    stated = {key: renamed_value(key, value) for key, value in stated.items()}
    lacking = [key for key in ("method", "network", "loss") if not isinstance(stated.get(key), str | dict)]
    if lacking or not (stated["network"].get("backbone") or {}).get("name"):
        raise UsageError(
            f"the recipe states no {lacking[0] if lacking else 'network.backbone.name'}",
            "begin it with base: and the name of a method",
        )
    return stated


def renamed_value(key: str, value: Value) -> Value:
    """Return what a recipe's value is called today, where an earlier version called it otherwise."""
    return _RENAMED.get(key, {}).get(value, value) if isinstance(value, str) else value


def packaged_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with deepscan, but for what others only begin with."""
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
        stated = _packaged(name)
    elif Path(name).is_file():
        stated = _parse(Path(name).read_text(encoding="utf-8"), name)
    else:
        raise MissingError(
            f"there is no recipe {name}", f"name a YAML file, or one of: {', '.join(packaged_recipes())}"
        )
    return _resolved(stated, name, method or stated.get("method") or DEFAULT_METHOD)


def _resolved(own: dict[str, Any], name: str, method: str | None = None) -> dict[str, Any]:
    """Return what a recipe states over its bases; one without a base is laid over a method's own."""
    bases = own.pop("base", None) or method
    if bases == _ROOT:
        # Where a method's keys begin; all later recipes and overrides change values, and add none.
        return _over(_packaged(_ROOT), own)
    first, *others = bases if isinstance(bases, list) else [bases]
    stated = _resolved(_packaged(str(first)), str(first), method if str(first) != method else None)
    for other in others:
        _merge(stated, _packaged(str(other)), f" in {other}")
    _merge(stated, own, f" in {name}")
    return stated


def _packaged(name: str) -> dict[str, Any]:
    if name not in (*packaged_recipes(), _ROOT):
        raise UsageError(f"there is no recipe {name!r}", choice_hint(name, packaged_recipes()))
    text = (files("deepscan.training") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    return _parse(text, name)


def _over(stated: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(stated)
    for key, value in own.items():
        inside = stated.get(key)
        named = _NAMED.get(key)
        both = isinstance(value, Mapping) and isinstance(inside, dict) and not (named and named in value)
        merged[key] = _over(inside, value) if both and inside is not None else value
    return merged


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        stated = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{origin} is not YAML: {str(error).splitlines()[0]}", "correct the file")
    if not isinstance(stated, dict):
        raise UsageError(f"{origin} is not a recipe", "write key: value lines")
    return stated


def _value(text: str) -> Value:
    try:
        value: Value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"the value {text!r} is not YAML", "quote it for the shell")
    return value


def _merge(stated: dict[str, Any], other: Mapping[str, Any], where: str) -> None:
    leaves = dict(leaves_of(other))
    # Names first: the keys beside them are checked against what they name.
    named = [f"{part}.{name}" for part, name in _NAMED.items()]
    for key in sorted(leaves, key=lambda key: key not in named):
        _set(stated, key, leaves[key], where)


def leaves_of(stated: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of nested mappings with the keys that lead to it, dots between them."""
    for name, value in stated.items():
        if isinstance(value, Mapping):
            yield from leaves_of(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _set(stated: dict[str, Any], key: str, value: Value, where: str) -> None:
    *parents, name = key.split(".")
    part = ".".join(parents)
    known = {**_offered(stated), **dict(leaves_of(stated))}
    if key not in known:
        raise UsageError(f"unknown recipe key {key!r}{where}", choice_hint(key, known))
    inside = stated
    for parent in parents:
        inside = inside[parent]
    value = _like(known[key], value, key)
    if _NAMED.get(part) == name and inside.get(name) != value:
        inside.clear()
    inside[name] = value


def _offered(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that the named parts of a recipe take beyond those that it states, None for a value."""
    from deepscan.backbones.tuning import TUNINGS
    from deepscan.detectors.preprocess import PREPROCESSORS

    network = stated.get("network") or {}
    takers: dict[str, tuple[Registry[Any], str | None]] = {
        "network.backbone": (BACKBONES, (network.get("backbone") or {}).get("name")),
        "network.tuning": (TUNINGS, (network.get("tuning") or {}).get("type")),
        "inputs": (PREPROCESSORS, (stated.get("inputs") or {}).get("kind")),
    }
    offered: dict[str, Any] = {}
    for part, (registry, name) in takers.items():
        if name is None:
            continue
        for parameter in inspect.signature(registry.get(name)).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
                offered[f"{part}.{parameter.name}"] = None
    return offered


def _like(former: Value, value: Value, key: str) -> Value:
    """Return a value as the kind of the one that it replaces; None stands for any kind."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value) and not isinstance(former, str):
        # YAML 1.1 reads 1e-3 as a string.
        value = float(value)
    if former is None or (value is None and (key in _NULLABLE or key.startswith(_OPEN))):
        return value
    if value is None:
        raise UsageError(f"{key} is like {former!r}, not null", f"for example {key}={former}")
    if isinstance(former, float):
        try:
            return float(str(value))
        except (TypeError, ValueError):
            raise UsageError(f"{key} is a number, not {value!r}", f"for example {key}={former}")
    if type(value) is not type(former):
        raise UsageError(f"{key} is like {former!r}, not {value!r}", f"for example {key}={former}")
    if isinstance(value, list) and isinstance(former, list) and not key.startswith(_OPEN):
        _check_items(former, value, key)
    return value


def _check_items(former: list[Any], value: list[Any], key: str) -> None:
    number = bool(former) and not isinstance(former[0], str)
    kinds = (int, float) if number else (str,)
    if not all(isinstance(item, kinds) and not isinstance(item, bool) for item in value):
        what = "numbers" if number else "names"
        raise UsageError(f"{key} is a list of {what}, not {value!r}", "write for example: sources=[DFDC]")
