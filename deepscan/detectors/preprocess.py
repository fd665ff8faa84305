"""What is made of aligned crops before a network sees them, the same in training and in a scan; no torch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.crop_recipe import CropRecipe
from deepscan.errors import UsageError
from deepscan.registry import Registry

CropBatch = NDArray[np.uint8]
NetworkInputs = dict[str, NDArray[np.float32]]
Faces = Sequence[NDArray[np.uint8] | None] | None


class Preprocessor(ABC):
    """Makes a network's inputs from crops.

    Args:
        crop: How the crops were cut.
        mean: Per RGB channel, of pixels in [0, 1].
        std: Per RGB channel.

    Attributes:
        views: In how many ways the same crop can be looked at; its score is the mean over them.
    """

    views = 1

    def __init__(self, crop: CropRecipe, mean: Sequence[float], std: Sequence[float]) -> None:
        self.crop, self.mean, self.std = crop, tuple(mean), tuple(std)

    @abstractmethod
    def __call__(self, crops: CropBatch, view: int = 0, faces: Faces = None) -> NetworkInputs:
        """Return the network's inputs by name, float32; the first axis of each is the batch.

        Args:
            crops: RGB, shape (B, S, S, 3), uint8.
            view: Which look, from 0.
            faces: Where the face of each is, 0 to 255, shape (S, S), uint8, None for one where that is not
                known; only training data say so.
        """


#: Name -> what makes the inputs; a card states it as `inputs.kind`, its other arguments beside it.
PREPROCESSORS: Registry[type[Preprocessor]] = Registry(
    "kind of inputs",
    {
        "crops": "deepscan.detectors.preprocess",
        "contrast": "deepscan.detectors.corit_inputs",
    },
)


@PREPROCESSORS.register("crops")
class CropPreprocessor(Preprocessor):
    """The crops themselves, normalised, and nothing else: `crops`, shape (B, 3, S, S)."""

    def __call__(self, crops: CropBatch, view: int = 0, faces: Faces = None) -> NetworkInputs:
        """Return the normalised crops."""
        return {"crops": normalised(crops, self.mean, self.std)}


def make_preprocessor(
    stated: Mapping[str, Any], crop: CropRecipe, mean: Sequence[float], std: Sequence[float]
) -> Preprocessor:
    """Return what makes the inputs that a card or a recipe states.

    Args:
        stated: The `kind`, and its arguments.
        crop: How the crops were cut.
        mean: Per RGB channel.
        std: Per RGB channel.

    Raises:
        UsageError: The kind or an argument is unknown or out of range.
    """
    arguments = dict(stated)
    kind = PREPROCESSORS.get(arguments.pop("kind", "crops"))
    try:
        return kind(crop, mean, std, **arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad inputs: {error}", "correct `inputs` in the recipe or the card")


def normalised(crops: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Return crops as networks take them.

    Args:
        crops: RGB crops, shape (B, S, S, 3), uint8.
        mean: Per RGB channel, of pixels in [0, 1].
        std: Per RGB channel.

    Returns:
        (pixel / 255 - mean) / std, shape (B, 3, S, S), float32, contiguous.
    """
    scale = 1 / (255 * np.asarray(std, dtype=np.float32))
    offset = np.asarray(mean, dtype=np.float32) / np.asarray(std, dtype=np.float32)
    # Channels first: arithmetic over a last axis of three takes NumPy six times as long.
    values = np.ascontiguousarray(crops.transpose(0, 3, 1, 2)).astype(np.float32)
    np.multiply(values, scale[:, None, None], out=values)
    return np.subtract(values, offset[:, None, None], out=values)
