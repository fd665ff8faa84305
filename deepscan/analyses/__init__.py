"""Analyses of models, one module or package each: what a detector looks at, and what training did."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from deepscan.errors import UsageError, choice_hint, require
from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.analyses.analysis import Analysis

_HERE = "deepscan.analyses"
#: Name -> what looks.
ANALYSES: "Registry[type[Analysis]]" = Registry(
    "analysis",
    {
        "attention": f"{_HERE}.attention.analysis",
        "collapse": f"{_HERE}.collapse.analysis",
        "landscape": f"{_HERE}.landscape.analysis",
        "stability": f"{_HERE}.stability",
        "routing": f"{_HERE}.routing.analysis",
        "weights": f"{_HERE}.weights",
        "cost": f"{_HERE}.cost.analysis",
    },
)


def make_analysis(name: str, options: Sequence[str]) -> "Analysis":
    """Return an analysis with its options.

    Args:
        name: As `deepscan analyse` takes it.
        options: `key=value` each, the value as YAML.

    Raises:
        UsageError: The name, a key or a value is wrong.
        MissingError: Torch is not installed.
    """
    import yaml

    if name in ANALYSES.names:
        require(("torch",), "torch", "looking into a model")
    kind = ANALYSES.get(name)
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]  # each is a dataclass
    stated = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in known:
            raise UsageError(f"analysis {name} has no option {option!r}", choice_hint(key, known))
        stated[key] = yaml.safe_load(value)
    try:
        return kind(**stated)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad options of analysis {name}: {error}", "correct them")
