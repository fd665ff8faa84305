"""The smallest network of each method, on one small backbone."""

from torch import nn

from deepscan.backbones.vit import VisionTransformer

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
#: The smallest network of each method: a new method adds its line here.
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


def small_backbone(prefix=1, **extra):
    stem = nn.Conv2d(3, 16, 8, 8)
    settings = {"side": 32, "grid": 4, "width": 16, "depth": 2, "heads": 2, "hidden": 16, "prefix": prefix}
    return VisionTransformer(stem, **settings, pre_norm=True, projection=12, **extra)
