"""A tiny backbone of each kind, and its publisher's own class in the same size."""

import open_clip
import timm
import torch
from safetensors.torch import save_file

from deepscan.backbones.published import PUBLISHED

WIDTH, DEPTH, HEADS, HIDDEN = 32, 3, 4, 48
SIZE = {"width": WIDTH, "depth": DEPTH, "heads": HEADS, "hidden": HIDDEN}
COMPACT = {"name": "compact", "channels": (4, 8, 8), "residuals": (0, 4, 4), "side": 32, **SIZE}
#: Name -> `network.backbone` of its tiny form, three patches along a side.
TINY = {
    "clip-vit-l14": {"side": 42, "projection": 24},
    "clip-vit-b16": {"side": 48, "projection": 24},
    "siglip2-vit-l16": {"side": 48},
    "pe-core-vit-l14": {"side": 42},
    "dinov2-vit-l14": {"side": 42},
    "dinov3-vit-l16": {"side": 48},
    "beitv2-vit-l16": {"side": 48},
    "imagenet-vit-l16": {"side": 48},
}
TINY = {name: {"name": name, **SIZE, **settings} for name, settings in TINY.items()}


def publishers(name, side=None):
    """Return the publisher's own model with random weights, in evaluation mode."""
    torch.manual_seed(1)
    model, settings = PUBLISHED[name].model, TINY[name]
    side = side or settings["side"]
    if name.startswith("clip-"):
        config = open_clip.get_model_config(model)
        config["embed_dim"] = settings["projection"]
        config["vision_cfg"] |= {
            "image_size": side,
            "width": WIDTH,
            "layers": DEPTH,
            "head_width": WIDTH // HEADS,
            "mlp_ratio": HIDDEN / WIDTH,
        }
        config["text_cfg"] = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
        built = open_clip.CLIP(**config)
    else:
        built = timm.create_model(
            model,
            num_classes=0,
            img_size=side,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=HEADS,
            mlp_ratio=HIDDEN / WIDTH,
        )
    with torch.no_grad():
        for value in built.parameters():
            value.copy_(torch.randn_like(value) * 0.3)
    return built.eval()


def publishers_file(name, folder):
    """Write the weights of `publishers` in the publisher's layout; return the file's path."""
    path = folder / f"{name}.safetensors"
    save_file(publishers(name).state_dict(), path)
    return str(path)


def count(module, trained=False):
    """Return the number of a module's parameters, or of those that train."""
    return sum(value.numel() for value in module.parameters() if value.requires_grad or not trained)


def without_gradient(network):
    """Return the names of trainable parameters without a gradient."""
    return [name for name, value in network.named_parameters() if value.requires_grad and value.grad is None]
