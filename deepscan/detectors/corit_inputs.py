"""The inputs of CoRIT: each crop, its self-blended counterpart and the regions of its patches; no torch."""

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
#: Pixels along a patch at which the face's share of it is counted: CLIP ViT-L/14's own.
_PATCH = 14


@PREPROCESSORS.register("contrast")
class CoritPreprocessor(Preprocessor):
    """Gives `crops` and `counterparts`, both (B, 3, S, S), and `regions`, (B, 3, P), 0 or 1.

    A counterpart is the crop blended with itself (CoRIT, Sec. IV-A). It depends only on the crop's own
    pixels, the seed and the view, so that a score does not change with the batch that a crop is in.

    Args:
        crop: How the crops were cut.
        mean: Per RGB channel, of pixels in [0, 1].
        std: Per RGB channel.
        grid: Patches along a side of the network's backbone; P = grid * grid.
        seed: Of the counterparts, and of random regions.
        views: Counterparts over which a score is averaged.
        face: `canonical`: where the crop recipe puts the face; `center`: the middle, for crops that no face
            was aligned in; `given`: as the training data say, canonical where they say nothing, as in a scan.
        regions: `face`: foreground, boundary and background; `random`: three random thirds instead.
        overlap: Whether the foreground keeps the patches that it shares with the boundary.

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
            raise ValueError(f"grid {grid} and views {views} are at least 1, seed {seed} at least 0")
        for name, value, kinds in (("face", face, FaceSource), ("regions", regions, Parts)):
            if value not in get_args(kinds):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kinds))}, not {value!r}")
        self.seed, self.views, self.grid, self.overlap = seed, views, grid, overlap
        self.given = face == "given" and regions == "face"
        self.face = CENTRE if face == "center" else canonical_face(crop)
        if regions == "random":
            self.regions = random_partition(grid, seed)
        else:
            self.regions = partition(coverage(self.face.mask(grid * _PATCH), grid), overlap=overlap)

    def __call__(self, crops: CropBatch, view: int = 0, faces: Faces = None) -> NetworkInputs:
        """Return the crops, their counterparts of a view, and the regions."""
        twins = np.stack([self.counterpart(crop, view) for crop in crops]) if len(crops) else crops
        return {
            "crops": normalised(crops, self.mean, self.std),
            "counterparts": normalised(twins, self.mean, self.std),
            "regions": self._regions(len(crops), faces),
        }

    def _regions(self, count: int, faces: Faces) -> NDArray[np.float32]:
        if not self.given or faces is None:
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
