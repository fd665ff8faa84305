"""Represent and apply the rotation and mirroring that a file asks for."""

import struct
from dataclasses import dataclass
from typing import Self

import numpy as np

from deepscan.media.frames import Image

#: EXIF orientation (CIPA DC-008, tag 0x0112) -> degrees clockwise, and whether to mirror left to right after
#: that.
_EXIF = {
    1: (0, False),
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (90, True),
    6: (90, False),
    7: (270, True),
    8: (270, False),
}


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight orientations of a picture.

    Attributes:
        rotation: Degrees clockwise (0, 90, 180 or 270) by which a viewer rotates the stored picture.
        mirrored: Whether it then mirrors the picture left to right.
    """

    rotation: int = 0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation must be 0, 90, 180 or 270, not {self.rotation}")

    @classmethod
    def from_exif(cls, value: int) -> Self:
        """Return the orientation for an EXIF value from 1 to 8; other values mean upright."""
        return cls(*_EXIF.get(value, _EXIF[1]))

    @classmethod
    def from_matrix(cls, matrix: bytes) -> Self:
        """Return the orientation given by a display matrix, to the nearest quarter turn.

        Args:
            matrix: Nine 32-bit integers in native byte order, as libav gives them, with the meaning of
                ISO/IEC 14496-12, section 6.2.2: the pixel (x, y) goes to (ax + cy, bx + dy).
        """
        a, b, _, c, d, *_ = struct.unpack("=9i", matrix)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(0 if d >= 0 else 180, mirrored=(a < 0) != (d < 0))
        return cls(90 if b > 0 else 270, mirrored=(b > 0) == (c > 0))

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height are swapped."""
        return self.rotation in (90, 270)

    def apply(self, image: Image) -> Image:
        """Return a view of a picture of shape (height, width, 3) as a viewer shows it."""
        turned = np.rot90(image, -self.rotation // 90)
        return turned[:, ::-1] if self.mirrored else turned
