"""Other people's names of a tower's weights, turned into ours by rules."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from deepscan.errors import ContractError


class Rule:
    """How weights whose name fits a pattern are named here.

    Args:
        pattern: A regular expression that the whole name must match.
        *targets: Our names, with the pattern's groups put in; more than one share the first axis equally.
            None at all: the weights are not needed.
        transposed: Whether the matrix is the other way round.
        optional: Whether a tower may have nothing of that name.
    """

    def __init__(self, pattern: str, *targets: str, transposed: bool = False, optional: bool = False) -> None:
        self.pattern = re.compile(pattern)
        self.targets, self.transposed, self.optional = targets, transposed, optional


def translate(
    weights: Mapping[str, Tensor], rules: Sequence[Rule], tower: nn.Module
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights by our names, and which of the given names no rule fits.

    Args:
        weights: By their publisher's names.
        rules: The first whose pattern fits a name counts.
        tower: The tower that they are for; leading axes of length 1 are added as it has them.
    """
    own = dict(tower.named_parameters())
    translated: dict[str, Tensor] = {}
    left: list[str] = []
    for name, value in weights.items():
        found = next(((rule, match) for rule in rules if (match := rule.pattern.fullmatch(name))), None)
        if found is None:
            left.append(name)
            continue
        rule, match = found
        parts = value.chunk(len(rule.targets)) if len(rule.targets) > 1 else [value][: len(rule.targets)]
        for target, part in zip((match.expand(target) for target in rule.targets), parts, strict=False):
            if target in translated:
                left.append(name)
            elif target in own or not rule.optional:
                translated[target] = _shaped(part.T if rule.transposed else part, own.get(target))
    return translated, left


def _shaped(value: Tensor, own: Tensor | None) -> Tensor:
    if own is not None and own.shape == (1,) * (own.ndim - value.ndim) + value.shape:
        return value.reshape(own.shape)
    return value


def fill(tower: nn.Module, weights: Mapping[str, Tensor], left: Sequence[str], origin: str) -> None:
    """Put weights into a tower, all of them and nothing else.

    Args:
        tower: Whose parameters and statistics are set; what follows from its arguments alone stays.
        weights: By our names.
        left: Names of weights that have no place.
        origin: What they are and for which tower, as the subject of a sentence.

    Raises:
        ContractError: Something is missing, left over, or of another shape.
    """
    own = {**tower.state_dict(), **dict(tower.named_parameters())}
    # Counters, indices and places follow from the arguments; who has them in a file may leave them there.
    derived = {name for name, value in own.items() if not value.is_floating_point() or name == "rotary"}
    missing = [name for name in own if name not in weights and name not in derived]
    left = [*left, *(name for name in weights if name not in own)]
    shaped = [
        f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and value.shape != own[name].shape
    ]
    faults = [
        f"{kind} {', '.join(names[:2])}{f' and {len(names) - 2} more' if len(names) > 2 else ''}"
        for kind, names in (("missing", missing), ("left over", left), ("mis-shaped", shaped))
        if names
    ]
    if faults:
        raise ContractError(
            f"{origin} do not fit: {'; '.join(faults)}",
            "give the weights of that backbone, or correct network.backbone",
        )
    taken = {name: value.float() for name, value in weights.items() if name not in derived}
    tower.load_state_dict({**tower.state_dict(), **taken})
