"""Other people's names of weights, turned into ours by rules."""

import copy
import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from deepscan.errors import ContractError


class Rule:
    """How weights whose name fits a pattern are named here.

    Args:
        pattern: A regular expression that the whole name must match.
        *targets: Our names, with the pattern's groups put in; more than one share the first axis equally.
            None at all: the weights are not needed.
        transposed: Whether the matrix is the other way round.
        optional: Whether a backbone may have nothing of that name.
        part: Number of the pattern's group, whole numbers, by which weights that are apart there are put
            together here, along a new first axis; 0 where they are not.
        joined: Whether that axis and the next are one here.
    """

    def __init__(
        self,
        pattern: str,
        *targets: str,
        transposed: bool = False,
        optional: bool = False,
        part: int = 0,
        joined: bool = False,
    ) -> None:
        self.pattern = re.compile(pattern)
        self.targets, self.transposed, self.optional = targets, transposed, optional
        self.part, self.joined = part, joined

    def within(self, theirs: str, ours: str) -> "Rule":
        """Return the rule for weights under another name: a pattern before theirs, a prefix before ours."""
        inner = copy.copy(self)
        inner.pattern = re.compile(f"{theirs}(?:{self.pattern.pattern})")
        inner.targets = tuple(f"{ours}{target}" for target in self.targets)
        return inner


def translate(
    weights: Mapping[str, Tensor], rules: Sequence[Rule], backbone: nn.Module
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights by our names, and which of the given names no rule fits.

    Args:
        weights: By their publisher's names.
        rules: The first whose pattern fits a name counts.
        backbone: The backbone that they are for; leading axes of length 1 are added as it has them.
    """
    own = dict(backbone.named_parameters())
    renamed, left = rename(weights, rules, own)
    return {name: shaped(value, own.get(name)) for name, value in renamed.items()}, left


def rename(
    weights: Mapping[str, Tensor], rules: Sequence[Rule], own: Collection[str] | None = None
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights by our names, in the shapes that they have, and which of the given names no rule fits.

    Args:
        weights: By their publisher's names.
        rules: The first whose pattern fits a name counts.
        own: What there is here, so that the optional can be left out; None for all that rules name.
    """
    renamed: dict[str, Tensor] = {}
    parts: dict[str, tuple[Rule, dict[int, Tensor]]] = {}
    left: list[str] = []
    for name, value in weights.items():
        found = next(((rule, match) for rule in rules if (match := rule.pattern.fullmatch(name))), None)
        if found is None:
            left.append(name)
            continue
        rule, match = found
        pieces = value.chunk(len(rule.targets)) if len(rule.targets) > 1 else [value][: len(rule.targets)]
        for target, piece in zip((match.expand(target) for target in rule.targets), pieces, strict=False):
            turned = piece.T if rule.transposed else piece
            if rule.part:
                parts.setdefault(target, (rule, {}))[1][int(match[rule.part])] = turned
            elif target in renamed:
                left.append(name)
            elif own is None or target in own or not rule.optional:
                renamed[target] = turned
    for target, (rule, numbered) in parts.items():
        together = torch.stack([numbered[number] for number in sorted(numbered)])
        renamed[target] = together.flatten(0, 1) if rule.joined else together
    return renamed, left


def shaped(value: Tensor, own: Tensor | None) -> Tensor:
    """Return weights with as many axes as ours have, the first of them of length 1."""
    return value if own is None else value.reshape((1,) * (own.ndim - value.ndim) + value.shape)


def fill(
    backbone: nn.Module,
    weights: Mapping[str, Tensor],
    left: Sequence[str],
    origin: str,
    *,
    listed: int = 2,
    assign: bool = False,
    hint: str = "give the weights of that backbone, or correct network.backbone",
) -> None:
    """Put weights into a backbone or a network, all of them and nothing else.

    Args:
        backbone: Whose parameters and statistics are set; what follows from its arguments alone stays.
        weights: By our names.
        left: Names of weights that have no place.
        origin: What they are and for which backbone, as the subject of a sentence.
        listed: How many of each kind of fault are named.
        assign: Whether the weights are taken over as they lie in memory, or copied.
        hint: What to do where they do not fit.

    Raises:
        ContractError: Something is missing, left over, or of another shape.
    """
    own = {**backbone.state_dict(), **dict(backbone.named_parameters())}
    # Counters, indices and places follow from the arguments; who has them in a file may leave them there.
    derived = {
        name
        for name, value in own.items()
        if not value.is_floating_point() or name.rpartition(".")[2] == "rotary"
    }
    missing = [name for name in own if name not in weights and name not in derived]
    left = [*left, *(name for name in weights if name not in own)]
    misshaped = [
        f"{name} {tuple(value.shape)} for {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and value.shape != own[name].shape
    ]
    faults = [
        f"{kind} {', '.join(names[:listed])}{f' and {len(names) - listed} more' if names[listed:] else ''}"
        for kind, names in (("missing", missing), ("left over", left), ("mis-shaped", misshaped))
        if names
    ]
    if faults:
        raise ContractError(f"{origin} do not fit: {'; '.join(faults)}", hint)
    taken = {name: value.float().contiguous() for name, value in weights.items() if name not in derived}
    backbone.load_state_dict({**backbone.state_dict(), **taken}, assign=assign)
