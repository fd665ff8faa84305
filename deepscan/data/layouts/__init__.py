"""Data sets as their authors lay them out on disk: which video is what, and in which split."""

from typing import TYPE_CHECKING

from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.data.layouts.layout import Layout

#: Name of a data set -> how its files lie.
LAYOUTS: "Registry[Layout]" = Registry("data set", {})
