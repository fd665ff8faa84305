"""Detect still faces, those of photos, posters and screens, which do not move like a living head."""

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from deepscan.faces.face import Face, Floats
from deepscan.media.frames import Image

#: Side in pixels of the grey crops that are compared, and the number of blocks along a side.
SIDE, BLOCKS = 64, 8
# Chosen on 450 clips of talking heads with four frames each, downscaled and compressed: two were below the
# threshold, one of them a photo. Of 190 others it calls one still, and of videos of photos two in three (see
# benchmarks/still_faces-val.csv).
#: A block that differs by this much or more, in units of the face's contrast, has moved.
MOVED = 0.12
#: With fewer faces, or less time between the first and the last, no decision is made.
LEAST_FACES, LEAST_SECONDS = 6, 2.0
#: Number of faces of a track that are compared with the one in the middle.
COMPARED = 8
#: Blur of both crops in pixels: the finest detail is mostly compression artefacts and noise.
_BLUR = 1.2
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)


def grey_crop(crop: Image) -> Image:
    """Return the grey crop that faces are compared by, shape (SIDE, SIDE), uint8.

    Args:
        crop: The face aligned by `crop_recipe.REFERENCE`, RGB, uint8.
    """
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return cast(Image, cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def is_still(faces: Sequence[Face]) -> bool:
    """Return whether the faces of a track hardly change over time, like those of a photo.

    Up to `COMPARED` faces are registered to one of them by an affine map, which cancels out movement of the
    camera, and adjusted to its brightness. In a living face, or a fake that is made to speak, some block
    around the mouth or the eyes then still differs. One face in four may differ anyway: a hand passes by, or
    registration fails.

    Args:
        faces: The faces of one track, in order of their frames. Those without a grey crop are ignored.
    """
    usable = [face for face in faces if face.grey is not None]
    if len(usable) < LEAST_FACES or usable[-1].pts - usable[0].pts < LEAST_SECONDS:
        return False
    places = np.linspace(0, len(usable) - 1, min(len(usable), COMPARED)).round().astype(int).tolist()
    greys = [usable[k].grey for k in places]
    base = _blurred(greys.pop(len(greys) // 2))
    allowance = len(greys) // 4
    for grey in greys:
        allowance -= change(base, _blurred(grey)) >= MOVED
        if allowance < 0:
            return False
    return True


def _blurred(grey: Image) -> Floats:
    return cast(Floats, cv2.GaussianBlur(grey.astype(np.float32), (0, 0), _BLUR))


def change(base: Floats, other: Floats) -> float:
    """Return how much the most changed block of two faces differs, in units of the first one's contrast.

    Args:
        base: Grey crop, blurred, shape (SIDE, SIDE), float32.
        other: Likewise; it is registered to the first.

    Returns:
        0 for identical faces, infinity if registration fails.
    """
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, affine = cv2.findTransformECC(base, other, start, cv2.MOTION_AFFINE, _CRITERIA)
    except cv2.error:
        return float("inf")
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    registered = cv2.warpAffine(other, affine, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    block = SIDE // BLOCKS
    inner = slice(block, SIDE - block)
    reference, compared = (face[inner, inner] - face[inner, inner].mean() for face in (base, registered))
    gain = float((reference * compared).mean()) / max(float(compared.var()), 1e-6)
    residual = (reference - gain * compared).reshape(BLOCKS - 2, block, BLOCKS - 2, block)
    # Light on a part of the face changes a block's mean but not its detail.
    return float(residual.std(axis=(1, 3)).max()) / max(float(reference.std()), 1.0)
