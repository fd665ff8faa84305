"""Training augmentation of aligned crops: named sets of random steps that share one random generator."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from deepscan.data.augmentation.degrade import Codec, Jpeg, Shrink, dither, expose, fade, retouch, sharpen
from deepscan.errors import UsageError, choice_hint
from deepscan.media.frames import Image

AugmentStep = Callable[[Image, Generator], Image]


def _clipped(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def flip(image: Image, rng: Generator) -> Image:
    """Mirror left and right."""
    return np.ascontiguousarray(image[:, ::-1])


@dataclass(frozen=True, slots=True)
class Affine:
    """Rotate, scale and shift, with reflection at the border.

    Attributes:
        degrees: Maximum rotation in either direction.
        scale: Minimum and maximum factor.
        shift: Maximum shift as a fraction of the side.
        stretch: Maximum relative change of the width, as in a video with a wrong aspect ratio.
    """

    degrees: float = 10.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0
    stretch: float = 0.0

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return the transformed image."""
        height, width = image.shape[:2]
        angle, factor = rng.uniform(-self.degrees, self.degrees), rng.uniform(*self.scale)
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, factor)
        shift = rng.uniform(-self.shift, self.shift, 2) * (width, height)
        if self.stretch:
            factor = rng.uniform(1 - self.stretch, 1 + self.stretch)
            matrix[0] = matrix[0] * factor + (0, 0, (1 - factor) * (width - 1) / 2)
        moved = cv2.warpAffine(
            image,
            np.column_stack((matrix[:, :2], matrix[:, 2] + shift)),
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return np.asarray(moved, dtype=np.uint8)


def random_blur(image: Image, rng: Generator) -> Image:
    """Apply a Gaussian blur with a kernel of 3, 5 or 7 pixels."""
    side = int(rng.choice((3, 5, 7)))
    return np.asarray(cv2.GaussianBlur(image, (side, side), 0), dtype=np.uint8)


def noise(image: Image, rng: Generator) -> Image:
    """Add Gaussian noise with a standard deviation of up to 8 grey levels."""
    return _clipped(image + rng.normal(0, rng.uniform(0, 8), image.shape))


@dataclass(frozen=True, slots=True)
class BrightnessContrast:
    """Scale by up to 1 +- `limit` and shift by up to +- `limit` of the range."""

    limit: float = 0.1

    def __call__(self, image: Image, rng: Generator) -> Image:
        """Return the image with changed brightness and contrast."""
        contrast, brightness = rng.uniform(-self.limit, self.limit, 2)
        return _clipped(image * (1 + contrast) + brightness * 255)


brightness_contrast = BrightnessContrast()


def fancy_pca(image: Image, rng: Generator) -> Image:
    """Shift all pixels along the principal axes of the crop's colours (AlexNet, NeurIPS 2012, Sec. 4.1)."""
    pixels = image.reshape(-1, 3) / 255.0
    values, vectors = np.linalg.eigh(np.cov(pixels, rowvar=False))
    shift = vectors @ (rng.normal(0, 0.1, 3) * np.sqrt(np.maximum(values, 0)))
    return _clipped(image + shift * 255)


def hue_saturation_value(image: Image, rng: Generator) -> Image:
    """Shift hue by up to 20 of 180, saturation by up to 30 and value by up to 20 of 255."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16)
    hue, saturation, value = (rng.uniform(-limit, limit) for limit in (20, 30, 20))
    hsv[..., 0] = (hsv[..., 0] + int(hue)) % 180
    hsv[..., 1:] = np.clip(hsv[..., 1:] + (int(saturation), int(value)), 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), dtype=np.uint8)


def colour(image: Image, rng: Generator) -> Image:
    """Apply one of the three colour steps."""
    steps: tuple[AugmentStep, ...] = (brightness_contrast, fancy_pca, hue_saturation_value)
    return steps[rng.integers(len(steps))](image, rng)


def erase(image: Image, rng: Generator) -> Image:
    """Paint a rectangle of 2 to 15 % of the area in one random colour."""
    height, width = image.shape[:2]
    area, ratio = rng.uniform(0.02, 0.15) * height * width, rng.uniform(0.5, 2)
    tall, wide = min(height, int((area * ratio) ** 0.5)), min(width, int((area / ratio) ** 0.5))
    top, left = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
    erased = image.copy()
    erased[top : top + tall, left : left + wide] = rng.integers(0, 256, 3)
    return erased


def gamma(image: Image, rng: Generator) -> Image:
    """Apply gamma correction with an exponent of 0.8 to 1.2."""
    return _clipped(255 * (image / 255.0) ** rng.uniform(0.8, 1.2))


def gauss_noise(image: Image, rng: Generator) -> Image:
    """Add Gaussian noise with a variance of 10 to 50 squared grey levels."""
    return _clipped(image + rng.normal(0, np.sqrt(rng.uniform(10, 50)), image.shape))


def motion_blur(image: Image, rng: Generator) -> Image:
    """Blur along a straight line of 3, 5 or 7 pixels in a random direction."""
    side = int(rng.choice((3, 5, 7)))
    angle, reach = rng.uniform(0, np.pi), (side - 1) / 2
    tip = np.rint(reach + reach * np.array([np.cos(angle), np.sin(angle)])).astype(int)
    kernel = np.zeros((side, side), np.float32)
    cv2.line(kernel, tuple(map(int, side - 1 - tip)), tuple(map(int, tip)), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), dtype=np.uint8)


def equalise(image: Image, rng: Generator) -> Image:
    """Equalise the lightness histogram locally, with limited contrast (CLAHE)."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(rng.uniform(1, 4), (8, 8)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)


def shuffle_channels(image: Image, rng: Generator) -> Image:
    """Permute the colour channels."""
    return np.ascontiguousarray(image[..., rng.permutation(3)])


def cut_out(image: Image, rng: Generator) -> Image:
    """Black out eight squares of 1/28 of the side."""
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) / 28))
    cut = image.copy()
    for _ in range(8):
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        cut[top : top + side, left : left + side] = 0
    return cut


def glass_blur(image: Image, rng: Generator) -> Image:
    """Blur, replace each pixel by a neighbour, and blur again."""
    height, width = image.shape[:2]
    soft = cv2.GaussianBlur(image, (0, 0), 0.7)
    y, x = np.indices((height, width))
    down, right = rng.integers(-2, 3, (2, height, width))
    moved = soft[np.clip(y + down, 0, height - 1), np.clip(x + right, 0, width - 1)]
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), 0.7), dtype=np.uint8)


#: Geometric steps that come first: weak and strong.
_NEAR = ((0.5, flip), (0.5, Affine(degrees=8.0, scale=(0.95, 1.12), shift=0.03)))
_FAR = ((0.5, flip), (0.6, Affine(degrees=10.0, scale=(0.92, 1.2), shift=0.04, stretch=0.1)))
#: Name -> steps in order, each with its probability. `bench` is the set of DeepfakeBench and DF40, used in
#: papers; `effort` that of Effort and DFD-HR; `gend` that of GenD. `compact` extends `bench` for a network
#: trained from scratch on few pictures: more positions, more resolutions, stronger compression. `clips` adds
#: video codecs to `compact`. `web` is stronger, so that file properties do not give labels away. `wild` adds
#: effects of cameras, editors and formats. `studio` also retouches skin, and keeps more detail.
AUGMENTATIONS: Mapping[str, tuple[tuple[float, AugmentStep], ...]] = {
    "none": (),
    "bench": ((0.5, flip), (0.5, Affine()), (0.5, random_blur), (0.5, colour), (0.5, Jpeg())),
    "effort": (
        (0.5, flip),
        (0.5, BrightnessContrast(0.2)),
        (0.3, hue_saturation_value),
        (0.1, Jpeg()),
        (0.1, gauss_noise),
        (0.1, motion_blur),
        (0.1, equalise),
        (0.1, shuffle_channels),
        (0.1, cut_out),
        (0.3, gamma),
        (0.3, glass_blur),
    ),
    "gend": (
        (0.5, flip),
        (1.0, Affine(scale=(0.9, 1.1), shift=0.1)),
        (0.1, random_blur),
        (1.0, brightness_contrast),
        (1.0, Jpeg()),
    ),
    "compact": (
        *_NEAR,
        (0.2, Shrink(0.5)),
        (0.05, random_blur),
        (0.3, colour),
        (0.05, noise),
        (0.3, Jpeg(40, 100)),
        (0.2, erase),
    ),
    "clips": (
        *_NEAR,
        (0.4, Shrink(0.25, codec=0.5)),
        (0.05, random_blur),
        (0.3, colour),
        (0.05, noise),
        (0.2, Jpeg(40, 100)),
        (0.25, Codec()),
        (0.2, erase),
    ),
    "web": (
        *_FAR,
        (0.5, Shrink(0.3, codec=0.5)),
        (0.05, random_blur),
        (0.35, colour),
        (0.05, noise),
        (0.3, Jpeg(35, 100)),
        (0.3, Codec()),
        (0.2, erase),
    ),
    "wild": (
        *_FAR,
        (0.2, expose),
        (0.15, fade),
        (0.1, sharpen),
        (0.5, Shrink(0.3, codec=0.5)),
        (0.05, random_blur),
        (0.3, colour),
        (0.05, noise),
        (0.04, dither),
        (0.3, Jpeg(35, 100)),
        (0.3, Codec()),
        (0.15, erase),
    ),
    "studio": (
        *_FAR,
        (0.15, expose),
        (0.1, fade),
        (0.15, retouch),
        (0.1, sharpen),
        (0.3, Shrink(0.3, codec=0.5)),
        (0.05, random_blur),
        (0.2, colour),
        (0.05, noise),
        (0.04, dither),
        (0.2, Jpeg(35, 100)),
        (0.2, Codec()),
        (0.15, erase),
    ),
}


def steps_of(name: str) -> tuple[tuple[float, AugmentStep], ...]:
    """Return the steps of a named set, each with its probability.

    Raises:
        UsageError: The set is unknown.
    """
    if name not in AUGMENTATIONS:
        raise UsageError(f"unknown augmentation {name!r}", choice_hint(name, AUGMENTATIONS))
    return AUGMENTATIONS[name]


def augmented(
    image: Image, name: str, seed: tuple[int, ...], mask: Image | None = None
) -> tuple[Image, Image | None]:
    """Return a random variant of a crop, with the same geometric steps applied to its mask.

    Args:
        image: RGB crop, shape (S, S, 3), uint8; not modified.
        name: A key of `AUGMENTATIONS`.
        seed: Determines the variant, for example (seed, epoch, index), whatever the order or the process in
            which crops are drawn.
        mask: Pixel layers of the crop, shape (S, S) or (S, S, C), uint8.

    Raises:
        UsageError: The set is unknown.
    """
    rng = np.random.default_rng(seed)
    for probability, step in steps_of(name):
        if rng.random() < probability:
            if mask is not None and (step is flip or isinstance(step, Affine)):
                mask = step(mask, copy.deepcopy(rng))
            image = step(image, rng)
    return image, mask
