"""Analyses of models and trainings, each in a module or package of this room."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from deepscan.errors import UsageError, choice_hint, require
from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.analyses.analysis import Analysis

_HERE = "deepscan.analyses"
#: Name -> analysis.
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
    """Create an analysis from its name and options.

    Args:
        name: The argument of `deepscan analyse`.
        options: Options of the form `key=value`, with values in YAML.

    Raises:
        UsageError: The name, a key or a value is invalid.
        MissingError: torch is not installed.
    """
    import yaml

    if name in ANALYSES.names:
        require(("torch",), "torch", "analysing a model")
    kind = ANALYSES.get(name)
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]  # each is a dataclass
    settings = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or key not in known:
            raise UsageError(f"analysis {name} has no option {option!r}", choice_hint(key, known))
        settings[key] = yaml.safe_load(value)
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise UsageError(f"analysis {name}: {error}", f"its options are: {', '.join(known)}")
