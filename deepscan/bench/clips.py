"""Clips made up for measuring, the same everywhere: drawn faces that a finder finds, on a moving ground."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deepscan.media.frames import Image

Opacity = NDArray[np.float32]

SKIN, SHADOW, HAIR, DARK = (215, 168, 140), (190, 140, 116), (50, 35, 28), (12, 10, 10)
#: What a face is drawn of, from back to front: colour, middle and half axes in parts of the side, blur.
PARTS: tuple[tuple[tuple[int, int, int], tuple[float, float, float, float], float], ...] = (
    (HAIR, (0.50, 0.42, 0.36, 0.40), 0.010),
    (SHADOW, (0.50, 0.90, 0.16, 0.25), 0.010),
    (SKIN, (0.50, 0.50, 0.28, 0.37), 0.008),
    *(
        part
        for x in (0.385, 0.615)
        for part in (
            ((165, 115, 95), (x, 0.430, 0.085, 0.050), 0.020),
            ((240, 238, 235), (x, 0.440, 0.062, 0.030), 0.003),
            ((70, 50, 35), (x, 0.440, 0.028, 0.030), 0.003),
            (DARK, (x, 0.440, 0.012, 0.013), 0.002),
            ((90, 60, 45), (x, 0.405, 0.070, 0.012), 0.006),
            ((60, 42, 32), (x, 0.355, 0.085, 0.016), 0.006),
        )
    ),
    (SHADOW, (0.53, 0.530, 0.020, 0.110), 0.015),
    (SHADOW, (0.50, 0.605, 0.055, 0.028), 0.012),
    ((90, 50, 40), (0.47, 0.620, 0.014, 0.009), 0.004),
    ((90, 50, 40), (0.53, 0.620, 0.014, 0.009), 0.004),
    ((180, 85, 85), (0.50, 0.735, 0.100, 0.032), 0.006),
    ((90, 35, 35), (0.50, 0.733, 0.095, 0.006), 0.004),
    (SHADOW, (0.50, 0.790, 0.060, 0.020), 0.015),
)
#: A face's square in parts of the frame's height, and how far it strays from its place in parts of the same.
FACE, STRAY = 0.5, 0.04


@dataclass(frozen=True, slots=True)
class Clip:
    """What a made-up clip is like.

    Attributes:
        width: In pixels, even.
        height: In pixels, even.
        frames: How many.
        faces: How many are in view throughout, side by side.
        fps: Frames a second.
        seed: Draws the ground and the movement.
    """

    width: int = 1280
    height: int = 720
    frames: int = 300
    faces: int = 1
    fps: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 64 or self.width % 2 or self.height % 2:
            raise ValueError(f"a clip has even sides of at least 64, not {self.width}x{self.height}")
        if min(self.frames, self.fps) < 1 or self.faces < 0:
            raise ValueError(f"{self.frames} frames at {self.fps} a second of {self.faces} faces are no clip")

    @property
    def name(self) -> str:
        """A file name that says what it is like."""
        return f"{self.width}x{self.height}-{self.frames}-faces{self.faces}-{self.seed}.mp4"


#: What is measured where no file is named: ten seconds each in the two sizes that most videos have.
CLIPS = (
    Clip(1280, 720),
    Clip(1280, 720, faces=2, seed=1),
    Clip(1920, 1080, seed=2),
    Clip(1920, 1080, faces=2, seed=3),
)


def draw_face(side: int) -> tuple[Image, Opacity]:
    """Return a drawn face in front view.

    Args:
        side: Of the square in pixels; the face finder finds faces of at least 80.

    Returns:
        RGB, shape (side, side, 3), uint8, and where it is opaque, shape (side, side), in [0, 1].
    """
    picture, opaque = np.zeros((side, side, 3), np.float32), np.zeros((side, side), np.float32)
    for colour, (x, y, across, down), blur in PARTS:
        layer = np.zeros((side, side), np.float32)
        middle, axes = (round(x * side), round(y * side)), (round(across * side), round(down * side))
        cv2.ellipse(layer, middle, axes, 0, 0, 360, 1.0, cv2.FILLED, cv2.LINE_AA)
        layer = cv2.GaussianBlur(layer, (0, 0), max(blur * side, 0.3)).astype(np.float32)
        picture += layer[..., None] * (np.array(colour, np.float32) - picture)
        opaque = np.maximum(opaque, layer)
    return np.clip(picture, 0, 255).astype(np.uint8), opaque


def pictures(clip: Clip) -> Iterator[Image]:
    """Yield the frames of a clip, RGB, shape (height, width, 3), uint8: all moves, under light noise."""
    random = np.random.default_rng(clip.seed)
    ground = _ground(random, clip.width + 64, clip.height + 64)
    noise = random.integers(-4, 5, (clip.height + 32, clip.width + 32, 3), dtype=np.int16)
    side = min(round(FACE * clip.height), clip.width // max(1, clip.faces)) // 2 * 2
    face, opaque = draw_face(side)
    phases = random.uniform(0, 2 * np.pi, (max(1, clip.faces), 2))
    for number in range(clip.frames):
        turn = 2 * np.pi * number / (4 * clip.fps)
        left, top = round(32 + 31 * np.sin(turn)), round(32 + 31 * np.cos(turn))
        frame = ground[top : top + clip.height, left : left + clip.width].copy()
        for at in range(clip.faces):
            sway = STRAY * clip.height * np.sin(turn * (1 + at) + phases[at])
            x = clip.width * (at + 0.5) / clip.faces - side / 2 + sway[0]
            y = (clip.height - side) / 2 + sway[1]
            x, y = np.clip((round(x), round(y)), 0, (clip.width - side, clip.height - side))
            window = frame[y : y + side, x : x + side]
            window[:] = window + opaque[..., None] * (face.astype(np.float32) - window)
        down, right = random.integers(0, 32, 2)
        moved = noise[down : down + clip.height, right : right + clip.width]
        yield np.clip(frame + moved, 0, 255).astype(np.uint8)


def make_clip(clip: Clip, folder: Path) -> Path:
    """Write a clip as H.264 in MP4 and return its path: a key frame every two seconds, a quality of 23."""
    import av

    path = folder / clip.name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(clip.fps), options={"crf": "23", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.gop_size = 2 * clip.fps
        for image in pictures(clip):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def _ground(random: np.random.Generator, width: int, height: int) -> Image:
    """Return blotches of three sizes: a finder looks twice at some of them, an encoder has detail to keep."""
    ground = np.full((height, width, 3), 110, np.float32)
    for grain, depth in ((6, 40), (24, 10), (200, 3)):
        shape = (grain, round(grain * width / height))
        grey, coloured = random.normal(0, 1, (*shape, 1)), random.normal(0, 0.3, (*shape, 3))
        coarse = (grey + coloured).astype(np.float32)
        ground += depth * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(ground, 0, 255).astype(np.uint8)
