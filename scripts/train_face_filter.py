"""Train the face filter, and write it with its card: models/facefilter.

usage: python scripts/train_face_filter.py SAMPLES.npz [--out models/facefilter]     (minutes on one core)

SAMPLES.npz comes from `collect_face_filter.py`. The same data, versions and kind of machine give the same
bytes; the card has the hashes of the samples and of the network. The network takes an aligned crop of 48x48
pixels and returns the probability of a face. Its threshold rejects 0.4 % of the faces in `val`, which is not
used for training; the rest of `val` measures it. Requires the `torch` extra.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepscan.cards import CARD, ModelCard, ModelFile, sha256_of
from deepscan.faces.face_filter import CROP, FaceFilter
from deepscan.versions import installed_version, libraries

#: Side of a sample in pixels; fraction of it that the network sees (scale 1.5 in its recipe, 1.25 in `CROP`).
SAMPLE_SIDE, SEEN_FRACTION = 72, 1.25 / 1.5
#: Augmented views of each sample, the first without augmentation; steps, batch size and learning rate.
VIEWS, STEPS, BATCH, RATE = 12, 4000, 256, 2e-3
#: Directions of gradients; side of a cell in pixels, and of a cell for colour.
DIRECTIONS, CELL, PATCH = 8, 6, 12
HIDDEN = (96, 32)
#: The commands that create the network from the folder with faces.csv; the packages that affect its bytes.
COMMAND = (
    "python scripts/collect_face_filter.py --data DATA --out SAMPLES.npz && "
    "python scripts/train_face_filter.py SAMPLES.npz"
)
PACKAGES = ("onnx", "scikit-image", "scikit-learn", "matplotlib")
#: Share of the faces in `val` that the threshold rejects.
REJECTED = 0.004
#: Share of faces in a batch; the other kinds have weights in proportion to the square root of their number.
FACES = 0.5

Samples = dict[str, NDArray[Any]]


class Gradients(nn.Module):
    """Features of a crop: histograms of gradients (Dalal and Triggs 2005), light and colour.

    None of them is trained: from a few thousand samples, a network learns more with these than with pixels.
    """

    turned: Tensor
    luma: Tensor

    def __init__(self) -> None:
        super().__init__()
        across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
        angles = [2 * math.pi * k / DIRECTIONS for k in range(DIRECTIONS)]
        turned = [math.cos(angle) * across + math.sin(angle) * across.T for angle in angles]
        self.register_buffer("turned", torch.stack(turned)[:, None])
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1))

    def forward(self, planes: Tensor) -> Tensor:
        """Return features (n, 691) of crops (n, 3, 48, 48) in [-1, 1]."""
        luma = (planes * self.luma).sum(1, keepdim=True)
        cells = functional.avg_pool2d(functional.relu(functional.conv2d(luma, self.turned, padding=1)), CELL)
        strength = cells.sum(1, keepdim=True)
        around = functional.avg_pool2d(strength, 3, 1, 1, count_include_pad=False)
        mean = strength.mean((2, 3), keepdim=True)
        directions = (cells / (around + 0.5 * mean + 1e-3)).sqrt()
        light = functional.avg_pool2d(luma, CELL)
        light = light - light.mean((2, 3), keepdim=True)
        light = light / (light.pow(2).mean((2, 3), keepdim=True).sqrt() + 0.02)
        colour = functional.avg_pool2d(planes - luma, PATCH)
        tint = colour.mean((2, 3), keepdim=True)
        parts = (directions, strength / (mean + 1e-3), light, 5 * (colour - tint), 3 * tint)
        return torch.cat([part.flatten(1) for part in parts], dim=1)


def perceptron(width: int) -> nn.Sequential:
    """Return the trained part: features (n, width) -> log-odds of a face (n, 1)."""
    first, second = HIDDEN
    return nn.Sequential(
        nn.Dropout(0.1),
        nn.Linear(width, first),
        nn.ReLU(),
        nn.Dropout(0.4),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, 1),
    )


class Shipped(nn.Module):
    """The shipped network: from pixels to a probability."""

    def __init__(self, trained: nn.Module) -> None:
        super().__init__()
        self.trained = trained

    def forward(self, pixels: Tensor) -> Tensor:
        """Return probabilities (n,) of crops (n, 48, 48, 3), float32 in 0..255."""
        odds: Tensor = self.trained(pixels.permute(0, 3, 1, 2) / 127.5 - 1)
        return torch.sigmoid(odds[:, 0])


def network_input(crops: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return the network's input for samples (n, 72, 72, 3), uint8: (n, 3, 48, 48) in [-1, 1].

    Args:
        crops: The samples.
        generator: Random source of the augmentation (shift, light, noise); None for none, as in a scan.
    """
    count = len(crops)
    planes = crops.permute(0, 3, 1, 2).float() / 127.5 - 1
    turn = torch.zeros(count, 2, 3)
    angle, scale = torch.zeros(count), torch.full((count,), SEEN_FRACTION)
    if generator is not None:

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        angle, scale = 0.1 * noise(count), scale * torch.exp(0.07 * noise(count))
        turn[:, :, 2] = 0.05 * noise(count, 2)
    mirror = torch.ones(count) if generator is None else noise(count).sign()
    turn[:, 0, 0], turn[:, 0, 1] = scale * angle.cos() * mirror, -scale * angle.sin()
    turn[:, 1, 0], turn[:, 1, 1] = scale * angle.sin() * mirror, scale * angle.cos()
    grid = functional.affine_grid(turn, [count, 3, CROP.side, CROP.side], align_corners=False)
    planes = functional.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
    if generator is not None:
        planes = planes * torch.exp(0.25 * noise(count, 1, 1, 1)) + 0.2 * noise(count, 1, 1, 1)
        planes = planes + 0.1 * noise(count, 3, 1, 1)
        grey = (noise(count, 1, 1, 1) > 1.2).float()
        planes = planes * (1 - grey) + planes.mean(dim=1, keepdim=True) * grey
        small = functional.interpolate(planes, size=20, mode="area")
        blurred = functional.interpolate(small, size=CROP.side, mode="bilinear")
        soft = (noise(count, 1, 1, 1) > 1.2).float()
        planes = planes * (1 - soft) + blurred * soft
        planes = planes + 0.06 * noise(count, 1, 1, 1).abs() * noise(*planes.shape)
    return planes.clamp(-1, 1)


def train(samples: Samples, seed: int) -> nn.Module:
    """Return the trained network: crops (n, 3, 48, 48) in [-1, 1] -> log-odds (n, 1)."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    chosen = np.flatnonzero(samples["splits"] == "train")
    crops, kinds = torch.from_numpy(samples["crops"][chosen]), samples["kinds"][chosen]
    labels = torch.from_numpy((kinds == "face").astype(np.float32))
    weights = torch.from_numpy(_weights(kinds))
    gradients = Gradients()
    views = []
    for view in range(VIEWS):
        with torch.no_grad():
            parts = [
                gradients(network_input(part, generator if view else None))
                for part in torch.split(crops, 256)
            ]
        views.append(torch.cat(parts))
        print(f"view {view + 1} of {VIEWS}", flush=True)
    features = torch.stack(views)
    mean, deviation = features.mean((0, 1)), features.std((0, 1)) + 1e-3
    features = (features - mean) / deviation
    net = perceptron(features.shape[2])
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for step in range(STEPS):
        batch = torch.multinomial(weights, BATCH, replacement=True, generator=generator)
        views_drawn = torch.randint(VIEWS, (BATCH,), generator=generator)
        odds = net(features[views_drawn, batch])[:, 0]
        loss = functional.binary_cross_entropy_with_logits(odds, labels[batch] * 0.98 + 0.01)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if (step + 1) % 500 == 0:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.4f}", flush=True)
    first = net[1]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.weight /= deviation
        first.bias.sub_(first.weight @ mean)
    return nn.Sequential(gradients, net).eval()


def _weights(kinds: NDArray[Any]) -> NDArray[np.float64]:
    weights = np.zeros(len(kinds))
    others = [kind for kind in np.unique(kinds) if kind != "face"]
    roots = {kind: float((kinds == kind).sum()) ** 0.5 for kind in others}
    for kind in np.unique(kinds):
        share = FACES if kind == "face" else (1 - FACES) * roots[kind] / sum(roots.values())
        weights[kinds == kind] = share / (kinds == kind).sum()
    return weights


def probabilities(net: nn.Module, crops: NDArray[Any]) -> NDArray[np.float32]:
    """Return the probability of a face for samples (n, 72, 72, 3)."""
    with torch.inference_mode():
        parts = [
            net(network_input(torch.from_numpy(crops[k : k + 256])))[:, 0].sigmoid()
            for k in range(0, len(crops), 256)
        ]
    return torch.cat(parts).numpy()


def write(net: nn.Module, folder: Path, threshold: float, facts: dict[str, Any]) -> None:
    """Write the network and its card."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    torch.onnx.export(
        Shipped(net).eval(),
        (torch.zeros(2, CROP.side, CROP.side, 3),),
        str(path),
        input_names=["pixels"],
        output_names=["probability"],
        dynamic_axes={"pixels": {0: "n"}, "probability": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    card = ModelCard(
        folder=folder,
        name=folder.name,
        method=FaceFilter.method,
        summary="Face filter: separates faces from patterns, shadows and hands that a face finder "
        "mistakes for faces",
        license="Apache-2.0",
        files={"onnx": ModelFile(path.name, sha256_of(path))},
        network={"least": threshold, "crop": CROP.to_json()},
        trained={
            "data": "faces from public demo clips (web, train) and DFDC, degraded as in videos; and false "
            "detections of MTCNN at lowered thresholds next to them, in parts of them, upside down, in "
            "synthetic patterns and in pictures of scikit-image and scikit-learn. The faces are under "
            "research terms and not distributed",
            "threshold": f"rejects {REJECTED:.1%} of the web faces of val, none of which was trained on",
            **facts,
        },
        not_for=(
            "telling a living face from a photograph, a painting, a statue or a fake: each of these counts "
            "as a face",
            "finding faces: it only checks the detections of a face finder",
        ),
    )
    (folder / CARD).write_text(card.to_yaml(), encoding="utf-8")


def main() -> None:
    """Train, choose the threshold, measure, write."""
    default = Path(__file__).resolve().parents[1] / "models" / "facefilter"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with np.load(options.samples) as file:
        samples: Samples = dict(file)
    net = train(samples, options.seed)
    scores = probabilities(net, samples["crops"])
    face = samples["kinds"] == "face"
    val, dev = samples["splits"] == "val", samples["splits"] == "dev"
    threshold = round(float(np.quantile(scores[val & face], REJECTED)), 4)
    figures = {
        "faces of val refused": f"{(scores[val & face] < threshold).mean():.4f} of {(val & face).sum()}",
        "faces of dev refused": f"{(scores[dev & face] < threshold).mean():.4f} of {(dev & face).sum()}",
        "others of val refused": f"{(scores[val & ~face] < threshold).mean():.4f} of {(val & ~face).sum()}",
    }
    for kind in np.unique(samples["kinds"]):
        of_kind = val & (samples["kinds"] == kind)
        confident = of_kind & (samples["probabilities"] >= 0.9)
        shares = [
            f"{(scores[each] < threshold).mean():.3f} of {each.sum()}"
            for each in (of_kind, confident)
            if each.any()
        ]
        print(f"{kind:16s} refused {', of those that MTCNN is sure of '.join(shares)}")
    print(f"threshold {threshold}: {figures}")
    facts = {
        "command": COMMAND + (f" --seed {options.seed}" if options.seed else ""),
        "samples": {"number": len(scores), "sha256": sha256_of(options.samples)},
        "libraries": {**libraries(), **{name: installed_version(name) for name in PACKAGES}},
        **figures,
    }
    write(net, options.out, threshold, facts)


if __name__ == "__main__":
    main()
