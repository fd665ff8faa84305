"""Implementations of an interface, found by name and imported on first use."""

import importlib
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from deepscan.errors import UsageError, choice_hint

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to a class or function that registers itself with a decorator.

    To add an entry, decorate its implementation and add a line to `modules`. A module is imported when its
    entry is first used, so that a scan neither needs nor loads modules that it does not use.

    Args:
        kind: Name of the interface for messages, such as "decoder" or "engine".
        modules: Name of each entry -> module that registers it.
    """

    def __init__(self, kind: str, modules: Mapping[str, str]) -> None:
        self.kind = kind
        self._modules = dict(modules)
        self._entries: dict[str, T] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all entries, in the order of `modules`."""
        return tuple(self._modules)

    def register(self, name: str) -> Callable[[T], T]:
        """Return the decorator that registers its target under `name`.

        Raises:
            ValueError: The name is not in `modules`, or is already registered.
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
        """Return the entry with this name; imports its module on first use.

        Raises:
            UsageError: The name is unknown.
        """
        if name not in self._modules:
            raise UsageError(f"unknown {self.kind} {name!r}", choice_hint(name, self.names))
        if name not in self._entries:
            importlib.import_module(self._modules[name])
        return self._entries[name]
