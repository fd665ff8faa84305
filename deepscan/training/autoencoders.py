"""Train and cache small autoencoders of real crops, which leave the traces of neural decoders in a face."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from deepscan.data.crops.crop_cache import CropIndices, CropSet
from deepscan.engines.export import OPSET
from deepscan.engines.quiet import quiet
from deepscan.errors import UsageError
from deepscan.files import atomic_write
from deepscan.media.frames import Image
from deepscan.onnx_session import open_session
from deepscan.progress import OnProgress

#: Side of the patches of crops that are trained on, and batch size.
_PATCH, _BATCH = 96, 16
_LR, _CRITIC_LR, _FLOOR = 2e-3, 5e-4, 0.01
#: Shares of the steps: length of the warm-up, start of the critic's training, and start of its use in the
#: loss. Earlier the critic would only learn the blur of the first steps.
_WARMUP, _CRITIC_TRAINS, _CRITIC_USED = 0.04, 0.15, 0.22


@dataclass(frozen=True, slots=True)
class AutoencoderPlan:
    """Architecture and training length of an autoencoder.

    Attributes:
        enlarge: Upsampling of its decoder: `nearest`, nearest neighbour and a convolution; `shuffle`, a
            convolution and a pixel shuffle; `transposed`, a transposed convolution.
        latent: Channels of its code.
        critic: Weight of a patch critic's loss, 0 for none; it makes the decoder draw texture that a pixel
            loss alone leaves out.
        steps: Number of training steps.
    """

    enlarge: str
    latent: int
    critic: float
    steps: int


#: Decoders with different traces, as generators have: 0.18 to 0.36 M parameters, and minutes of training each
#: on one core. The last three have a wider code, so that their output is closer to the original and harder to
#: detect.
PLANS = (
    AutoencoderPlan("nearest", 12, 0.0, 1700),
    AutoencoderPlan("shuffle", 16, 0.005, 2700),
    AutoencoderPlan("transposed", 20, 0.005, 2700),
    AutoencoderPlan("nearest", 48, 0.005, 2700),
    AutoencoderPlan("shuffle", 40, 0.01, 2700),
    AutoencoderPlan("transposed", 64, 0.01, 2700),
)


class Autoencoder:
    """A trained autoencoder; calling it is thread-safe and deterministic.

    Args:
        path: Its ONNX file.
    """

    def __init__(self, path: Path) -> None:
        # One thread: batches are made in several threads during training.
        self._session = open_session(path, threads=1)

    def __call__(self, image: Image) -> Image:
        """Reconstruct an image: RGB, shape (S, S, 3), uint8, to the same shape."""
        (output,) = self._session.run(None, {"image": np.ascontiguousarray(image)[None]})
        return np.asarray(output[0], dtype=np.uint8)

    def error(self, images: Sequence[Image]) -> float:
        """Return the mean absolute difference between images and their reconstructions, in levels of 255."""
        return float(np.mean([np.abs(self(image).astype(np.int16) - image).mean() for image in images]))


def autoencoders(
    crops: CropSet,
    rows: CropIndices,
    store: Path,
    *,
    seed: int,
    half: bool = False,
    device: str = "cpu",
    plans: Sequence[AutoencoderPlan] = PLANS,
    on_progress: OnProgress | None = None,
) -> tuple[Autoencoder, ...]:
    """Return autoencoders of some crops, trained if they are not in the cache.

    Args:
        crops: The crops.
        rows: Indices of the crops to train on, shape (N,).
        store: Folder of the cache. Each finished autoencoder is stored; an interrupted one starts over.
        seed: Seed of the weights and of the order.
        half: Whether to train in bfloat16.
        device: Device of the training: `cpu` or `cuda`.
        plans: The autoencoders.
        on_progress: Progress callback: (images trained on, images).

    Raises:
        UsageError: There are no crops to train on, or a loss became NaN or infinite.
    """
    if not len(rows):
        raise UsageError("there are no real crops to train autoencoders on", "leave redraw out of forgeries")
    side = crops.crops.shape[1]
    store.mkdir(parents=True, exist_ok=True)
    paths = [store / f"redraw-{_key(crops, rows, plan, seed, half)}.onnx" for plan in plans]
    missing = [index for index, path in enumerate(paths) if not path.is_file()]
    total, done = sum(plans[index].steps for index in missing), 0
    for index in missing:
        # The weights come from torch's global generator, whose state belongs to the caller.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _Network(plans[index]).to(device).to(memory_format=torch.channels_last)
            for _ in _train(network, plans[index], crops, rows, seed, half):
                done += 1
                if on_progress is not None:
                    on_progress(done * _BATCH, total * _BATCH)
        _write(network.to("cpu").eval(), side, paths[index])
    return tuple(Autoencoder(path) for path in paths)


class _Network(nn.Module):
    """Encoder and decoder for images in [-1, 1], shape (B, 3, S, S)."""

    def __init__(self, plan: AutoencoderPlan) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 24, 3, 2, 1),
            _act(),
            *_downsample(24, 48),
            *_downsample(48, 80),
            nn.Conv2d(80, plan.latent, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(plan.latent, 80, 3, 1, 1),
            _act(),
            *_UPSAMPLE[plan.enlarge](80, 48),
            _act(),
            *_UPSAMPLE[plan.enlarge](48, 28),
            _act(),
            *_UPSAMPLE[plan.enlarge](28, 14),
            _act(),
            nn.Conv2d(14, 3, 3, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.decoder(self.encoder(images))
        return output


class _PixelNetwork(nn.Module):
    """A network with uint8 inputs and outputs, shape (1, S, S, 3), for export."""

    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        output = self.network(image.permute(0, 3, 1, 2).float() / 127.5 - 1)
        levels: Tensor = ((output.permute(0, 2, 3, 1) + 1) * 127.5).round().clamp(0, 255)
        return levels.to(torch.uint8)


def _act() -> nn.Module:
    return nn.LeakyReLU(0.1, inplace=True)


def _downsample(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, 2, 1), _act(), nn.Conv2d(outputs, outputs, 3, 1, 1), _act()]


#: The pixel shuffle is from "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
#: Convolutional Neural Network" (CVPR 2016).
_UPSAMPLE: Mapping[str, Callable[[int, int], list[nn.Module]]] = {
    "nearest": lambda a, b: [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(a, b, 3, 1, 1)],
    "shuffle": lambda a, b: [nn.Conv2d(a, b * 4, 3, 1, 1), nn.PixelShuffle(2)],
    "transposed": lambda a, b: [nn.ConvTranspose2d(a, b, 4, 2, 1)],
}


def _critic() -> nn.Module:
    """Build a critic of image patches.

    It follows "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017, Sec. 3.2.2).
    """
    return nn.Sequential(
        nn.Conv2d(3, 24, 4, 2, 1),
        _act(),
        nn.Conv2d(24, 48, 4, 2, 1),
        _act(),
        nn.Conv2d(48, 64, 3, 1, 1),
        _act(),
        nn.Conv2d(64, 1, 3, 1, 1),
    )


def _train(
    network: _Network, plan: AutoencoderPlan, crops: CropSet, rows: CropIndices, seed: int, half: bool
) -> Iterator[None]:
    """Train a network, and yield after each step.

    The loss is the mean absolute error of pixels and of their differences, following "Deep Multi-Scale Video
    Prediction beyond Mean Square Error" (ICLR 2016, Sec. 3.2); the critic has the hinge loss of "Geometric
    GAN" (2017).
    """
    rng, device = np.random.default_rng(seed), next(network.parameters()).device
    critic = _critic().to(device).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), _LR, betas=(0.8, 0.99))
    critic_optimiser = torch.optim.AdamW(critic.parameters(), _CRITIC_LR, betas=(0.5, 0.99))
    for step in range(plan.steps):
        images = _sample(crops, rows, rng).to(device, memory_format=torch.channels_last)
        for group in optimiser.param_groups:
            group["lr"] = _LR * _rate(step, plan.steps)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            output = network(images).float()
            use_critic = plan.critic and step >= _CRITIC_USED * plan.steps
            judgement = critic(output).float().mean() if use_critic else output.new_zeros(())
        loss = _pixel_loss(output - images) - plan.critic * judgement
        if not math.isfinite(float(loss.detach())):
            raise UsageError(
                f"the loss of an autoencoder became {loss}", "try precision=float32 or another seed"
            )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if plan.critic and step >= _CRITIC_TRAINS * plan.steps:
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                real, fake = critic(images).float(), critic(output.detach()).float()
            critic_optimiser.zero_grad()
            critic_loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
            critic_loss.backward()  # type: ignore[no-untyped-call]
            critic_optimiser.step()
        yield


def _pixel_loss(difference: Tensor) -> Tensor:
    parts = (difference, difference.diff(dim=-1), difference.diff(dim=-2))
    return torch.stack([part.abs().mean() for part in parts]).sum()


def _rate(step: int, steps: int) -> float:
    return min(1.0, step / (_WARMUP * steps)) * (0.5 * (1 + math.cos(math.pi * step / steps)) + _FLOOR)


def _sample(crops: CropSet, rows: CropIndices, rng: Generator) -> Tensor:
    """Return random patches of random crops, half of them mirrored, in [-1, 1], shape (B, 3, P, P)."""
    side = crops.crops.shape[1]
    patch = min(_PATCH, side)
    images = []
    for row in rng.choice(rows, _BATCH):
        top, left = rng.integers(0, side - patch + 1, 2)
        image = crops.crops[row, top : top + patch, left : left + patch]
        images.append(image[:, ::-1] if rng.random() < 0.5 else image)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _write(network: _Network, side: int, path: Path) -> None:
    image = torch.zeros((1, side, side, 3), dtype=torch.uint8)
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            _PixelNetwork(network).eval(),
            (image,),
            input_names=["image"],
            output_names=["drawn"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    with atomic_write(path) as file:
        file.write(program.model_proto.SerializeToString())


def _key(crops: CropSet, rows: CropIndices, plan: AutoencoderPlan, seed: int, half: bool) -> str:
    """Return a hash of everything that an autoencoder depends on."""
    settings = [_PATCH, _BATCH, _LR, _CRITIC_LR, _FLOOR, _WARMUP, _CRITIC_TRAINS, _CRITIC_USED]
    digest = hashlib.sha256(json.dumps([crops.key, asdict(plan), seed, half, settings]).encode())
    digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()[:16]
