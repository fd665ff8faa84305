"""Named implementations behind one interface, found by name and imported on first use."""

import importlib
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from deepscan.errors import UsageError, choice_hint

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to a class or function that registers itself with a decorator.

    Adding an entry is one file that decorates its implementation and one line in `modules`. No module is
    imported before its entry is asked for, so that a scan never pays for (or needs) what it does not use.

    Args:
        kind: What the entries are, for messages: "decoder", "engine".
        modules: Name of each entry -> the module that registers it.
    """

    def __init__(self, kind: str, modules: Mapping[str, str]) -> None:
        self.kind = kind
        self._modules = dict(modules)
        self._entries: dict[str, T] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names on offer, in the order in which they were listed."""
        return tuple(self._modules)

    def register(self, name: str) -> Callable[[T], T]:
        """Return the decorator that files its target under `name`.

        Raises:
            ValueError: The name is not listed, or is already taken by another object.
        """

        def decorate(entry: T) -> T:
            if name not in self._modules:
                raise ValueError(f"{self.kind} {name!r} is not listed in its registry")
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return decorate

    def get(self, name: str) -> T:
        """Return the entry of that name, importing its module if need be.

        Raises:
            UsageError: There is no such entry.
        """
        if name not in self._modules:
            raise UsageError(f"unknown {self.kind} {name!r}", choice_hint(name, self.names))
        if name not in self._entries:
            importlib.import_module(self._modules[name])
        return self._entries[name]
