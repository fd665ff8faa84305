"""The crop recipe: where a model wants the eyes, nose and mouth of an aligned face to be."""

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
#: Sides of a crop, in pixels.
SMALLEST, LARGEST = 16, 2048

Interpolation = Literal["linear", "cubic", "area", "native"]
Border = Literal["black", "reflect"]


@dataclass(frozen=True, slots=True)
class CropRecipe:
    """How a model's faces are cut out, the same in training and in a scan.

    The five landmarks are mapped by a similarity transform onto the base points, scaled to the crop and
    shrunk about its centre: point = (base * side / 112 + (scale - 1) / 2 * side) / scale, then moved.

    Attributes:
        side: Side of the square crop in pixels.
        scale: Margin factor; 1.3 is DeepfakeBench's (eye distance 0.242 of the side), smaller is tighter.
        shift: Moves the face right and down by these fractions of the side.
        interpolation: `linear` and `cubic` read the frame as it is; `area` first averages it down when the
            face is more than twice as large as its crop, so that a large face does not alias; `native` cuts
            the face at the size that it has in the frame, and brings that to the network's by Pillow's
            bicubic, as processors of published models do.
        border: What fills the crop past the frame's edge: `black`, as DeepfakeBench does, or the frame's
            mirror image, which suits a model whose training pictures do not reach as far as its crops.
        resize: Side to which the crop is resized (bicubic) for the network, None if it takes the crop as is.
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
        """Where the five landmarks belong in the crop, in pixels, shape (5, 2), float32."""
        base = np.asarray(BASE_POINTS, dtype=np.float64)
        points = (base * self.side / BASE_SIDE + (self.scale - 1) / 2 * self.side) / self.scale
        template: NDArray[np.float32] = (points + np.asarray(self.shift) * self.side).astype(np.float32)
        return template

    def landmarks_at(self, side: int) -> NDArray[np.float32]:
        """Return where the five landmarks lie in a crop that has been resized, in its pixels, shape (5, 2).

        Args:
            side: Of the resized crop.
        """
        # The middle of a picture's first pixel is 0, its edge -0.5: that is what a resize leaves in place.
        half = np.float32(0.5)
        landmarks: NDArray[np.float32] = (self.template + half) * np.float32(side / self.side) - half
        return landmarks

    @property
    def input_side(self) -> int:
        """Side in pixels of what the network sees."""
        return self.resize or self.side

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a card states it."""
        return {
            "side": self.side,
            "scale": self.scale,
            "shift": list(self.shift),
            "interpolation": self.interpolation,
            "border": self.border,
            "resize": self.resize,
        }

    @classmethod
    def from_json(cls, stated: dict[str, Any]) -> "CropRecipe":
        """Return the recipe that a card states.

        Raises:
            ContractError: A value is missing, unknown or out of range.
        """
        try:
            return cls(**{**stated, "shift": tuple(stated.get("shift", (0.0, 0.0)))})
        except (TypeError, ValueError) as error:
            raise ContractError(f"bad crop recipe: {error}", "correct `crop` in the model's card.yaml")


#: How a face is cut out to measure its sharpness and look, whatever crop the model takes: figures and limits
#: then mean the same for every model.
REFERENCE = CropRecipe(side=128, scale=1.0, interpolation="area", border="reflect")
