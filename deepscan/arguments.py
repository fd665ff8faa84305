"""Check the types of arguments of the Python API: no type checker has seen those of a notebook."""

import operator
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Real

from deepscan.errors import UsageError

#: Path of a file or folder; bytes as the operating system has them.
AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


DEFAULT = "leave it out for its default"
_PATH = "a path (str, bytes or pathlib.Path)"


def wrong_type(name: str, wanted: str, value: object, hint: str = DEFAULT) -> UsageError:
    """Return the error for an argument of another type.

    Args:
        name: The argument.
        wanted: What it must be, such as `a whole number`.
        value: What it is.
        hint: How to correct it.
    """
    shown = "None" if value is None else f"{value!r} ({type(value).__name__})"
    if len(shown) > 80:
        shown = f"an object of type {type(value).__name__}"
    return UsageError(f"{name} must be {wanted}, not {shown}", hint)


def whole_number(name: str, value: object) -> int:
    """Return an argument that is a whole number, of numpy too.

    Raises:
        UsageError: It is none.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise wrong_type(name, "a whole number", value) from None


def number(name: str, value: object) -> float:
    """Return an argument that is a number, of numpy too.

    Raises:
        UsageError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise wrong_type(name, "a number", value)
    return float(value)


def flag(name: str, value: object) -> bool:
    """Return an argument that is `True` or `False`.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(value, bool):
        raise wrong_type(name, "True or False", value)
    return value


def strings(**values: object) -> None:
    """Check that arguments are strings.

    Args:
        values: Name -> value.

    Raises:
        UsageError: One is none.
    """
    for name, value in values.items():
        if not isinstance(value, str):
            raise wrong_type(name, "a string", value)


def path(name: str, value: object) -> str:
    """Return an argument that is a path, as a str; undecodable bytes become surrogates.

    Raises:
        UsageError: It is none.
    """
    if not isinstance(value, str | bytes | os.PathLike):
        raise wrong_type(name, _PATH, value, "name a file or folder, such as 'videos'")
    return os.fsdecode(value)


def paths(name: str, value: object) -> list[str]:
    """Return an argument that is a path or an iterable of paths, each as a str.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(value, str | bytes | os.PathLike):
        return [path(name, value)]
    wanted = f"{_PATH} or several"
    if hasattr(value, "read"):
        raise wrong_type(name, wanted, value, "pass the name of the file")
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise wrong_type(name, wanted, value, "name files and folders, such as ['a.mp4', 'videos']")
    return [path(f"{name}[{at}]", each) for at, each in enumerate(value)]


def progress(name: str, value: object) -> bool | Callable[[int, int], None]:
    """Return an argument that is `True`, `False` or a function.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(value, bool) and not callable(value):
        raise wrong_type(name, "True, False or a function that takes (done, total)", value)
    return value
