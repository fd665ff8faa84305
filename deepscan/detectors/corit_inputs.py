"""CoRIT's inputs: each crop, its self-blended counterpart and its regions. Needs no torch."""

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from deepscan.crop_recipe import CropRecipe
from deepscan.detectors.preprocess import (
    PREPROCESSORS,
    CropBatch,
    Faces,
    NetworkInputs,
    Preprocessor,
    normalised,
)
from deepscan.faces.blend import self_blended
from deepscan.faces.regions import CENTRE, canonical_face, coverage, partition, random_partition

FaceSource = Literal["canonical", "center", "given"]
Parts = Literal["face", "random"]
#: Side in pixels of a patch when its overlap with the face is measured: CLIP ViT-L/14's.
_PATCH = 14


@PREPROCESSORS.register("contrast")
class CoritPreprocessor(Preprocessor):
    """Makes `crops` and `counterparts`, both (B, 3, S, S), and `regions`, (B, 3, P), 0 or 1.

    A counterpart is the crop blended with itself (CoRIT, Sec. IV-A). It depends only on the crop's pixels,
    the seed and the view, so that a score does not depend on the rest of the batch.

    Args:
        crop: Recipe that the crops were cut by.
        mean: Mean per RGB channel, for pixels in [0, 1].
        std: Standard deviation per RGB channel.
        grid: Patches along a side of the network's backbone; P = grid * grid.
        seed: Seed of the counterparts and of random regions.
        views: Number of counterparts over which a score is averaged.
        face: `canonical`: where the crop recipe puts the face; `center`: the middle, for crops without an
            aligned face; `given`: the training data's face masks, and canonical without one, as in a scan.
        regions: `face`: foreground, boundary and background; `random`: three random thirds.
        overlap: Whether patches on the boundary stay in the foreground too.

    Raises:
        ValueError: An argument is unknown or out of range.
    """

    def __init__(
        self,
        crop: CropRecipe,
        mean: Sequence[float],
        std: Sequence[float],
        grid: int = 16,
        seed: int = 1024,
        views: int = 1,
        face: FaceSource = "canonical",
        regions: Parts = "face",
        overlap: bool = False,
    ) -> None:
        super().__init__(crop, mean, std)
        if min(grid, views) < 1 or seed < 0:
            raise ValueError(
                f"grid and views must be at least 1 and seed at least 0, not {grid}, {views} and {seed}"
            )
        for name, value, kinds in (("face", face, FaceSource), ("regions", regions, Parts)):
            if value not in get_args(kinds):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kinds))}, not {value!r}")
        self.seed, self.views, self.grid, self.overlap = seed, views, grid, overlap
        self.use_face_masks = face == "given" and regions == "face"
        self.face = CENTRE if face == "center" else canonical_face(crop)
        if regions == "random":
            self.regions = random_partition(grid, seed)
        else:
            self.regions = partition(coverage(self.face.mask(grid * _PATCH), grid), overlap=overlap)

    def __call__(self, crops: CropBatch, view: int = 0, faces: Faces = None) -> NetworkInputs:
        """Return the crops, their counterparts of a view, and the regions."""
        counterparts = np.stack([self.counterpart(crop, view) for crop in crops]) if len(crops) else crops
        return {
            "crops": normalised(crops, self.mean, self.std),
            "counterparts": normalised(counterparts, self.mean, self.std),
            "regions": self._regions(len(crops), faces),
        }

    def _regions(self, count: int, faces: Faces) -> NDArray[np.float32]:
        if not self.use_face_masks or faces is None:
            return np.repeat(self.regions[None], count, axis=0)
        parts = [
            self.regions if face is None else partition(coverage(face > 127, self.grid), overlap=self.overlap)
            for face in faces
        ]
        return np.stack(parts)

    def counterpart(self, crop: NDArray[np.uint8], view: int = 0) -> NDArray[np.uint8]:
        """Return the self-blended counterpart of a crop, both of shape (S, S, 3)."""
        digest = hashlib.blake2b(crop.tobytes(), digest_size=16).digest()
        rng = np.random.default_rng((int.from_bytes(digest, "little"), self.seed, view))
        return self_blended(crop, self.crop, rng, self.face)[0]
