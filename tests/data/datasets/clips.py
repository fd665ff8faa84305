"""Clips and pictures with and without a face, small enough to cut hundreds of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from deepscan.media.frames import Image

SAMPLES = Path(__file__).parents[3] / "sample_videos"
#: Width and height of a clip, its number of frames, and their step in the sample video.
SIZE, FRAMES, STEP = (200, 150), 6, 4
#: Side of the moving square next to the mouth that is green in a clip and white in its mask.
MARK = 16


@dataclass(frozen=True)
class Clips:
    """Files for replicas of data sets.

    Attributes:
        videos: `real`, `fake`, `mask` of the fake, `blank` (without a face) and `empty` -> the file.
        pictures: The same names, except for `mask` -> a picture; the `empty` one is an empty file.
    """

    videos: Mapping[str, Path]
    pictures: Mapping[str, Path]


def make(folder: Path) -> Clips:
    """Create the files from the sample videos.

    The real clip is darker than the fake one, so that a detector of brightness separates them.
    """
    shown = {
        "real": [(part(frame, 60, 0, 520) * 0.6).astype(np.uint8) for frame in sampled("real_hopper")],
        "fake": [part(frame, 110, 30, 320) for frame in sampled("swapped")],
        "blank": [part(frame, 0, 0, 640) for frame in sampled("no_face")],
    }
    shown["mask"] = [np.zeros_like(frame) for frame in shown["fake"]]
    for at, (frame, mask) in enumerate(zip(shown["fake"], shown["mask"], strict=True)):
        # The square moves by a quarter of its side per frame, which reveals masks of a neighbouring frame.
        left = 70 + MARK // 4 * at
        frame[100 : 100 + MARK, left : left + MARK] = (0, 255, 0)
        mask[100 : 100 + MARK, left : left + MARK] = 255
    videos = {name: encode(frames, folder / f"{name}.mp4") for name, frames in shown.items()}
    pictures = {name: folder / f"{name}.png" for name in ("real", "fake", "blank", "empty")}
    for name in ("real", "fake", "blank"):
        # Published sequences are cropped around the face.
        cv2.imwrite(str(pictures[name]), shown[name][0][:, 25:175, ::-1])
    videos["empty"] = folder / "empty.mp4"
    for path in (videos["empty"], pictures["empty"]):
        path.touch()
    return Clips(videos, pictures)


def sampled(name: str) -> list[Image]:
    """Return the frames of a sample video that make up a clip."""
    with av.open(str(SAMPLES / f"{name}.mp4")) as container:
        taken = islice(container.decode(video=0), 0, FRAMES * STEP, STEP)
        return [frame.to_ndarray(format="rgb24") for frame in taken]


def part(frame: Image, left: int, top: int, width: int) -> Image:
    """Return a part of a frame with the aspect ratio of a clip, scaled to its size."""
    height = width * SIZE[1] // SIZE[0]
    cut = frame[top : top + height, left : left + width]
    return np.asarray(cv2.resize(cut, SIZE, interpolation=cv2.INTER_AREA), np.uint8)


def encode(frames: Sequence[Image], path: Path) -> Path:
    """Write a clip at a high quality, so that its colours are preserved."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"crf": "8", "threads": "1"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
