"""Routing through a backbone's last blocks: which samples leave, and which tokens stay (DFD-HR)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deepscan.backbones.vit import Block, VisionTransformer
from deepscan.detectors.detector import exact
from deepscan.detectors.dfd_hr_adapters import MixtureOfAdapters
from deepscan.detectors.dfd_hr_settings import Settings

#: Keeps Gumbel noise finite.
TINY = 1e-20


class LayerJudge(nn.Module):
    """Says whether a sample needs a block: W2 ReLU(W1 h) + b; it leaves below 0 (DFD-HR, layer pruning).

    Args:
        width: Width D of the tokens.
        hidden: Width between the two matrices, which have no biases.
        bias: Where b begins, None for no b.
    """

    def __init__(self, width: int, hidden: int, bias: float | None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, 1, bias=False)
        self.bias = None if bias is None else nn.Parameter(torch.full((1,), float(bias)))

    def forward(self, h: Tensor) -> Tensor:
        """Return logits, shape (B,), float32, of a vector each, shape (B, D)."""
        with exact(h):
            h = h.to(self.first.weight.dtype)
            logits: Tensor = self.second(torch.relu(self.first(h)))[:, 0].float()
        return logits if self.bias is None else logits + self.bias


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What a token judge said in a block, beside what it should go by.

    Attributes:
        scores: Of each candidate, shape (B, C).
        target: Cosine of each to the global query, detached, shape (B, C).
        active: Whether a sample went through the block, shape (B,), bool.
    """

    scores: Tensor
    target: Tensor
    active: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """A batch's way through a routed backbone.

    Attributes:
        cls: The CLS token after the last block, before the final norm, shape (B, D).
        depth: Blocks that each sample went through, shape (B,), float, detached; with soft gates the sum of
            the gates.
        kept: Which patches each routed block worked on, 1 or 0, shape (B, m, P), float, detached; with soft
            gates times the gate.
        rankings: Of the blocks with a rank loss; none in evaluation.
    """

    cls: Tensor
    depth: Tensor
    kept: Tensor
    rankings: tuple[Ranking, ...]


def decide(logits: Tensor, settings: Settings, training: bool) -> Tensor:
    """Return whether samples stay, shape (B,), float, of their logits (DFD-HR, layer pruning).

    In training the decision of sigmoid((logit + noise) / tau) > 0.5 is passed on with the sigmoid's gradient;
    see `Settings.gumbel` and `Settings.layer_gate` for what else it can be.
    """
    if not training:
        return (logits > 0).to(logits.dtype)
    noise = torch.zeros_like(logits)
    if settings.gumbel != "none":
        noise = _gumbel(logits)
    if settings.gumbel == "logistic":
        noise = noise - _gumbel(logits)
    soft = torch.sigmoid((logits + noise) / settings.gumbel_tau)
    if settings.layer_gate == "blend" and settings.gumbel == "none":
        return soft
    hard = (soft > 0.5).to(soft.dtype)
    # Summed in this order, the value is exactly 0 or 1.
    return hard if settings.layer_gate == "index" else hard + (soft - soft.detach())


def _gumbel(like: Tensor) -> Tensor:
    return -torch.log(-torch.log(torch.rand_like(like) + TINY) + TINY)


def strongest(scores: Tensor, count: int) -> Tensor:
    """Return where the highest scores are, in ascending places, shape (B, count), of (B, C)."""
    places = scores.detach().topk(count, dim=1).indices
    # The sort is a second TopK, of floats and with a count that is known: what TensorRT asks of one.
    return places.float().topk(count, dim=1, largest=False).values.long()


@dataclass(frozen=True, slots=True, eq=False)
class RoutedStep:
    """A routed block that is to run.

    Attributes:
        number: Of the block, from 0.
        block: The block.
        adapters: What its outputs pass through, None for nothing.
        rotary: Of all tokens, as the block takes it.
    """

    number: int
    block: Block
    adapters: tuple[nn.Module, nn.Module] | None
    rotary: Tensor | None


class Branch(nn.Module):
    """Adapters and judges with which a backbone is driven; the backbone itself is not part of it.

    What cannot have a gradient does not require one: judges of blocks that are not routed, layer judges
    whose decisions only index, and token judges whose scores neither weigh tokens nor are ranked softly.

    Args:
        backbone: The backbone, for its sizes.
        settings: The choices.
        judged: Whether there are judges.
        compared: Whether it is given a query in training, and so has a rank loss.
    """

    def __init__(
        self, backbone: VisionTransformer, settings: Settings, *, judged: bool = True, compared: bool = True
    ) -> None:
        super().__init__()
        depth, width = backbone.depth, backbone.width
        self.settings, self.prefix = settings, backbone.prefix
        self.routed, self.ranked = settings.routed_blocks(depth), settings.ranked_blocks(depth)
        self.adapters = nn.ModuleList(
            nn.ModuleList(
                MixtureOfAdapters(
                    width,
                    settings.experts,
                    settings.hidden,
                    settings.act,
                    settings.gate_noise,
                    settings.adapter_init,
                )
                for _ in ("attention", "mlp")
            )
            for _ in range(depth if settings.experts else 0)
        )
        own = [str(number) for number in (range(depth) if settings.all_judges else self.routed)]
        used = {"all", *map(str, self.routed)}
        self.layer_judges, self.token_judges = nn.ModuleDict(), nn.ModuleDict()
        if judged and settings.pruning:
            bias = None if isinstance(settings.judge_bias, str) else settings.judge_bias
            for name in ["all"] if settings.share_layer_judges else own:
                judge = LayerJudge(width, settings.judge_hidden, bias)
                learns = name in used and settings.layer_gate == "blend"
                self.layer_judges[name] = judge.requires_grad_(learns)
        if judged and settings.selection.startswith("learned"):
            for name in ["all"] if settings.share_token_judges else own:
                softly = compared and settings.ranks == "soft"
                ranked = softly and name in {"all", *map(str, self.ranked)}
                learns = name in used and (settings.reweight != "none" or ranked)
                self.token_judges[name] = nn.Linear(width, 1, bias=False).requires_grad_(learns)

    def forward(
        self,
        backbone: VisionTransformer,
        crops: Tensor,
        query: Tensor | None = None,
        *,
        routed: bool = True,
        masked: bool = False,
    ) -> Passage:
        """Return the passage of normalised crops, shape (B, 3, S, S), through the backbone.

        Args:
            backbone: The backbone.
            crops: The crops.
            query: What tokens are compared with, shape (B, D); None for the CLS token of the time, and no
                rankings.
            routed: Whether the judges judge.
            masked: Whether every sample goes through every block, the gates deciding what comes of it;
                otherwise samples that have left are left out, which gives the same and saves the time.
        """
        x, rotary = backbone.embed(crops), backbone.places()
        active = torch.ones(x.shape[0], device=x.device)
        depth = torch.zeros_like(active)
        kept: list[Tensor] = []
        rankings: list[Ranking] = []
        for number, block in enumerate(cast(Iterable[Block], backbone.blocks)):
            if not routed or number not in self.routed:
                x, depth = block(x, rotary, self._adapters(number)), depth + 1
                continue
            step = RoutedStep(number, block, self._adapters(number), rotary)
            if self.settings.pruning:
                seen = x[:, 0] if self.settings.judge_input == "cls" else x.mean(dim=1)
                judge = _of(self.layer_judges, number)
                active = active * decide(judge(seen), self.settings, self.training)
            if masked:
                share = active[:, None, None].to(x.dtype)
                passed, chosen, ranking = self._select(step, x, query, active)
                x, chosen = share * passed + (1 - share) * x, chosen * active[:, None]
                rankings += [ranking] if ranking else []
            else:
                x, chosen = self._thin(step, x, query, active)
            depth, kept = depth + active, [*kept, chosen[:, self.prefix :]]
        patches = kept or [torch.ones_like(x[:, self.prefix :, 0], dtype=torch.float32)] * len(self.routed)
        return Passage(x[:, 0], depth.detach(), torch.stack(patches, dim=1).detach(), tuple(rankings))

    def _thin(
        self, step: RoutedStep, x: Tensor, query: Tensor | None, active: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run a block for the active samples alone; return all tokens, and which ones it worked on."""
        rows = active.nonzero()[:, 0]
        if len(rows) == len(x):
            return self._select(step, x, query, active)[:2]
        chosen = torch.zeros(x.shape[:2], device=x.device)
        if not len(rows):
            return x, chosen
        compared = None if query is None else query[rows]
        passed, worked, _ = self._select(step, x[rows], compared, active[rows])
        return x.index_copy(0, rows, passed.to(x.dtype)), chosen.index_copy(0, rows, worked)

    def _select(
        self, step: RoutedStep, x: Tensor, query: Tensor | None, active: Tensor
    ) -> tuple[Tensor, Tensor, Ranking | None]:
        """Run a block for selected tokens; return all tokens, which ones it worked on, and the ranking."""
        settings, block = self.settings, step.block
        if settings.selection == "none":
            return block(x, step.rotary, step.adapters), torch.ones(x.shape[:2], device=x.device), None
        fixed = 0 if settings.candidates == "all" else self.prefix
        scores, ranking = self._score(step, x, query, active, fixed)
        places = strongest(scores, settings.kept_of(scores.shape[1]))
        weights = 1 + torch.softmax(scores.gather(1, places).float(), dim=1)
        if fixed:
            front = torch.arange(fixed, device=x.device).expand(x.shape[0], -1)
            places = torch.cat((front, places + fixed), dim=1)
            weights = torch.cat((torch.ones_like(front, dtype=weights.dtype), weights), dim=1)
        weights = weights[..., None].to(x.dtype)
        tokens = _gathered(x, places)
        if settings.reweight == "pre":
            tokens = tokens * weights
        rotary = step.rotary
        turned = None if rotary is None else _gathered(rotary.expand(x.shape[0], -1, -1), places)
        tokens = block(tokens, turned, step.adapters)
        if settings.reweight == "post":
            tokens = tokens * weights
        passed = x.scatter(1, places[..., None].expand_as(tokens), tokens.to(x.dtype))
        worked = torch.zeros(x.shape[:2], device=x.device).scatter(1, places, 1.0)
        return passed, worked, ranking

    def _score(
        self, step: RoutedStep, x: Tensor, query: Tensor | None, active: Tensor, fixed: int
    ) -> tuple[Tensor, Ranking | None]:
        """Return the candidates' scores, shape (B, C), and the ranking where the block has a rank loss."""
        if self.settings.selection == "attention":
            return step.block.cls_attention(x, step.rotary)[:, fixed:], None
        judge = _of(self.token_judges, step.number)
        # In half precision a row of scores has many ties, and its ranks mean little.
        with exact(x):
            scores: Tensor = judge(x[:, fixed:].to(judge.weight.dtype))[..., 0].float()
        ranked = self.training and query is not None and step.number in self.ranked
        weighed = self.settings.selection == "learned+weight"
        if not ranked and not weighed:
            return scores, None
        compared = x[:, 0] if query is None else query
        target = F.cosine_similarity(x[:, fixed:].detach(), compared.detach()[:, None], dim=-1)
        ranking = Ranking(scores, target, active.detach() > 0) if ranked else None
        return (scores + target) / 2 if weighed else scores, ranking

    def _adapters(self, number: int) -> tuple[nn.Module, nn.Module] | None:
        if not self.adapters:
            return None
        attention, mlp = cast(nn.ModuleList, self.adapters[number])
        return attention, mlp


def _of(judges: nn.ModuleDict, number: int) -> Any:
    return judges["all" if "all" in judges else str(number)]


def _gathered(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))
