"""What a DFD-HR network is told: its choices, their defaults, and the presets of paper and release."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

#: Blocks counted from the end, -1 being the last, or from 0.
Blocks = Sequence[int]


@dataclass(frozen=True, slots=True)
class Settings:
    """The choices of a `DfdHrNetwork`; the defaults are the paper's form.

    Names in brackets are rows of the paper's tables.

    Attributes:
        split: Whether the four tiles are looked at beside the whole crop (multi-scale fusion); without them
            nothing is shared, pooled or ranked.
        share_branches: Whether tiles and whole crop share adapters and judges (Table B, "w.i. shared"); the
            backbone they always share.
        routed: Branches with judges: `both` (Table B, "Split+Origin") or `split` ("Split"). Adapters are in
            both either way.
        pooling: How the tiles' CLS tokens become one: `query` (a learnt query attends to them) or `self`
            (Table 8, "SA Pooling": they attend to one another, and their mean is taken).
        heads: Attention heads of the pooling, a divisor of the projected width.
        experts: Experts of a mixture of adapters, 0 for no adapters.
        hidden: Width inside an expert.
        act: Activation of an expert; the paper's text has ReLU, its code GELU.
        gate_noise: Whether the experts' gate is noisy in training.
        adapter_init: `zero`: a new network is its backbone; `default`: the released code's.
        hr_blocks: Blocks with judges; the others run for every sample and every token.
        pruning: Whether layer judges let samples leave (early layer pruning).
        layer_gate: In training, what a sample's tokens become after a routed block: `blend`, p Block(H) +
            (1 - p) H, through which the judge learns; `index`, one or the other, and the judge stays as it
            began (the released code).
        gumbel: Noise of the judge's logit in training: `paper`, one Gumbel sample, with which a logit of 0
            stays in 63 % of cases; `logistic`, the difference of two, 50 %; `none`, and no decision either:
            soft in training, hard in evaluation (Table 8, "w.o. Gumbel").
        gumbel_tau: Temperature of the decision.
        judge_input: What a layer judge sees: `cls`, or `mean`, of all tokens (Table 8, "w.i. GAP").
        judge_hidden: Width inside a layer judge.
        judge_bias: Where the learnt bias of a layer judge begins; above 0 a new network is deep. `none`: no
            bias, as in the paper.
        share_layer_judges: Whether one layer judge serves all routed blocks (Table 8, "w.i. Shared").
        all_judges: Whether every block holds judges, though only the routed ones use them; they do not train.
        selection: By what tokens are selected: `learned`, a token judge's score; `learned+weight`, the mean
            of score and cosine to the global query (Table 8, "Learn.+Weight"); `attention`, what the CLS
            token pays in this block (Table 5, "FastV"); `none`, all tokens stay.
        keep: Share of the tokens that a routed block sees, rounded down to a token.
        candidates: `all`, the CLS token being selected like a patch (Table C a, "CLS+Patch"); `patches`,
            CLS token and registers always staying ("Patch").
        reweight: Where the selected tokens are multiplied by 1 + softmax(score): `post`, after the block,
            `pre`, before it (Table C b), `none`.
        share_token_judges: Whether one token judge serves all routed blocks (Table C c, "w.i. shared").
        rank_blocks: Routed blocks with a rank loss, None for all of them.
        ranks: Of the scores in the rank loss: `soft`, or `hard`, which is a constant to the gradient (the
            released code).

    Raises:
        ValueError: A value is not one of those named, or out of range.
    """

    split: bool = True
    share_branches: bool = True
    routed: Literal["both", "split"] = "both"
    pooling: Literal["query", "self"] = "query"
    heads: int = 4
    experts: int = 4
    hidden: int = 256
    act: Literal["gelu", "relu"] = "gelu"
    gate_noise: bool = True
    adapter_init: Literal["zero", "default"] = "zero"
    hr_blocks: Blocks = (-4, -3, -2, -1)
    pruning: bool = True
    layer_gate: Literal["blend", "index"] = "blend"
    gumbel: Literal["paper", "logistic", "none"] = "paper"
    gumbel_tau: float = 1.0
    judge_input: Literal["cls", "mean"] = "cls"
    judge_hidden: int = 64
    judge_bias: float | Literal["none"] = 1.0
    share_layer_judges: bool = False
    all_judges: bool = False
    selection: Literal["learned", "learned+weight", "attention", "none"] = "learned"
    keep: float = 0.75
    candidates: Literal["all", "patches"] = "all"
    reweight: Literal["post", "pre", "none"] = "post"
    share_token_judges: bool = False
    rank_blocks: Blocks | None = None
    ranks: Literal["soft", "hard"] = "soft"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value, hint = getattr(self, item.name), hints[item.name]
            allowed = (True, False) if hint is bool else get_args(hint)
            if (hint is bool or get_origin(hint) is Literal) and value not in allowed:
                raise ValueError(f"{item.name} is one of {', '.join(map(str, allowed))}, not {value!r}")
        if not isinstance(self.judge_bias, int | float) and self.judge_bias != "none":
            raise ValueError(f"judge_bias is a number or none, not {self.judge_bias!r}")
        if not 0 < self.keep <= 1 or self.gumbel_tau <= 0:
            raise ValueError(
                f"keep {self.keep} is not in (0, 1], or gumbel_tau {self.gumbel_tau} not above 0"
            )
        if self.experts < 0 or min(self.heads, self.hidden, self.judge_hidden) < 1:
            raise ValueError("experts is at least 0; heads, hidden and judge_hidden are at least 1")
        if self.routed == "split" and not self.split:
            raise ValueError("with routed: split, only tiles are routed, and split: false has none")

    def routed_blocks(self, depth: int) -> tuple[int, ...]:
        """Return the numbers, from 0, of the routed blocks of a backbone of that depth.

        Raises:
            ValueError: There is no such block, or a block is named twice, or none is.
        """
        return _numbers(self.hr_blocks, depth, "hr_blocks")

    def ranked_blocks(self, depth: int) -> tuple[int, ...]:
        """Return the numbers, from 0, of the blocks with a rank loss.

        Raises:
            ValueError: As for `routed_blocks`, or a block is not routed.
        """
        routed = self.routed_blocks(depth)
        if self.rank_blocks is None:
            return routed
        ranked = _numbers(self.rank_blocks, depth, "rank_blocks")
        if not set(ranked) <= set(routed):
            raise ValueError(f"rank_blocks {list(self.rank_blocks)} are not all among hr_blocks")
        return ranked

    def kept_of(self, candidates: int) -> int:
        """Return how many of that many tokens a routed block sees, at least one."""
        return max(1, int(self.keep * candidates))


#: Name -> what differs from the defaults. The release routes 20 to 22 of 24 blocks and runs the last one for
#: every sample; its layer judges have no gradient, nor has its rank loss.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "release": {
        "gate_noise": False,
        "adapter_init": "default",
        "hr_blocks": (-4, -3, -2),
        "layer_gate": "index",
        "judge_bias": "none",
        "all_judges": True,
        "rank_blocks": (-4,),
        "ranks": "hard",
    },
}


def settings_of(preset: str, stated: Mapping[str, Any]) -> Settings:
    """Return the settings of a preset with those stated put in; None stands for the preset's.

    Raises:
        ValueError: The preset or a value is wrong.
        TypeError: A key is unknown.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is one of {', '.join(PRESETS)}, not {preset!r}")
    given = {name: value for name, value in stated.items() if value is not None}
    return Settings(**{**PRESETS[preset], **given})


def _numbers(blocks: Blocks, depth: int, name: str) -> tuple[int, ...]:
    numbers = sorted(number + depth if number < 0 else number for number in blocks)
    if not numbers or numbers[0] < 0 or numbers[-1] >= depth or len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} {list(blocks)} are not distinct blocks of a backbone of {depth}")
    return tuple(numbers)
