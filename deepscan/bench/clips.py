"""Synthetic, reproducible clips for benchmarks: drawn faces that finders detect, on a moving background."""

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
#: Ellipses of a face, from back to front: colour; centre and half axes as fractions of the side; blur.
FACE_PARTS: tuple[tuple[tuple[int, int, int], tuple[float, float, float, float], float], ...] = (
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
#: Side of a face's square, and how far it sways from its position, as fractions of the frame height.
FACE, SWAY = 0.5, 0.04


@dataclass(frozen=True, slots=True)
class Clip:
    """Parameters of a synthetic clip.

    Attributes:
        width: In pixels, even.
        height: In pixels, even.
        frames: Number of frames.
        faces: Number of faces, side by side in every frame.
        fps: Frames per second.
        seed: Seed of the background and the movement.
    """

    width: int = 1280
    height: int = 720
    frames: int = 300
    faces: int = 1
    fps: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 64 or self.width % 2 or self.height % 2:
            raise ValueError(f"clip sides must be even and at least 64, not {self.width}x{self.height}")
        if min(self.frames, self.fps) < 1 or self.faces < 0:
            raise ValueError(
                f"a clip needs frames and fps >= 1, faces >= 0, not {self.frames}, {self.fps}, {self.faces}"
            )

    @property
    def name(self) -> str:
        """File name that describes the clip."""
        return f"{self.width}x{self.height}-{self.frames}-faces{self.faces}-{self.seed}.mp4"


#: Clips that are measured if no file is given: ten seconds each, in the two most common sizes.
CLIPS = (
    Clip(1280, 720),
    Clip(1280, 720, faces=2, seed=1),
    Clip(1920, 1080, seed=2),
    Clip(1920, 1080, faces=2, seed=3),
)


def draw_face(side: int) -> tuple[Image, Opacity]:
    """Draw a frontal face.

    Args:
        side: Side of the square in pixels; face finders need at least 80.

    Returns:
        The picture, RGB, shape (side, side, 3), uint8, and its opacity, shape (side, side), in [0, 1].
    """
    picture, opacity = np.zeros((side, side, 3), np.float32), np.zeros((side, side), np.float32)
    for colour, (x, y, across, down), blur in FACE_PARTS:
        layer = np.zeros((side, side), np.float32)
        centre, axes = (round(x * side), round(y * side)), (round(across * side), round(down * side))
        cv2.ellipse(layer, centre, axes, 0, 0, 360, 1.0, cv2.FILLED, cv2.LINE_AA)
        layer = cv2.GaussianBlur(layer, (0, 0), max(blur * side, 0.3)).astype(np.float32)
        picture += layer[..., None] * (np.array(colour, np.float32) - picture)
        opacity = np.maximum(opacity, layer)
    return np.clip(picture, 0, 255).astype(np.uint8), opacity


def render_frames(clip: Clip) -> Iterator[Image]:
    """Yield the frames of a clip, RGB, shape (height, width, 3), uint8; all of it moves."""
    random = np.random.default_rng(clip.seed)
    background = _background(random, clip.width + 64, clip.height + 64)
    noise = random.integers(-4, 5, (clip.height + 32, clip.width + 32, 3), dtype=np.int16)
    side = min(round(FACE * clip.height), clip.width // max(1, clip.faces)) // 2 * 2
    face, opacity = draw_face(side)
    phases = random.uniform(0, 2 * np.pi, (max(1, clip.faces), 2))
    for number in range(clip.frames):
        turn = 2 * np.pi * number / (4 * clip.fps)
        left, top = round(32 + 31 * np.sin(turn)), round(32 + 31 * np.cos(turn))
        frame = background[top : top + clip.height, left : left + clip.width].copy()
        for at in range(clip.faces):
            sway = SWAY * clip.height * np.sin(turn * (1 + at) + phases[at])
            x = clip.width * (at + 0.5) / clip.faces - side / 2 + sway[0]
            y = (clip.height - side) / 2 + sway[1]
            x, y = np.clip((round(x), round(y)), 0, (clip.width - side, clip.height - side))
            window = frame[y : y + side, x : x + side]
            window[:] = window + opacity[..., None] * (face.astype(np.float32) - window)
        down, right = random.integers(0, 32, 2)
        moved = noise[down : down + clip.height, right : right + clip.width]
        yield np.clip(frame + moved, 0, 255).astype(np.uint8)


def make_clip(clip: Clip, folder: Path) -> Path:
    """Write a clip as H.264 in MP4, with a keyframe every two seconds and CRF 23, and return its path."""
    import av

    path = folder / clip.name
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(clip.fps), options={"crf": "23", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.gop_size = 2 * clip.fps
        for image in render_frames(clip):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def _background(random: np.random.Generator, width: int, height: int) -> Image:
    """Return blotches of three sizes, which give false candidates to a finder and detail to an encoder."""
    background = np.full((height, width, 3), 110, np.float32)
    for grain, depth in ((6, 40), (24, 10), (200, 3)):
        shape = (grain, round(grain * width / height))
        grey, coloured = random.normal(0, 1, (*shape, 1)), random.normal(0, 0.3, (*shape, 3))
        coarse = (grey + coloured).astype(np.float32)
        background += depth * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(background, 0, 255).astype(np.uint8)
