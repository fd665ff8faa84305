"""Still faces: those of photographs, posters and screens, which do not move as a living head does."""

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from deepscan.faces.face import Face, Floats
from deepscan.media.frames import Image

#: Side of the small grey crop that a face is compared by, in pixels, and how many blocks it has along it.
SIDE, BLOCKS = 64, 8
# Chosen on 450 clips of talking heads, four frames each, made small and compressed: two lay below it, one of
# them a photograph. Of 190 others it calls one still, and of videos of photographs two in three (see
# benchmarks/still_faces-val.csv).
#: Least difference of a block, in units of the face's contrast, by which a face has moved.
MOVED = 0.12
#: Fewer faces, or less time between the first and the last, tell nothing.
LEAST_FACES, LEAST_SECONDS = 6, 2.0
#: Faces of a track that are compared with one in their middle.
COMPARED = 8
#: Blur of both crops, in pixels: what compression and noise leave of the finest detail says nothing.
_BLUR = 1.2
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)


def grey_crop(crop: Image) -> Image:
    """Return what faces are compared by, shape (SIDE, SIDE), uint8.

    Args:
        crop: The face aligned by `crop_recipe.REFERENCE`, RGB, uint8.
    """
    luma = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return cast(Image, cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def is_still(faces: Sequence[Face]) -> bool:
    """Return whether the faces of a track hardly change while time passes, as those of a photograph.

    Some faces are laid over one of them as well as an affine map can, so that a camera that moves, turns or
    zooms does not count, and are brought to its light. What then differs most in a living face, and in a fake
    that is made to speak, is a block about the mouth or the eyes. One in four may differ: a hand passes, or
    the map is not found.

    Args:
        faces: Of one track, in the order of their frames; those without a grey crop are left out.
    """
    usable = [face for face in faces if face.grey is not None]
    if len(usable) < LEAST_FACES or usable[-1].pts - usable[0].pts < LEAST_SECONDS:
        return False
    places = np.linspace(0, len(usable) - 1, min(len(usable), COMPARED)).round().astype(int).tolist()
    greys = [usable[k].grey for k in places]
    base = _blurred(greys.pop(len(greys) // 2))
    spare = len(greys) // 4
    for grey in greys:
        spare -= change(base, _blurred(grey)) >= MOVED
        if spare < 0:
            return False
    return True


def _blurred(grey: Image) -> Floats:
    return cast(Floats, cv2.GaussianBlur(grey.astype(np.float32), (0, 0), _BLUR))


def change(base: Floats, other: Floats) -> float:
    """Return how much the most changed block of a face differs from another's, in units of its contrast.

    Args:
        base: Grey crop, blurred, shape (SIDE, SIDE), float32.
        other: Likewise; it is laid over the first one.

    Returns:
        0 for the same face, infinity where it cannot be laid over the other.
    """
    start = np.eye(2, 3, dtype=np.float32)
    try:
        _, moved = cv2.findTransformECC(base, other, start, cv2.MOTION_AFFINE, _CRITERIA)
    except cv2.error:
        return float("inf")
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(other, moved, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    block = SIDE // BLOCKS
    inner = slice(block, SIDE - block)
    mine, theirs = (each[inner, inner] - each[inner, inner].mean() for each in (base, laid))
    gain = float((mine * theirs).mean()) / max(float(theirs.var()), 1e-6)
    left = (mine - gain * theirs).reshape(BLOCKS - 2, block, BLOCKS - 2, block)
    # Light that falls on a part of the face changes a block's mean, and not what is seen in it.
    return float(left.std(axis=(1, 3)).max()) / max(float(mine.std()), 1.0)
