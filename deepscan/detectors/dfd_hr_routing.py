"""Routing in a backbone's last blocks: which samples exit early, and which tokens stay (DFD-HR)."""

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

#: Added inside logarithms to keep Gumbel noise finite.
TINY = 1e-20


class LayerJudge(nn.Module):
    """Decides whether a sample stays: W2 ReLU(W1 h) + b; it exits below 0 (DFD-HR, layer pruning).

    Args:
        width: Width D of the tokens.
        hidden: Width between the two matrices, which have no biases.
        bias: Initial value of b; None for no b.
    """

    def __init__(self, width: int, hidden: int, bias: float | None) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, hidden, bias=False), nn.Linear(hidden, 1, bias=False)
        self.bias = None if bias is None else nn.Parameter(torch.full((1,), float(bias)))

    def forward(self, h: Tensor) -> Tensor:
        """Return one logit for each vector (B, D): shape (B,), float32."""
        with exact(h):
            h = h.to(self.first.weight.dtype)
            logits: Tensor = self.second(torch.relu(self.first(h)))[:, 0].float()
        return logits if self.bias is None else logits + self.bias


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """A token judge's scores in a block, and their target.

    Attributes:
        scores: Score of each candidate, shape (B, C).
        target: Cosine of each candidate to the global query, detached, shape (B, C).
        active: Whether each sample passed the block, shape (B,), bool.
    """

    scores: Tensor
    target: Tensor
    active: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class RoutedOutput:
    """Output of a `Branch`.

    Attributes:
        cls: The CLS token after the last block, before the final norm, shape (B, D).
        depth: Number of blocks that each sample passed, shape (B,), float, detached; with soft gates the sum
            of the gates.
        kept: Patches that each routed block processed, 1 or 0, shape (B, m, P), float, detached; with soft
            gates multiplied by the gate.
        rankings: Rankings of the blocks with a rank loss; empty in evaluation.
    """

    cls: Tensor
    depth: Tensor
    kept: Tensor
    rankings: tuple[Ranking, ...]


def decide(logits: Tensor, settings: Settings, training: bool) -> Tensor:
    """Decide from their logits (B,) which samples stay, shape (B,), float (DFD-HR, layer pruning).

    In training the decision sigmoid((logit + noise) / tau) > 0.5 gets the sigmoid's gradient; see
    `Settings.gumbel` and `Settings.layer_gate` for the alternatives.
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


def _gumbel(tensor: Tensor) -> Tensor:
    return -torch.log(-torch.log(torch.rand_like(tensor) + TINY) + TINY)


def top_indices(scores: Tensor, count: int) -> Tensor:
    """Return the indices of the highest of scores (B, C), in ascending order, shape (B, count)."""
    indices = scores.detach().topk(count, dim=1).indices
    # Sorted by a second TopK on floats with a constant count, which TensorRT supports.
    return indices.float().topk(count, dim=1, largest=False).values.long()


@dataclass(frozen=True, slots=True, eq=False)
class RoutedStep:
    """A routed block and its arguments.

    Attributes:
        number: Number of the block, from 0.
        block: The block.
        adapters: Adapters of its outputs; None for none.
        rotary: Rotary table of all tokens.
    """

    number: int
    block: Block
    adapters: tuple[nn.Module, nn.Module] | None
    rotary: Tensor | None


class Branch(nn.Module):
    """Adapters and judges of a backbone, without the backbone itself.

    Parameters that cannot get a gradient do not require one: judges of blocks that are not routed, layer
    judges whose decisions only index, and token judges whose scores neither weight tokens nor are ranked
    softly.

    Args:
        backbone: The backbone, for its sizes.
        settings: The network's settings.
        judged: Whether the branch has judges.
        compared: Whether the branch gets a query in training, and so has a rank loss.
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
                trains = name in used and settings.layer_gate == "blend"
                self.layer_judges[name] = judge.requires_grad_(trains)
        if judged and settings.selection.startswith("learned"):
            for name in ["all"] if settings.share_token_judges else own:
                soft = compared and settings.ranks == "soft"
                ranked = soft and name in {"all", *map(str, self.ranked)}
                trains = name in used and (settings.reweight != "none" or ranked)
                self.token_judges[name] = nn.Linear(width, 1, bias=False).requires_grad_(trains)

    def forward(
        self,
        backbone: VisionTransformer,
        crops: Tensor,
        query: Tensor | None = None,
        *,
        routed: bool = True,
        masked: bool = False,
    ) -> RoutedOutput:
        """Run normalised crops (B, 3, S, S) through the backbone.

        Args:
            backbone: The backbone.
            crops: The crops.
            query: Vector that tokens are compared with, shape (B, D); None for the current CLS token, without
                rankings.
            routed: Whether the judges are used.
            masked: Whether every sample passes every block and the gates blend its output. Otherwise exited
                samples are skipped, with the same result in less time.
        """
        x, rotary = backbone.embed(crops), backbone.rotary_table()
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
                judged = x[:, 0] if self.settings.judge_input == "cls" else x.mean(dim=1)
                judge = _judge_of(self.layer_judges, number)
                active = active * decide(judge(judged), self.settings, self.training)
            if masked:
                gate = active[:, None, None].to(x.dtype)
                updated, processed, ranking = self._run_selected(step, x, query, active)
                x, processed = gate * updated + (1 - gate) * x, processed * active[:, None]
                rankings += [ranking] if ranking else []
            else:
                x, processed = self._run_active(step, x, query, active)
            depth, kept = depth + active, [*kept, processed[:, self.prefix :]]
        patches = kept or [torch.ones_like(x[:, self.prefix :, 0], dtype=torch.float32)] * len(self.routed)
        return RoutedOutput(x[:, 0], depth.detach(), torch.stack(patches, dim=1).detach(), tuple(rankings))

    def _run_active(
        self, step: RoutedStep, x: Tensor, query: Tensor | None, active: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run a block for the active samples only; return all tokens, and which of them it processed."""
        rows = active.nonzero()[:, 0]
        if len(rows) == len(x):
            return self._run_selected(step, x, query, active)[:2]
        processed = torch.zeros(x.shape[:2], device=x.device)
        if not len(rows):
            return x, processed
        own_query = None if query is None else query[rows]
        updated, selected, _ = self._run_selected(step, x[rows], own_query, active[rows])
        return x.index_copy(0, rows, updated.to(x.dtype)), processed.index_copy(0, rows, selected)

    def _run_selected(
        self, step: RoutedStep, x: Tensor, query: Tensor | None, active: Tensor
    ) -> tuple[Tensor, Tensor, Ranking | None]:
        """Run a block for selected tokens; return all tokens, which of them it processed, and the ranking."""
        settings, block = self.settings, step.block
        if settings.selection == "none":
            return block(x, step.rotary, step.adapters), torch.ones(x.shape[:2], device=x.device), None
        fixed = 0 if settings.candidates == "all" else self.prefix
        scores, ranking = self._score(step, x, query, active, fixed)
        indices = top_indices(scores, settings.kept_of(scores.shape[1]))
        weights = 1 + torch.softmax(scores.gather(1, indices).float(), dim=1)
        if fixed:
            front = torch.arange(fixed, device=x.device).expand(x.shape[0], -1)
            indices = torch.cat((front, indices + fixed), dim=1)
            weights = torch.cat((torch.ones_like(front, dtype=weights.dtype), weights), dim=1)
        weights = weights[..., None].to(x.dtype)
        tokens = _gather(x, indices)
        if settings.reweight == "pre":
            tokens = tokens * weights
        rotary = step.rotary
        own_rotary = None if rotary is None else _gather(rotary.expand(x.shape[0], -1, -1), indices)
        tokens = block(tokens, own_rotary, step.adapters)
        if settings.reweight == "post":
            tokens = tokens * weights
        updated = x.scatter(1, indices[..., None].expand_as(tokens), tokens.to(x.dtype))
        processed = torch.zeros(x.shape[:2], device=x.device).scatter(1, indices, 1.0)
        return updated, processed, ranking

    def _score(
        self, step: RoutedStep, x: Tensor, query: Tensor | None, active: Tensor, fixed: int
    ) -> tuple[Tensor, Ranking | None]:
        """Return the candidates' scores, shape (B, C), and the ranking if the block has a rank loss."""
        if self.settings.selection == "attention":
            return step.block.cls_attention(x, step.rotary)[:, fixed:], None
        judge = _judge_of(self.token_judges, step.number)
        # In half precision many scores tie, which makes their ranks meaningless.
        with exact(x):
            scores: Tensor = judge(x[:, fixed:].to(judge.weight.dtype))[..., 0].float()
        ranked = self.training and query is not None and step.number in self.ranked
        averaged = self.settings.selection == "learned+weight"
        if not ranked and not averaged:
            return scores, None
        reference = x[:, 0] if query is None else query
        target = F.cosine_similarity(x[:, fixed:].detach(), reference.detach()[:, None], dim=-1)
        ranking = Ranking(scores, target, active.detach() > 0) if ranked else None
        return (scores + target) / 2 if averaged else scores, ranking

    def _adapters(self, number: int) -> tuple[nn.Module, nn.Module] | None:
        if not self.adapters:
            return None
        attention, mlp = cast(nn.ModuleList, self.adapters[number])
        return attention, mlp


def _judge_of(judges: nn.ModuleDict, number: int) -> Any:
    return judges["all" if "all" in judges else str(number)]


def _gather(x: Tensor, indices: Tensor) -> Tensor:
    return x.gather(1, indices[..., None].expand(-1, -1, x.shape[2]))
