"""GenD on backbones with rotary positions (DINOv3 and PE Core): small files and their forward passes.

In plain torch with the sizes of `replicas`; nothing here calls deepscan.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models import replicas
from tests.models.replicas import HEADS, Weights, attention, draw, linear, norm, part

# On DINOv3


def gend_dinov3(seed: int = 0, layer: str = "layer") -> Weights:
    """As named by transformers 4; transformers 5 has `model.layer`."""
    new = draw(seed)
    weights = {
        "embeddings.cls_token": new(1, 1, replicas.WIDTH),
        "embeddings.mask_token": new(1, 1, replicas.WIDTH),
        "embeddings.register_tokens": new(1, 4, replicas.WIDTH),
        "embeddings.patch_embeddings.weight": new(replicas.WIDTH, 3, 16, 16, scale=0.05),
        "embeddings.patch_embeddings.bias": new(replicas.WIDTH),
        **new.norm("norm"),
    }
    for index in range(replicas.DEPTH):
        block = f"{layer}.{index}"
        for name in "qkvo":
            weights |= new.linear(
                f"{block}.attention.{name}_proj", replicas.WIDTH, replicas.WIDTH, bias=name != "k"
            )
        for number in (1, 2):
            weights |= new.norm(f"{block}.norm{number}")
            weights[f"{block}.layer_scale{number}.lambda1"] = new(replicas.WIDTH)
        weights |= new.linear(f"{block}.mlp.up_proj", replicas.HIDDEN, replicas.WIDTH)
        weights |= new.linear(f"{block}.mlp.down_proj", replicas.WIDTH, replicas.HIDDEN)
    weights = {f"feature_extractor.backbone.{name}": value for name, value in weights.items()}
    return weights | new.linear("model.linear", 2, replicas.WIDTH)


def gend_dinov3_logits(w: Weights, crops: Tensor) -> Tensor:
    b = part(w, "feature_extractor.backbone.")
    patches = F.conv2d(
        crops, b["embeddings.patch_embeddings.weight"], b["embeddings.patch_embeddings.bias"], stride=16
    )
    grid = patches.shape[-1]
    before = [b[f"embeddings.{name}"].expand(len(crops), -1, -1) for name in ("cls_token", "register_tokens")]
    x = torch.cat((*before, patches.flatten(2).transpose(1, 2)), dim=1)
    # Patch centres in (-1, 1), rows first; periods are powers of 100.
    size = replicas.WIDTH // HEADS
    centres = 2 * (torch.arange(grid) + 0.5) / grid - 1
    periods = 100 ** (torch.arange(0, 1, 4 / size))
    positions = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), dim=-1).reshape(-1, 2)
    angles = (2 * math.pi * positions[:, :, None] / periods).flatten(1).tile(2)

    def rotate(t: Tensor) -> Tensor:
        heads = t[:, 5:].unflatten(-1, (HEADS, size))
        partner = torch.cat((-heads[..., size // 2 :], heads[..., : size // 2]), dim=-1)
        rotated = heads * angles.cos()[:, None] + partner * angles.sin()[:, None]
        return torch.cat((t[:, :5], rotated.flatten(2)), dim=1)

    for index in range(replicas.DEPTH):
        block = part(b, f"layer.{index}.") or part(b, f"model.layer.{index}.")
        h = norm(block, "norm1", x)
        q, k, v = (linear(block, f"attention.{name}_proj", h) for name in "qkv")
        mixed = linear(block, "attention.o_proj", attention(rotate(q), rotate(k), v, HEADS))
        x = x + block["layer_scale1.lambda1"] * mixed
        hidden = F.gelu(linear(block, "mlp.up_proj", norm(block, "norm2", x)))
        x = x + block["layer_scale2.lambda1"] * linear(block, "mlp.down_proj", hidden)
    return linear(w, "model.linear", F.normalize(norm(b, "norm", x)[:, 0], dim=1))


# On PE Core


def gend_pe(seed: int = 0, grid: int = 24) -> Weights:
    """As named by timm, with positions for a grid; PE Core was trained with 24 patches along a side."""
    new = draw(seed)
    weights = {
        "cls_token": new(1, 1, replicas.WIDTH),
        "pos_embed": new(1, grid**2 + 1, replicas.WIDTH),
        "patch_embed.proj.weight": new(replicas.WIDTH, 3, 14, 14, scale=0.05),
        **new.norm("norm_pre"),
        **new.norm("norm"),
        "attn_pool.latent": new(1, 1, replicas.WIDTH),
        **new.linear("attn_pool.q", replicas.WIDTH, replicas.WIDTH),
        **new.linear("attn_pool.kv", 2 * replicas.WIDTH, replicas.WIDTH),
        **new.linear("attn_pool.proj", replicas.WIDTH, replicas.WIDTH),
        **new.norm("attn_pool.norm"),
        **new.linear("attn_pool.mlp.fc1", 4 * replicas.WIDTH, replicas.WIDTH),
        **new.linear("attn_pool.mlp.fc2", replicas.WIDTH, 4 * replicas.WIDTH),
    }
    for index in range(replicas.DEPTH):
        block = f"blocks.{index}"
        weights |= new.norm(f"{block}.norm1") | new.norm(f"{block}.norm2")
        weights |= new.linear(f"{block}.attn.qkv", 3 * replicas.WIDTH, replicas.WIDTH)
        weights |= new.linear(f"{block}.attn.proj", replicas.WIDTH, replicas.WIDTH)
        weights |= new.linear(f"{block}.mlp.fc1", replicas.HIDDEN, replicas.WIDTH) | new.linear(
            f"{block}.mlp.fc2", replicas.WIDTH, replicas.HIDDEN
        )
    weights = {f"feature_extractor.backbone.{name}": value for name, value in weights.items()}
    return weights | new.linear("model.linear", 2, replicas.WIDTH)


def gend_pe_logits(w: Weights, crops: Tensor) -> Tensor:
    b = part(w, "feature_extractor.backbone.")
    patches = F.conv2d(crops, b["patch_embed.proj.weight"], stride=14)
    grid = patches.shape[-1]
    first, others = b["pos_embed"].split([1, b["pos_embed"].shape[1] - 1], dim=1)
    plane = others.transpose(1, 2).unflatten(2, (math.isqrt(others.shape[1]), -1))
    plane = F.interpolate(plane, (grid, grid), mode="bicubic", antialias=True)
    cls = (b["cls_token"] + first).expand(len(crops), -1, -1)
    x = norm(b, "norm_pre", torch.cat((cls, (patches + plane).flatten(2).transpose(1, 2)), dim=1))
    # An axis has length 24 on any grid and counts from 1; columns come first, periods are powers of 10,000.
    size = replicas.WIDTH // HEADS
    speeds = 10_000.0 ** -(torch.arange(size // 4) / (size // 4))
    along = 24 * torch.arange(1, grid + 1) / grid
    columns, rows = (
        torch.outer(along.repeat(grid), speeds),
        torch.outer(along.repeat_interleave(grid), speeds),
    )
    turns = torch.exp(1j * torch.cat((columns, rows), dim=1))

    def rotate(t: Tensor) -> Tensor:
        pairs = torch.view_as_complex(t[:, 1:].unflatten(-1, (HEADS, size // 2, 2)).contiguous())
        return torch.cat((t[:, :1], torch.view_as_real(pairs * turns[:, None]).flatten(2)), dim=1)

    for index in range(replicas.DEPTH):
        block = part(b, f"blocks.{index}.")
        q, k, v = linear(block, "attn.qkv", norm(block, "norm1", x)).chunk(3, dim=-1)
        x = x + linear(block, "attn.proj", attention(rotate(q), rotate(k), v, HEADS))
        x = x + linear(block, "mlp.fc2", F.gelu(linear(block, "mlp.fc1", norm(block, "norm2", x))))
    k, v = linear(b, "attn_pool.kv", norm(b, "norm", x)).chunk(2, dim=-1)
    query = linear(b, "attn_pool.q", b["attn_pool.latent"]).expand(len(crops), -1, -1)
    attended = linear(b, "attn_pool.proj", attention(query, k, v, 8))
    hidden = F.gelu(linear(b, "attn_pool.mlp.fc1", norm(b, "attn_pool.norm", attended)))
    pooled = (attended + linear(b, "attn_pool.mlp.fc2", hidden))[:, 0]
    return linear(w, "model.linear", F.normalize(pooled, dim=1))
