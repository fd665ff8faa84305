"""Rules that translate publishers' weight names into ours."""

import copy
import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from deepscan.errors import ContractError


class Rule:
    """Our names for the weights whose names match a pattern.

    Args:
        pattern: A regular expression that must match the whole name.
        *targets: Templates of our names, with the pattern's groups; several split the first axis equally.
            Without any, the weights are dropped.
        transposed: Whether to transpose the matrix.
        optional: Whether the weights are dropped if the backbone has no such parameter.
        part: Number of the pattern's group, an integer, by which separate weights are stacked along a new
            first axis; 0 for no stacking.
        joined: Whether to flatten that axis into the next.
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
        """Return the rule with a pattern before the publisher's name and a prefix before ours."""
        inner = copy.copy(self)
        inner.pattern = re.compile(f"{theirs}(?:{self.pattern.pattern})")
        inner.targets = tuple(f"{ours}{target}" for target in self.targets)
        return inner


def translate(
    weights: Mapping[str, Tensor], rules: Sequence[Rule], backbone: nn.Module
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights by our names and in our shapes, and the names that no rule matches.

    Args:
        weights: Weights by their publisher's names.
        rules: Tried in order; the first that matches is used.
        backbone: The backbone to fill; leading axes of length 1 are added where its parameters have them.
    """
    own = dict(backbone.named_parameters())
    renamed, left = rename(weights, rules, own)
    return {name: shaped(value, own.get(name)) for name, value in renamed.items()}, left


def rename(
    weights: Mapping[str, Tensor], rules: Sequence[Rule], own: Collection[str] | None = None
) -> tuple[dict[str, Tensor], list[str]]:
    """Return weights by our names in the publisher's shapes, and the names that no rule matches.

    Args:
        weights: Weights by their publisher's names.
        rules: Tried in order; the first that matches is used.
        own: Names of our parameters, to drop optional weights that are not among them; None to keep all.
    """
    renamed: dict[str, Tensor] = {}
    parts: dict[str, tuple[Rule, dict[int, Tensor]]] = {}
    left: list[str] = []
    for name, value in weights.items():
        matched = next(((rule, match) for rule in rules if (match := rule.pattern.fullmatch(name))), None)
        if matched is None:
            left.append(name)
            continue
        rule, match = matched
        pieces = value.chunk(len(rule.targets)) if len(rule.targets) > 1 else [value][: len(rule.targets)]
        for target, piece in zip((match.expand(target) for target in rule.targets), pieces, strict=False):
            oriented = piece.T if rule.transposed else piece
            if rule.part:
                parts.setdefault(target, (rule, {}))[1][int(match[rule.part])] = oriented
            elif target in renamed:
                left.append(name)
            elif own is None or target in own or not rule.optional:
                renamed[target] = oriented
    for target, (rule, numbered) in parts.items():
        stacked = torch.stack([numbered[number] for number in sorted(numbered)])
        renamed[target] = stacked.flatten(0, 1) if rule.joined else stacked
    return renamed, left


def shaped(value: Tensor, own: Tensor | None) -> Tensor:
    """Return weights with as many axes as our parameter, by adding leading axes of length 1."""
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
    """Load weights into a backbone or a network; they must match it exactly.

    Args:
        backbone: The module whose parameters and statistics are set; buffers that follow from its arguments
            are kept.
        weights: Weights by our names.
        left: Names of weights that no rule matched.
        origin: The weights and the backbone they are for; the subject of the message.
        listed: Number of names listed for each kind of mismatch.
        assign: Whether to use the tensors themselves rather than copies.
        hint: What to do if they do not match.

    Raises:
        ContractError: Weights are missing, left over or of another shape.
    """
    own = {**backbone.state_dict(), **dict(backbone.named_parameters())}
    # Counters, indices and rotary tables follow from the arguments; a file may contain them.
    derived = {
        name
        for name, value in own.items()
        if not value.is_floating_point() or name.rpartition(".")[2] == "rotary"
    }
    missing = [name for name in own if name not in weights and name not in derived]
    left = [*left, *(name for name in weights if name not in own)]
    misshaped = [
        f"{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}"
        for name, value in weights.items()
        if name in own and value.shape != own[name].shape
    ]
    mismatches = [
        f"{kind} {', '.join(names[:listed])}{f' and {len(names) - listed} more' if names[listed:] else ''}"
        for kind, names in (("missing", missing), ("left over", left), ("wrong shape", misshaped))
        if names
    ]
    if mismatches:
        raise ContractError(f"{origin} do not match: {'; '.join(mismatches)}", hint)
    loaded = {name: value.float().contiguous() for name, value in weights.items() if name not in derived}
    backbone.load_state_dict({**backbone.state_dict(), **loaded}, assign=assign)
