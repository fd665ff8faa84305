"""Hold face candidates on their way through MTCNN's networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepscan.faces.boxes import BoxIndices, Overlap, nms
from deepscan.faces.face import Floats


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes on their way through the cascade.

    Attributes:
        owner: Index of the image in which each was found, shape (n,).
        boxes: Left, top, right, bottom in that image's pixels, shape (n, 4).
        scores: The last net's confidence, shape (n,).
        offsets: That net's corrections of the edges (see `boxes.apply_deltas`), shape (n, 4).
        points: O-Net's landmarks in units of the box, five x then five y, shape (n, 10); (n, 0) before O-Net.
    """

    owner: BoxIndices
    boxes: Floats
    scores: Floats
    offsets: Floats
    points: Floats

    def of(self, image: int) -> "Candidates":
        """Return the candidates of one image."""
        return self.take(np.flatnonzero(self.owner == image))

    @classmethod
    def joined(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """Concatenate candidates."""
        if not parts:
            none = np.zeros((0, 10), np.float32)
            return cls(np.zeros(0, np.intp), none[:, :4], none[:, 0], none[:, :4], none)
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def take(self, chosen: BoxIndices) -> "Candidates":
        """Return the selected candidates, in the given order."""
        return Candidates(*(getattr(self, name)[chosen] for name in self.__slots__))

    def scaled(self, factors: Floats) -> "Candidates":
        """Return the candidates in the pixels of a larger image, of which theirs is a copy.

        Args:
            factors: Horizontal and vertical scale factors, shape (2,).
        """
        points = self.points.reshape(-1, 2, 5) * factors[:, None]
        return replace(self, boxes=self.boxes * np.tile(factors, 2), points=points.reshape(-1, 10))

    def __len__(self) -> int:
        return len(self.scores)

    def suppressed(self, limit: float, overlap: Overlap = "iou", rim: float = 0) -> "Candidates":
        """Return the candidates that `boxes.nms` keeps within each image, best first."""
        kept = [np.zeros(0, np.intp)]
        for image in np.unique(self.owner):
            own = np.flatnonzero(self.owner == image)
            kept.append(own[nms(self.boxes[own], self.scores[own], limit, overlap, rim)])
        return self.take(np.concatenate(kept))
