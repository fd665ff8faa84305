"""Faces as other cameras, light and codecs would show them, for the training of what knows a face again."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from deepscan.faces.face import Floats
from deepscan.faces.looks import PART, SIDE
from deepscan.media.frames import Image

#: Sides, in pixels, to which a face is made small: from far away to as large as it was cut.
SMALLEST, LARGEST = 22, 100


def altered(around: Image, rng: Generator) -> Image:
    """Return what the network would see of a face elsewhere, in other light, less sharp, or turned about.

    Args:
        around: The face cut by `face_filter.WITH_MARGIN`.
        rng: Draws what happens to it.

    Returns:
        Shape (SIDE, SIDE, 3), uint8.
    """
    face = _moved(around, rng)
    if rng.random() < 0.55:
        small = int(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST))))
        face = np.asarray(cv2.resize(face, (small, small), interpolation=cv2.INTER_AREA), np.uint8)
        if rng.random() < 0.5:
            face = _compressed(face, rng)
        kernel = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_CUBIC
        face = np.asarray(cv2.resize(face, (SIDE, SIDE), interpolation=kernel), np.uint8)
    elif rng.random() < 0.3:
        face = np.asarray(cv2.GaussianBlur(face, (0, 0), rng.uniform(0.5, 2.5)), np.uint8)
    light = _graded(face, rng)
    if rng.random() < 0.6:
        light = light * _light(rng)
    if rng.random() < 0.3:
        channels = 1 if rng.random() < 0.5 else 3
        light = light + rng.uniform(0, 10) * rng.standard_normal((SIDE, SIDE, channels), dtype=np.float32)
    changed: Image = np.clip(light, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        changed = _compressed(changed, rng)
    if rng.random() < 0.1:
        width, height = rng.integers(20, 70, 2)
        left, top = rng.integers(0, SIDE - 20, 2)
        changed[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return changed


def _moved(around: Image, rng: Generator) -> Image:
    down, across = PART
    scale = SIDE / (across.stop - across.start)
    place = np.array(
        [
            [scale, 0, (0.5 - across.start) * scale - 0.5],
            [0, scale, (0.5 - down.start) * scale - 0.5],
            [0, 0, 1],
        ]
    )
    if rng.random() < 0.5:
        place = np.array([[-1.0, 0, SIDE - 1], [0, 1, 0], [0, 0, 1]]) @ place
    middle = (SIDE - 1) / 2
    turn = np.asarray(
        cv2.getRotationMatrix2D((middle, middle), rng.normal(0, 4), np.exp(rng.normal(0, 0.04))), np.float64
    )
    turn[:, 2] += rng.normal(0, 2.5, 2)
    if rng.random() < 0.4:
        # A head that turns is seen narrower.
        turn = np.array([[np.exp(rng.normal(0, 0.05)), rng.normal(0, 0.03)], [0, 1]]) @ turn
    matrix = turn @ place
    moved = cv2.warpAffine(around, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def _graded(face: Image, rng: Generator) -> Floats:
    """Return the face in other tones and colours, or in grey."""
    levels = np.arange(256) / 255
    gamma, contrast, bright = np.exp(rng.normal(0, 0.3)), np.exp(rng.normal(0, 0.2)), rng.normal(0, 0.08)
    table = np.empty((256, 1, 3), np.uint8)
    for channel in range(3):
        tone = (levels ** (gamma * np.exp(rng.normal(0, 0.1))) - 0.5) * contrast + 0.5 + bright
        tone = (tone + rng.normal(0, 0.03)) * np.exp(rng.normal(0, 0.08))
        table[:, 0, channel] = np.clip(255 * tone, 0, 255)
    graded: Floats = np.asarray(cv2.LUT(face, table), np.float32)
    if rng.random() < 0.5:
        grey = graded @ np.array([[0.299], [0.587], [0.114]], np.float32)
        left = 0.0 if rng.random() < 0.4 else rng.uniform(0.2, 1.6)
        graded = grey + np.float32(left) * (graded - grey)
    return graded


def _light(rng: Generator) -> NDArray[np.float32]:
    """Return how strongly each pixel is lit, from one side, soft or with an edge, and in patches."""
    across, down = np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 2)
    way = rng.uniform(0, 2 * np.pi)
    side = across * np.float32(np.cos(way)) + down * np.float32(np.sin(way))
    light = 1 + rng.uniform(0, 0.8) * np.tanh(side * rng.uniform(0.5, 4))
    if rng.random() < 0.5:
        patches = rng.normal(0, 1, (int(rng.integers(3, 8)),) * 2).astype(np.float32)
        large = cv2.resize(patches, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        light = light + rng.uniform(0, 0.25) * large
    tint = np.exp(rng.normal(0, 0.05, 3)) if rng.random() < 0.3 else np.ones(3)
    lit: NDArray[np.float32] = (np.clip(light, 0.1, 3)[..., None] * tint).astype(np.float32)
    return lit


def _compressed(face: Image, rng: Generator) -> Image:
    quality = int(rng.integers(20, 90))
    _, packed = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
