"""The pipeline that people write today, to measure against: decode, find faces, align them, score nothing.

    python benchmarks/plain.py VIDEO...            # a JSON line when all is imported, then one a video
    python benchmarks/plain.py --decode VIDEO...   # imports and decoding alone

decord gives the frames as one batch; facenet-pytorch's MTCNN, at its defaults but for `keep_all`, searches
each full frame; the largest face is aligned to 256 px. Needs deepscan-forensics[torch].
"""

import json
import sys
import time

import cv2
import decord
import numpy as np
import numpy.typing as npt
from facenet_pytorch import MTCNN

from deepscan.crop_recipe import CropRecipe

Images = npt.NDArray[np.uint8]
#: Frames of a video.
FRAMES = 32
SIDE = 256
POINTS = CropRecipe(side=SIDE).template


def main(arguments: list[str]) -> None:
    """Go through videos and print the seconds of each."""
    alone = arguments[:1] == ["--decode"]
    finder = None if alone else MTCNN(keep_all=True, device="cpu")
    # Whoever has started this process knows when that was.
    tell(ready=True)
    for path in arguments[alone:]:
        begun = time.perf_counter()
        try:
            frames = decoded(path)
        except decord.DECORDError as error:
            tell(path=path, error=str(error))
            continue
        decoding = time.perf_counter() - begun
        crops = [] if finder is None else aligned(finder, frames)
        height, width = frames.shape[1:3]
        tell(
            path=path,
            decode=decoding,
            faces=time.perf_counter() - begun - decoding,
            found=len(crops),
            frames=len(frames),
            width=width,
            height=height,
        )


def decoded(path: str) -> Images:
    """Return an even sample of frames, RGB, shape (n, h, w, 3), uint8."""
    reader = decord.VideoReader(path, ctx=decord.cpu(0))
    chosen = np.linspace(0, len(reader) - 1, FRAMES).astype(int)
    return np.asarray(reader.get_batch(chosen).asnumpy())


def aligned(finder: MTCNN, frames: Images) -> list[Images]:
    """Return the largest face of each frame that has one."""
    crops = []
    for frame in frames:
        boxes, _, landmarks = finder.detect(frame, landmarks=True)
        if boxes is None:
            continue
        largest = np.argmax((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
        matrix, _ = cv2.estimateAffinePartial2D(
            landmarks[largest].astype(np.float32), POINTS, method=cv2.LMEDS
        )
        crops.append(np.asarray(cv2.warpAffine(frame, matrix, (SIDE, SIDE)), np.uint8))
    return crops


def tell(**facts: object) -> None:
    """Print facts as a JSON line at once."""
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
