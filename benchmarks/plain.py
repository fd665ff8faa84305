"""A common face pipeline as a baseline: decode, detect faces and align them, without scoring.

    python benchmarks/plain.py VIDEO...            # a JSON line after the imports, then one per video
    python benchmarks/plain.py --decode VIDEO...   # imports and decoding only

decord returns the frames as one batch; facenet-pytorch's MTCNN, with its defaults except `keep_all`, searches
each full frame; the largest face is aligned to 256 px. Requires deepscan-forensics[torch].
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
#: Frames per video.
FRAMES = 32
SIDE = 256
POINTS = CropRecipe(side=SIDE).template


def main(arguments: list[str]) -> None:
    """Process videos and print the seconds of each."""
    decode_only = arguments[:1] == ["--decode"]
    finder = None if decode_only else MTCNN(keep_all=True, device="cpu")
    # The parent process measures the time until this line.
    report(ready=True)
    for path in arguments[decode_only:]:
        start = time.perf_counter()
        try:
            frames = decode(path)
        except decord.DECORDError as error:
            report(path=path, error=str(error))
            continue
        decoding = time.perf_counter() - start
        crops = [] if finder is None else align_largest(finder, frames)
        height, width = frames.shape[1:3]
        report(
            path=path,
            decode=decoding,
            faces=time.perf_counter() - start - decoding,
            found=len(crops),
            frames=len(frames),
            width=width,
            height=height,
        )


def decode(path: str) -> Images:
    """Decode evenly spaced frames, RGB, shape (n, h, w, 3), uint8."""
    reader = decord.VideoReader(path, ctx=decord.cpu(0))
    chosen = np.linspace(0, len(reader) - 1, FRAMES).astype(int)
    return np.asarray(reader.get_batch(chosen).asnumpy())


def align_largest(finder: MTCNN, frames: Images) -> list[Images]:
    """Return the largest face of each frame with faces, aligned."""
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


def report(**values: object) -> None:
    """Print values as a JSON line and flush it."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
