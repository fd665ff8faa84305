"""Settings of a DFD-HR network, their defaults, and the presets of the paper and the released code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

#: Numbers of blocks, from 0, or from the end with -1 for the last.
Blocks = Sequence[int]


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a `DfdHrNetwork`; the defaults are the paper's.

    Names in brackets are rows of the paper's tables.

    Attributes:
        split: Whether the four tiles are used in addition to the whole crop (multi-scale fusion); if not,
            nothing is shared, pooled or ranked.
        share_branches: Whether tiles and whole crop share adapters and judges (Table B, "w.i. shared"); they
            always share the backbone.
        routed: Branches with judges: `both` (Table B, "Split+Origin") or `split` ("Split"). Both always have
            adapters.
        pooling: Pooling of the tiles' CLS tokens: `query` (a learnt query attends to them) or `self` (Table
            8, "SA Pooling": they attend to each other and are averaged).
        heads: Attention heads of the pooling, a divisor of the projected width.
        experts: Number of experts of a mixture of adapters, 0 for no adapters.
        hidden: Width inside an expert.
        act: Activation of an expert; the paper's text has ReLU, its code GELU.
        gate_noise: Whether to add noise to the experts' gate in training.
        adapter_init: `zero`: a new network equals its backbone; `default`: as in the released code.
        hr_blocks: Blocks with judges; the others run for every sample and every token.
        pruning: Whether layer judges let samples exit (early layer pruning).
        layer_gate: A sample's tokens after a routed block in training: `blend`, p Block(H) + (1 - p) H, which
            trains the judge; `index`, one or the other, which leaves the judge untrained (the released code).
        gumbel: Noise on the judge's logit in training: `paper`, one Gumbel sample, with which a logit of 0
            stays in 63 % of cases; `logistic`, the difference of two, 50 %; `none`, no noise and a soft
            decision in training, a hard one in evaluation (Table 8, "w.o. Gumbel").
        gumbel_tau: Temperature of the decision.
        judge_input: Input of a layer judge: `cls`, or the `mean` of all tokens (Table 8, "w.i. GAP").
        judge_hidden: Width inside a layer judge.
        judge_bias: Initial value of a layer judge's learnt bias; above 0 a new network is deep. `none`: no
            bias, as in the paper.
        share_layer_judges: Whether all routed blocks share one layer judge (Table 8, "w.i. Shared").
        all_judges: Whether every block has judges, although only those of routed blocks are used or trained.
        selection: How tokens are selected: `learned`, by a token judge's score; `learned+weight`, by the mean
            of score and cosine to the global query (Table 8, "Learn.+Weight"); `attention`, by the CLS
            token's attention in this block (Table 5, "FastV"); `none`, all tokens stay.
        keep: Share of the tokens that a routed block processes, rounded down.
        candidates: `all`, the CLS token is selected like a patch (Table C a, "CLS+Patch"); `patches`, the CLS
            token and registers always stay ("Patch").
        reweight: When selected tokens are multiplied by 1 + softmax(score): `post`, after the block; `pre`,
            before it (Table C b); `none`.
        share_token_judges: Whether all routed blocks share one token judge (Table C c, "w.i. shared").
        rank_blocks: Routed blocks with a rank loss, None for all of them.
        ranks: Ranks of the scores in the rank loss: `soft`, or `hard`, which have no gradient (the released
            code).

    Raises:
        ValueError: A value is unknown or out of range.
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
                raise ValueError(f"{item.name} must be one of {', '.join(map(str, allowed))}, not {value!r}")
        if not isinstance(self.judge_bias, int | float) and self.judge_bias != "none":
            raise ValueError(f"judge_bias must be a number or none, not {self.judge_bias!r}")
        if not 0 < self.keep <= 1 or self.gumbel_tau <= 0:
            raise ValueError(
                f"keep must be in (0, 1] and gumbel_tau above 0, not {self.keep} and {self.gumbel_tau}"
            )
        if self.experts < 0 or min(self.heads, self.hidden, self.judge_hidden) < 1:
            raise ValueError("experts must be at least 0; heads, hidden and judge_hidden at least 1")
        if self.routed == "split" and not self.split:
            raise ValueError("routed: split routes only tiles, and split: false has no tiles")

    def routed_blocks(self, depth: int) -> tuple[int, ...]:
        """Return the numbers, from 0, of the routed blocks of a backbone of that depth.

        Raises:
            ValueError: A block does not exist or is named twice, or no block is named.
        """
        return _numbers(self.hr_blocks, depth, "hr_blocks")

    def ranked_blocks(self, depth: int) -> tuple[int, ...]:
        """Return the numbers, from 0, of the blocks with a rank loss.

        Raises:
            ValueError: See `routed_blocks`; or a block is not routed.
        """
        routed = self.routed_blocks(depth)
        if self.rank_blocks is None:
            return routed
        ranked = _numbers(self.rank_blocks, depth, "rank_blocks")
        if not set(ranked) <= set(routed):
            raise ValueError(f"rank_blocks must be among hr_blocks, not {list(self.rank_blocks)}")
        return ranked

    def kept_of(self, candidates: int) -> int:
        """Return how many of `candidates` tokens a routed block processes, at least one."""
        return max(1, int(self.keep * candidates))


#: Name of a preset -> settings that differ from the defaults. The release routes blocks 20 to 22 of 24 and
#: runs the last one for every sample; its layer judges and its rank loss have no gradient.
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


def settings_of(preset: str, choices: Mapping[str, Any]) -> Settings:
    """Return a preset's settings with some replaced; a value of None keeps the preset's.

    Raises:
        ValueError: The preset or a value is wrong.
        TypeError: A key is unknown.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
    chosen = {name: value for name, value in choices.items() if value is not None}
    return Settings(**{**PRESETS[preset], **chosen})


def _numbers(blocks: Blocks, depth: int, name: str) -> tuple[int, ...]:
    numbers = sorted(number + depth if number < 0 else number for number in blocks)
    if not numbers or numbers[0] < 0 or numbers[-1] >= depth or len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} must be distinct blocks of a backbone with {depth}, not {list(blocks)}")
    return tuple(numbers)
