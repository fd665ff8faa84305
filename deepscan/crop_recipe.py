"""The crop recipe: where the eyes, nose and mouth of an aligned face are in a model's input."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepscan.errors import ContractError

#: Eyes, nose and mouth corners on a 112-pixel square (DeepfakeBench, preprocessing/preprocess.py).
BASE_POINTS = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
BASE_SIDE = 112
#: Limits for the side of a crop, in pixels.
SMALLEST, LARGEST = 16, 2048

Interpolation = Literal["linear", "cubic", "area", "native"]
Border = Literal["black", "reflect"]


@dataclass(frozen=True, slots=True)
class CropRecipe:
    """How a model's faces are cropped, in training and in a scan alike.

    The five landmarks are mapped by a similarity transform onto the base points, scaled to the crop and
    shrunk about its centre, point = (base * side / 112 + (scale - 1) / 2 * side) / scale, then shifted.

    Attributes:
        side: Side of the square crop in pixels.
        scale: Margin factor; smaller is tighter. DeepfakeBench uses 1.3 (eye distance 0.242 of the side).
        shift: Moves the face right and down by these fractions of the side.
        interpolation: `linear` and `cubic` sample the frame directly. `area` first downscales by averaging if
            the face is more than twice as large as its crop, to avoid aliasing. `native` crops the face at
            its size in the frame, then resizes it with Pillow's bicubic filter, as published models do.
        border: Fills the crop beyond the frame's edge: `black`, as in DeepfakeBench, or `reflect`, the frame
            mirrored, for models whose training pictures are smaller than their crops.
        resize: Side to which the crop is resized (bicubic) for the network; None to use the crop unchanged.
    """

    side: int = 256
    scale: float = 1.3
    shift: tuple[float, float] = (0.0, 0.0)
    interpolation: Interpolation = "linear"
    border: Border = "black"
    resize: int | None = None

    def __post_init__(self) -> None:
        if not SMALLEST <= self.side <= LARGEST:
            raise ValueError(f"crop side must be {SMALLEST}..{LARGEST} pixels, not {self.side}")
        if not 0.3 <= self.scale <= 4:
            raise ValueError(f"crop scale must be 0.3..4, not {self.scale}")
        if len(self.shift) != 2 or not all(abs(part) < 1 for part in self.shift):
            raise ValueError(f"crop shift must be two fractions of the side, not {self.shift}")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(
                f"interpolation must be one of {get_args(Interpolation)}, not {self.interpolation!r}"
            )
        if self.border not in get_args(Border):
            raise ValueError(f"border must be one of {get_args(Border)}, not {self.border!r}")
        if self.resize is not None and not SMALLEST <= self.resize <= LARGEST:
            raise ValueError(f"resize must be {SMALLEST}..{LARGEST} pixels, not {self.resize}")

    @property
    def template(self) -> NDArray[np.float32]:
        """Positions of the five landmarks in the crop, in pixels, shape (5, 2), float32."""
        base = np.asarray(BASE_POINTS, dtype=np.float64)
        points = (base * self.side / BASE_SIDE + (self.scale - 1) / 2 * self.side) / self.scale
        template: NDArray[np.float32] = (points + np.asarray(self.shift) * self.side).astype(np.float32)
        return template

    def landmarks_at(self, side: int) -> NDArray[np.float32]:
        """Return the positions of the five landmarks in a resized crop, in its pixels, shape (5, 2), float32.

        Args:
            side: Side of the resized crop in pixels.
        """
        # The centre of the first pixel is at 0 and the edge of the picture at -0.5, which resizing keeps.
        half = np.float32(0.5)
        landmarks: NDArray[np.float32] = (self.template + half) * np.float32(side / self.side) - half
        return landmarks

    @property
    def input_side(self) -> int:
        """Side of the network's input in pixels."""
        return self.resize or self.side

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as it is stored in a card."""
        return {
            "side": self.side,
            "scale": self.scale,
            "shift": list(self.shift),
            "interpolation": self.interpolation,
            "border": self.border,
            "resize": self.resize,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "CropRecipe":
        """Return the recipe from a card.

        Raises:
            ContractError: A value is missing, unknown or out of range.
        """
        try:
            return cls(**{**values, "shift": tuple(values.get("shift", (0.0, 0.0)))})
        except (TypeError, ValueError) as error:
            raise ContractError(f"invalid crop recipe: {error}", "correct crop: in the model's card.yaml")


#: Recipe for measuring a face's sharpness and appearance. It does not depend on the model, so that values and
#: limits mean the same for every model.
REFERENCE = CropRecipe(side=128, scale=1.0, interpolation="area", border="reflect")
