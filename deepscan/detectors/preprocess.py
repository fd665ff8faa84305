"""Turn aligned crops into a network's inputs, in training and in a scan. Needs no torch."""

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
        crop: Recipe that the crops were cut by.
        mean: Mean per RGB channel, for pixels in [0, 1].
        std: Standard deviation per RGB channel.

    Attributes:
        views: Number of variants of each crop's inputs; the crop's score is the mean over them.
    """

    views = 1

    def __init__(self, crop: CropRecipe, mean: Sequence[float], std: Sequence[float]) -> None:
        self.crop, self.mean, self.std = crop, tuple(mean), tuple(std)

    @abstractmethod
    def __call__(self, crops: CropBatch, view: int = 0, faces: Faces = None) -> NetworkInputs:
        """Return the network's inputs by name, float32; the first axis of each is the batch.

        Args:
            crops: RGB, shape (B, S, S, 3), uint8.
            view: Number of the view, from 0.
            faces: Mask of each crop's face, 0 to 255, shape (S, S), uint8, or None if unknown; only training
                data have them.
        """


#: `inputs.kind` of a card or recipe -> class that makes the inputs; it takes the other keys of `inputs`.
PREPROCESSORS: Registry[type[Preprocessor]] = Registry(
    "kind of inputs",
    {
        "crops": "deepscan.detectors.preprocess",
        "contrast": "deepscan.detectors.corit_inputs",
    },
)


@PREPROCESSORS.register("crops")
class CropPreprocessor(Preprocessor):
    """Makes one input: the normalised `crops`, shape (B, 3, S, S)."""

    def __call__(self, crops: CropBatch, view: int = 0, faces: Faces = None) -> NetworkInputs:
        """Return the normalised crops."""
        return {"crops": normalised(crops, self.mean, self.std)}


def make_preprocessor(
    settings: Mapping[str, Any], crop: CropRecipe, mean: Sequence[float], std: Sequence[float]
) -> Preprocessor:
    """Build a preprocessor from `inputs` of a card or a recipe.

    Args:
        settings: The `kind` and its arguments.
        crop: Recipe that the crops were cut by.
        mean: Mean per RGB channel.
        std: Standard deviation per RGB channel.

    Raises:
        UsageError: The kind or an argument is unknown or out of range.
    """
    arguments = dict(settings)
    kind = PREPROCESSORS.get(arguments.pop("kind", "crops"))
    try:
        return kind(crop, mean, std, **arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad arguments of inputs: {error}", "correct `inputs` in the recipe or the card")


def normalised(crops: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Normalise crops for a network.

    Args:
        crops: RGB crops, shape (B, S, S, 3), uint8.
        mean: Mean per RGB channel, for pixels in [0, 1].
        std: Standard deviation per RGB channel.

    Returns:
        (pixel / 255 - mean) / std, shape (B, 3, S, S), float32, contiguous.
    """
    scale = 1 / (255 * np.asarray(std, dtype=np.float32))
    offset = np.asarray(mean, dtype=np.float32) / np.asarray(std, dtype=np.float32)
    # Channels first: NumPy is six times as slow over a last axis of three.
    values = np.ascontiguousarray(crops.transpose(0, 3, 1, 2)).astype(np.float32)
    np.multiply(values, scale[:, None, None], out=values)
    return np.subtract(values, offset[:, None, None], out=values)
