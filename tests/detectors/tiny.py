"""A tiny network of each method, on one tiny backbone."""

import torch
from torch import nn

from deepscan.backbones.vit import VisionTransformer
from deepscan.cards import ModelCard, ModelFile, sha256_of

#: Labels of the four crops of the fixture `crops`.
LABELS = torch.tensor([0, 1, 0, 1])
BACKBONE = {
    "name": "compact",
    "side": 32,
    "channels": [4, 8, 8],
    "residuals": [0, 4, 4],
    "width": 16,
    "depth": 2,
    "heads": 2,
    "hidden": 16,
}
#: Tiny network of each method; add a line here for a new method.
TINY = {
    "qtfp": {"backbone": BACKBONE, "queries": 3, "heads": 2},
    "dfd-hr": {"backbone": BACKBONE, "hr_blocks": [-1], "hidden": 8, "judge_hidden": 8},
    "corit": {"backbone": BACKBONE, "tuning": {"type": "frozen"}},
    "unifd": {"backbone": BACKBONE, "tuning": {"type": "frozen"}},
    "effort": {"backbone": BACKBONE, "tuning": {"type": "effort"}},
    "gend": {"backbone": BACKBONE, "tuning": {"type": "norm"}},
    "lora": {"backbone": BACKBONE, "tuning": {"type": "lora", "rank": 2}},
    "fft": {"backbone": BACKBONE, "tuning": {"type": "fft"}},
}

#: Foreground, boundary and background of a grid of 4 patches a side.
REGIONS = torch.zeros(3, 4, 4)
REGIONS[0, 1:3, 1:3] = 1
REGIONS[1, :, :3] = 1 - REGIONS[0, :, :3]
REGIONS[2, :, 3] = 1
REGIONS[1, 1:3, 3] = 0
REGIONS = REGIONS.reshape(1, 3, 16)


def small_backbone(prefix=1, **extra):
    stem = nn.Conv2d(3, 16, 8, 8)
    settings = {"side": 32, "grid": 4, "width": 16, "depth": 2, "heads": 2, "hidden": 16, "prefix": prefix}
    return VisionTransformer(stem, **settings, pre_norm=True, projection=12, **extra)


def card(folder, method, network):
    """Return the card of a folder that contains only a network's weights."""
    path = folder / "model.safetensors"
    files = {"torch": ModelFile(path.name, sha256_of(path))}
    return ModelCard(folder, "tiny", method, "", "Apache-2.0", files, network=network)
