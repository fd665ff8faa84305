"""Frozen dataclasses that are JSON objects: read, written back as they were, described by a JSON Schema."""

import dataclasses
import inspect
import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Self,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from deepscan.errors import ContractError

#: Marks a key that is not written where it has its default: `name: Annotated[str | None, OMIT] = None`.
OMIT = object()


class Limit(NamedTuple):
    """What a schema says about a value beyond its type: `score: Annotated[float, Limit("maximum", 1)]`.

    Attributes:
        keyword: Of JSON Schema.
        value: Its value.
    """

    keyword: str
    value: str | float


_PRIMITIVES: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
    type(None): (type(None),),
}
_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonObject:
    """A JSON object; the attributes of a class have the names of its keys.

    Attributes:
        extra: Keys that this version does not know, with their values as JSON has them; they are kept.
    """

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, given: str | bytes | Mapping[str, Any]) -> Self:
        """Return the object that JSON describes.

        A key that this version does not know is kept in `extra`. A key that earlier versions did not write
        gets its default.

        Args:
            given: The text, or what `json.loads` made of it.

        Raises:
            ContractError: It is not JSON, a key is missing, or a value has another type.
        """
        try:
            data = json.loads(given, parse_constant=_refuse) if isinstance(given, str | bytes) else given
            return cast(Self, _object(cls, data))
        except ValueError as error:
            raise ContractError(
                f"this is not a {cls.__name__}: {error}", "it may be of another version, or damaged"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Return the object as `json.dumps` takes it, its keys in the usual order, then those of `extra`."""
        found = {}
        for name, hint, default in _keys(cast(Any, type(self))):
            value = getattr(self, name)
            if not (_omitted(hint) and value == default):
                found[name] = _plain(value)
        return {**found, **self.extra}


@cache
def _keys(kind: Any) -> tuple[tuple[str, Any, Any], ...]:
    """Return name, type and default of each key of a class."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        (each.name, hints[each.name], each.default)
        for each in dataclasses.fields(kind)
        if each.name != "extra"
    )


def _omitted(hint: Any) -> bool:
    return get_origin(hint) is Annotated and OMIT in get_args(hint)


def _object(kind: Any, data: Any) -> Any:
    if not isinstance(data, Mapping):
        raise ValueError(f"{data!r:.60} is not an object")
    values = {}
    for name, hint, default in _keys(kind):
        if name in data:
            try:
                values[name] = _value(hint, data[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        elif default is MISSING:
            raise ValueError(f"{name} is missing")
    known = {name for name, _, _ in _keys(kind)}
    return kind(**values, extra={name: value for name, value in data.items() if name not in known})


def _value(hint: Any, value: Any) -> Any:
    """Return a JSON value as a key of that type has it: lists become tuples, and objects their classes."""
    if reader := _READERS.get(get_origin(hint)):
        return reader(get_args(hint), value)
    if hint is Any:
        return value
    if hint in _PRIMITIVES:
        allowed = _PRIMITIVES[hint]
        # A bool is an int to Python, and not to JSON.
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise ValueError(f"{value!r:.60} is not of type {_NAMES[hint]}")
        return value
    return _object(hint, value)


def _first_that_fits(kinds: tuple[Any, ...], value: Any) -> Any:
    complaints = []
    for kind in kinds:
        try:
            return _value(kind, value)
        except ValueError as error:
            complaints.append(error)
    raise complaints[0]


def _choice(allowed: tuple[Any, ...], value: Any) -> Any:
    if value not in allowed or isinstance(value, bool):
        raise ValueError(f"{value!r:.60} is not one of {', '.join(map(str, allowed))}")
    return value


def _tuple(kinds: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r:.60} is not of type array")
    if kinds[1:] == (...,):
        return tuple(_value(kinds[0], each) for each in value)
    if len(value) != len(kinds):
        raise ValueError(f"{len(value)} values instead of {len(kinds)}")
    return tuple(map(_value, kinds, value))


def _mapping(kinds: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r:.60} is not an object")
    return {name: _value(kinds[1], each) for name, each in value.items()}


_READERS: Mapping[Any, Callable[[tuple[Any, ...], Any], Any]] = {
    Annotated: lambda kinds, value: _value(kinds[0], value),
    Union: _first_that_fits,
    types.UnionType: _first_that_fits,
    Literal: _choice,
    tuple: _tuple,
    get_origin(Mapping[str, str]): _mapping,
}


def _plain(value: Any) -> Any:
    if isinstance(value, JsonObject):
        return value.to_json()
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return value


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not a number of JSON")


def schema_of(kind: type[JsonObject], title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a class; the descriptions are those of its docstring.

    It requires what this version always writes. Keys that it does not name are allowed.

    Args:
        kind: The class.
        title: Title of the schema.
    """
    definitions: dict[str, Any] = {}
    own = _object_schema(kind, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **own,
        "$defs": dict(sorted(definitions.items())),
    }


def _object_schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    summary, described = documented(kind)
    return {
        "description": summary,
        "type": "object",
        "properties": {
            name: {"description": described[name], **_schema(hint, definitions)}
            for name, hint, _ in _keys(kind)
        },
        "required": [name for name, hint, _ in _keys(kind) if not _omitted(hint)],
    }


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if writer := _SCHEMAS.get(get_origin(hint)):
        return writer(get_args(hint), definitions)
    if hint is Any:
        return {}
    if hint in _NAMES:
        return {"type": _NAMES[hint]}
    if hint.__name__ not in definitions:
        # Named before it is made, in case it has itself in it.
        definitions[hint.__name__] = {}
        definitions[hint.__name__] = _object_schema(hint, definitions)
    return {"$ref": f"#/$defs/{hint.__name__}"}


def _annotated_schema(kinds: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    found = _schema(kinds[0], definitions)
    if OMIT in kinds and get_origin(kinds[0]) in (Union, types.UnionType):
        # A key that is left out is never written as null.
        given = tuple(each for each in get_args(kinds[0]) if each is not type(None))
        found = _schema(given[0], definitions) if len(given) == 1 else _union_schema(given, definitions)
    return found | {each.keyword: each.value for each in kinds[1:] if isinstance(each, Limit)}


def _union_schema(kinds: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    found = [_schema(each, definitions) for each in kinds]
    if len(found) == 2 and found[1] == {"type": "null"} and "type" in found[0]:
        return {**found[0], "type": [found[0]["type"], "null"]}
    return {"anyOf": found}


def _tuple_schema(kinds: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if kinds[1:] == (...,):
        return {"type": "array", "items": _schema(kinds[0], definitions)}
    items = [_schema(each, definitions) for each in kinds]
    return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}


_SCHEMAS: Mapping[Any, Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]] = {
    Annotated: _annotated_schema,
    Union: _union_schema,
    types.UnionType: _union_schema,
    Literal: lambda kinds, definitions: {"enum": list(kinds)},
    tuple: _tuple_schema,
    get_origin(Mapping[str, str]): lambda kinds, definitions: {
        "type": "object",
        "additionalProperties": _schema(kinds[1], definitions),
    },
}


def documented(kind: type) -> tuple[str, dict[str, str]]:
    """Return the summary of a class's docstring, and the description of each attribute, as one line each.

    Args:
        kind: The class. Attributes that it inherits are described where they are defined.
    """
    described: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        name = ""
        # Python 3.13 strips the indentation of docstrings, earlier ones do not.
        for line in inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2].splitlines():
            indent = len(line) - len(line.lstrip())
            if not line.strip() or indent < 4:
                break
            if indent == 4:
                name, _, text = line.strip().partition(": ")
                described[name] = text
            else:
                described[name] += f" {line.strip()}"
    summary = (kind.__doc__ or "").partition("Attributes:\n")[0]
    return " ".join(summary.split()), described
