"""Small files in each layout on CLIP's backbones, and each publisher's forward pass in plain torch.

Written from the published layouts only: nothing here calls deepscan.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH, HEADS, DEPTH, HIDDEN, PROJECTED, GRID = 128, 2, 3, 96, 48, 3
SIDE = {14: 14 * GRID, 16: 224}
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF_MEAN, HALF_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Drawn:
    """Draws random weights from a seed."""

    generator: torch.Generator

    def __call__(self, *shape: int, scale: float = 0.3, centre: float = 0.0) -> Tensor:
        return torch.randn(*shape, generator=self.generator) * scale + centre

    def linear(self, name: str, outputs: int, inputs: int, *, bias: bool = True) -> Weights:
        weights = {f"{name}.weight": self(outputs, inputs, scale=inputs**-0.5)}
        return {**weights, f"{name}.bias": self(outputs)} if bias else weights

    def norm(self, name: str) -> Weights:
        return {f"{name}.weight": self(WIDTH, centre=1.0), f"{name}.bias": self(WIDTH)}


def draw(seed: int = 0) -> Drawn:
    return Drawn(torch.Generator().manual_seed(seed))


def clip_backbone(new: Drawn, prefix: str = "", depth: int = 0) -> Weights:
    """A backbone as named by transformers."""
    weights = {
        "embeddings.class_embedding": new(WIDTH),
        "embeddings.patch_embedding.weight": new(WIDTH, 3, 14, 14, scale=0.05),
        "embeddings.position_embedding.weight": new(GRID**2 + 1, WIDTH),
        **new.norm("pre_layrnorm"),
        **new.norm("post_layernorm"),
    }
    for index in range(depth or DEPTH):
        layer = f"encoder.layers.{index}"
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            weights |= new.linear(f"{layer}.self_attn.{name}", WIDTH, WIDTH)
        weights |= new.norm(f"{layer}.layer_norm1") | new.norm(f"{layer}.layer_norm2")
        weights |= new.linear(f"{layer}.mlp.fc1", HIDDEN, WIDTH)
        weights |= new.linear(f"{layer}.mlp.fc2", WIDTH, HIDDEN)
    return {prefix + name: value for name, value in weights.items()}


def part(weights: Weights, prefix: str) -> Weights:
    """Return the weights whose names have a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention of (B, N, D), head by head."""
    size = q.shape[-1] // heads
    mixed = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        logits = q[..., own] @ k[..., own].transpose(1, 2) / math.sqrt(size)
        mixed.append(logits.softmax(dim=-1) @ v[..., own])
    return torch.cat(mixed, dim=-1)


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def clip_embed(w: Weights, crops: Tensor) -> Tensor:
    patches = F.conv2d(crops, w["embeddings.patch_embedding.weight"], stride=14).flatten(2).transpose(1, 2)
    x = torch.cat((w["embeddings.class_embedding"].expand(len(crops), 1, -1), patches), dim=1)
    return norm(w, "pre_layrnorm", x + w["embeddings.position_embedding.weight"])


def clip_layer(w: Weights, x: Tensor, after=lambda kind, y: y) -> Tensor:
    """One layer; `after` is applied to the outputs of attention and MLP."""
    h = norm(w, "layer_norm1", x)
    q, k, v = (linear(w, f"self_attn.{name}_proj", h) for name in "qkv")
    x = x + after("attn", linear(w, "self_attn.out_proj", attention(q, k, v, HEADS)))
    h = norm(w, "layer_norm2", x)
    return x + after("mlp", linear(w, "mlp.fc2", quick_gelu(linear(w, "mlp.fc1", h))))


def clip_pooled(w: Weights, crops: Tensor) -> Tensor:
    """The CLS token after the last norm, before the projection."""
    x, index = clip_embed(w, crops), 0
    while layer := part(w, f"encoder.layers.{index}."):
        x, index = clip_layer(layer, x), index + 1
    return norm(w, "post_layernorm", x[:, 0])


# GenD on CLIP


def gend(seed: int = 0) -> Weights:
    new = draw(seed)
    return {
        **clip_backbone(new, "feature_extractor.vision_model."),
        "feature_extractor.visual_projection.weight": new(PROJECTED, WIDTH),
        **new.linear("model.linear", 2, WIDTH),
    }


def gend_logits(w: Weights, crops: Tensor, *, normalise: bool = True) -> Tensor:
    feature = clip_pooled(part(w, "feature_extractor.vision_model."), crops)
    return linear(w, "model.linear", F.normalize(feature, dim=1) if normalise else feature)


# Its predecessor

_PEFT = "feature_extractor.base_model.model.vision_model."


def predecessor(seed: int = 0) -> Weights:
    """Each norm is there twice: untuned and tuned."""
    new, weights = draw(seed), {}
    for name, value in clip_backbone(new, _PEFT).items():
        stem, _, kind = name.rpartition(".")
        if "norm" in stem:
            weights[f"{stem}.base_layer.{kind}"] = new(WIDTH, centre=1.0)
            weights[f"{stem}.ln_tuning_layers.default.{kind}"] = value
        else:
            weights[name] = value
    return weights | new.linear("model.linear", 2, WIDTH)


def predecessor_logits(w: Weights, crops: Tensor, *, normalise: bool = True) -> Tensor:
    tuned = {
        name.replace(".ln_tuning_layers.default", "").replace(_PEFT, "feature_extractor.vision_model."): value
        for name, value in w.items()
        if ".base_layer." not in name
    }
    return gend_logits(tuned, crops, normalise=normalise)


# Effort


def effort(seed: int = 0, rank: int = 1, kept: bool = False) -> Weights:
    """Each attention matrix in two parts and, with `kept`, the extra tensors of later code."""
    new, weights = draw(seed), {}
    for name, value in clip_backbone(new, "backbone.").items():
        stem, _, kind = name.rpartition(".")
        if ".self_attn." not in name or kind == "bias":
            weights[name] = value
            continue
        weights |= {
            f"{stem}.weight_main": value,
            f"{stem}.S_residual": new(rank, centre=1.0),
            f"{stem}.U_residual": new(WIDTH, rank),
            f"{stem}.V_residual": new(rank, WIDTH),
        }
        if kept:
            weights |= {f"{stem}.{name}_r": new(2, 2) for name in "SUV"}
    return weights | new.linear("head", 2, WIDTH)


def effort_logits(w: Weights, crops: Tensor) -> Tensor:
    whole = dict(w)
    for name in w:
        if name.endswith("weight_main"):
            stem = name.removesuffix("weight_main")
            u, s, v = (w[f"{stem}{part}_residual"] for part in "USV")
            whole[f"{stem}weight"] = w[name] + u @ torch.diag(s) @ v
    return linear(w, "head", clip_pooled(part(whole, "backbone."), crops))


# UniFD


def open_clip(seed: int = 0) -> Weights:
    """All of CLIP as named by open_clip: fused attention, transposed projection."""
    new = draw(seed)
    w = clip_backbone(new)
    weights = {
        "class_embedding": w["embeddings.class_embedding"],
        "conv1.weight": w["embeddings.patch_embedding.weight"],
        "positional_embedding": w["embeddings.position_embedding.weight"],
        "proj": new(WIDTH, PROJECTED, scale=WIDTH**-0.5),
    }
    names = {"ln_pre": "pre_layrnorm", "ln_post": "post_layernorm"}
    for index in range(DEPTH):
        theirs, layer = f"transformer.resblocks.{index}", f"encoder.layers.{index}"
        names |= {f"{theirs}.ln_{n}": f"{layer}.layer_norm{n}" for n in (1, 2)}
        names |= {f"{theirs}.mlp.c_fc": f"{layer}.mlp.fc1", f"{theirs}.mlp.c_proj": f"{layer}.mlp.fc2"}
        names[f"{theirs}.attn.out_proj"] = f"{layer}.self_attn.out_proj"
        for kind in ("weight", "bias"):
            qkv = [w[f"{layer}.self_attn.{name}_proj.{kind}"] for name in "qkv"]
            weights[f"{theirs}.attn.in_proj_{kind}"] = torch.cat(qkv)
    for theirs, ours in names.items():
        weights |= {f"{theirs}.{kind}": w[f"{ours}.{kind}"] for kind in ("weight", "bias")}
    text = {"logit_scale": torch.ones(()), "transformer.resblocks.0.ln_1.weight": torch.ones(8)}
    return {f"visual.{name}": value for name, value in weights.items()} | text


def unifd(seed: int = 1) -> Weights:
    new = draw(seed)
    return {"weight": new(1, PROJECTED), "bias": new(1)}


def unifd_logit(head: Weights, seed: int, crops: Tensor) -> Tensor:
    """The single logit, with the backbone of `open_clip` for that seed."""
    new = draw(seed)
    w = clip_backbone(new)
    projected = clip_pooled(w, crops) @ new(WIDTH, PROJECTED, scale=WIDTH**-0.5)
    return F.linear(projected, head["weight"], head["bias"])[:, 0]


# DFD-HR

_ROUTED_DEPTH, _EXPERTS, _EXPERT, _JUDGE = 5, 4, 24, 16


def dfd_hr(seed: int = 0) -> Weights:
    new = draw(seed)
    weights = {
        "query_token": new(1, 1, PROJECTED),
        **clip_backbone(new, "backbone.", _ROUTED_DEPTH),
        "visual_projection.weight": new(PROJECTED, WIDTH, scale=WIDTH**-0.5),
        "query_attn.in_proj_weight": new(3 * PROJECTED, PROJECTED),
        "query_attn.in_proj_bias": new(3 * PROJECTED),
        **new.linear("query_attn.out_proj", PROJECTED, PROJECTED),
        **new.linear("head", 2, 2 * PROJECTED),
    }
    for index in range(_ROUTED_DEPTH):
        for kind in ("attn", "mlp"):
            adapter = f"adapters_{kind}.{index}"
            weights |= new.linear(f"{adapter}.gate", _EXPERTS, WIDTH)
            for expert in range(_EXPERTS):
                weights |= new.linear(f"{adapter}.experts.{expert}.0", _EXPERT, WIDTH)
                weights |= new.linear(f"{adapter}.experts.{expert}.2", WIDTH, _EXPERT)
        weights |= new.linear(f"token_router.{index}.weight_predictor", 1, WIDTH, bias=False)
        weights |= new.linear(f"layer_router.{index}.fc1", _JUDGE, WIDTH, bias=False)
        weights |= new.linear(f"layer_router.{index}.fc2", 1, _JUDGE, bias=False)
    return weights


def dfd_hr_logits(w: Weights, crops: Tensor) -> tuple[Tensor, list[int]]:
    """The logits of crops (B, 3, 2S, 2S), and the number of blocks that each view of each crop passed."""
    depths: list[int] = []

    def feature(view: Tensor) -> Tensor:
        cls, depth = _routed(w, view)
        depths.append(depth)
        return norm(w, "backbone.post_layernorm", cls) @ w["visual_projection.weight"].T

    logits = []
    for crop in crops[:, None]:
        half = crop.shape[-1] // 2
        small = F.interpolate(crop, scale_factor=0.5, mode="bicubic", align_corners=False, antialias=False)
        tiles = [crop[..., y : y + half, x : x + half] for y in (0, half) for x in (0, half)]
        local = torch.stack([feature(tile) for tile in tiles], dim=1)
        q, k, v = w["query_attn.in_proj_weight"].chunk(3)
        bq, bk, bv = w["query_attn.in_proj_bias"].chunk(3)
        query, keys, values = (
            F.linear(w["query_token"], q, bq),
            F.linear(local, k, bk),
            F.linear(local, v, bv),
        )
        pooled = linear(w, "query_attn.out_proj", attention(query, keys, values, 4))[:, 0]
        logits.append(linear(w, "head", torch.cat((feature(small), pooled), dim=1)))
    return torch.cat(logits), depths


def _routed(w: Weights, view: Tensor) -> tuple[Tensor, int]:
    """Run one view (1, 3, S, S): the final CLS token, and the number of blocks that it passed."""
    x, active, depth = clip_embed(part(w, "backbone."), view), True, 0
    for index in range(_ROUTED_DEPTH):
        layer = part(w, f"backbone.encoder.layers.{index}.")

        def adapted(kind: str, y: Tensor, index: int = index) -> Tensor:
            name = f"adapters_{kind}.{index}"
            gates, added = linear(w, f"{name}.gate", y).softmax(dim=-1), torch.zeros_like(y)
            for expert in range(_EXPERTS):
                hidden = F.gelu(linear(w, f"{name}.experts.{expert}.0", y))
                added = added + gates[..., expert, None] * linear(w, f"{name}.experts.{expert}.2", hidden)
            return y + added

        if index not in (_ROUTED_DEPTH - 4, _ROUTED_DEPTH - 3, _ROUTED_DEPTH - 2):
            x, depth = clip_layer(layer, x, adapted), depth + 1
            continue
        logit = linear(
            w, f"layer_router.{index}.fc2", F.relu(linear(w, f"layer_router.{index}.fc1", x[:, 0]))
        )
        active = active and bool(torch.sigmoid(logit) > 0.5)
        if not active:
            continue
        scores = linear(w, f"token_router.{index}.weight_predictor", x)[0, :, 0]
        kept = scores.topk(int(0.75 * len(scores))).indices.sort().values
        updated = clip_layer(layer, x[:, kept], adapted)
        x = x.clone()
        x[:, kept] = updated * (1 + scores[kept].softmax(dim=0))[:, None]
        depth += 1
    return x[:, 0], depth
