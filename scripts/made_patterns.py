"""Synthetic patterns without a face: textures, signs, and things with two dots above a third.

`TRAINED` are for training the face filter, `HELD_OUT` for measuring it on kinds that it was not trained on.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deepscan.media.frames import Image

#: Side of a pattern in pixels.
SIDE = 288

#: A pattern in one channel, float32 in [0, 1], shape (SIDE, SIDE).
Plane = NDArray[np.float32]


def checks(rng: Generator) -> Plane:
    """Return a chessboard or a checked cloth, slightly rotated."""
    x, y = _turned(rng)
    across, down = rng.uniform(8, 40, 2)
    first, second = np.sin(x * np.pi / across) > 0, np.sin(y * np.pi / down) > 0
    return np.asarray(0.5 * (first + second) if rng.random() < 0.5 else first ^ second, np.float32)


def stripes(rng: Generator) -> Plane:
    """Return overlaid stripes of a few widths, as of blinds or a shirt."""
    plane = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(rng.integers(1, 4)):
        x, _y = _turned(rng, np.pi)
        plane += np.sin(x * np.pi / rng.uniform(4, 40)) > rng.uniform(-0.7, 0.7)
    return _stretched(plane)


def woven(rng: Generator) -> Plane:
    """Return cloth: a weave with broad bands, folds and lint."""
    x, y = _turned(rng)
    step = rng.uniform(3, 9)
    weave = np.sin(x * np.pi / step) * np.sin(y * np.pi / step)
    bands = np.sin(x * np.pi / rng.uniform(20, 70)) + np.sin(y * np.pi / rng.uniform(20, 70))
    return _stretched(0.4 * weave + bands * rng.uniform(0.2, 1) + 2 * clouds(rng))


def clouds(rng: Generator) -> Plane:
    """Return noise of several octaves, smooth or rough."""
    plane = np.zeros((SIDE, SIDE), np.float32)
    roughness = rng.uniform(0.4, 0.9)
    for octave in range(6):
        grid = rng.random((3 * 2**octave, 3 * 2**octave)).astype(np.float32)
        plane += roughness**octave * cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return _stretched(plane)


def shadows(rng: Generator) -> Plane:
    """Return soft dark blobs on a wall."""
    plane = 0.6 + 0.3 * clouds(rng)
    for _ in range(rng.integers(3, 14)):
        blob = np.zeros_like(plane)
        centre, axes = rng.integers(0, SIDE, 2), rng.integers(5, 45, 2)
        cv2.ellipse(blob, centre.tolist(), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1)
        blob = cv2.GaussianBlur(blob, (0, 0), rng.uniform(1, 14))
        plane *= 1 - rng.uniform(0.3, 0.9) * blob
    return _stretched(plane)


def foliage(rng: Generator) -> Plane:
    """Return layers of leaves; the further ones are smaller and darker."""
    plane = np.zeros((SIDE, SIDE), np.float32)
    for layer in range(4):
        for _ in range(90):
            centre, length = rng.integers(0, SIDE, 2), rng.uniform(4, 9) * (1 + layer)
            axes = int(length), max(1, int(length * rng.uniform(0.15, 0.6)))
            value = float((0.2 + 0.2 * layer) * rng.uniform(0.6, 1.2))
            cv2.ellipse(plane, centre.tolist(), axes, float(rng.uniform(0, 360)), 0, 360, value, -1)
    return _stretched(plane)


def text(rng: Generator) -> Plane:
    """Return lines of letters in several sizes."""
    canvas = np.full((SIDE, SIDE), 255, np.uint8)
    y = 0
    while y < SIDE:
        size = rng.uniform(0.4, 3)
        y += int(24 * size)
        letters = "".join(chr(c) for c in rng.integers(33, 127, 24))
        font, thick = int(rng.integers(0, 8)), int(rng.integers(1, 5))
        place = (int(rng.integers(-40, 10)), y)
        cv2.putText(canvas, letters, place, font, size, 0, thick, cv2.LINE_AA)
    return np.asarray(canvas, np.float32) / np.float32(255)


def rings(rng: Generator) -> Plane:
    """Return circles in rows: buttons, holes, lamps."""
    plane = np.full((SIDE, SIDE), 0.5, np.float32) + 0.3 * clouds(rng)
    step = int(rng.integers(18, 70))
    radius = step * rng.uniform(0.15, 0.5)
    for y in range(step // 2, SIDE, step):
        for x in range(step // 2, SIDE, step):
            for part in np.linspace(1, 0.2, int(rng.integers(1, 4))):
                cv2.circle(plane, (x, y), max(1, int(radius * part)), float(rng.uniform(0, 1)), -1)
    return _stretched(plane)


def sockets(rng: Generator) -> Plane:
    """Return things with two dots above a dot or bar: sockets, cars from the front, knobs of a cupboard."""
    plane = 0.5 + rng.uniform(0.05, 0.5) * clouds(rng)
    for _ in range(rng.integers(2, 6)):
        x, y = rng.integers(30, SIDE - 30, 2)
        unit = rng.uniform(8, 34)
        body, dark = float(rng.uniform(0.3, 1)), float(rng.uniform(0, 0.5))
        if rng.random() < 0.7:
            axes = (int(unit * rng.uniform(1.3, 2.4)), int(unit * rng.uniform(1.3, 2.6)))
            if rng.random() < 0.5:
                cv2.ellipse(plane, (int(x), int(y)), axes, 0, 0, 360, body, -1)
            else:
                corner, end = (int(x - axes[0]), int(y - axes[1])), (int(x + axes[0]), int(y + axes[1]))
                cv2.rectangle(plane, corner, end, body, -1)
        for dx, dy in ((-1, -0.7), (1, -0.7), (0, 0.2), (-0.6, 1.1), (0.6, 1.1)):
            if rng.random() < 0.15:
                continue
            spot = (int(x + unit * (dx + rng.normal(0, 0.15))), int(y + unit * (dy + rng.normal(0, 0.15))))
            axes = (max(1, int(unit * rng.uniform(0.15, 0.5))), max(1, int(unit * rng.uniform(0.1, 0.4))))
            cv2.ellipse(plane, spot, axes, 0, 0, 360, dark, -1)
    return _stretched(np.asarray(cv2.GaussianBlur(plane, (0, 0), rng.uniform(0.3, 5)), np.float32))


def shelves(rng: Generator) -> Plane:
    """Return boxes and books in rows, of any width and brightness."""
    plane = np.zeros((SIDE, SIDE), np.float32)
    y = 0
    while y < SIDE:
        height, x = int(rng.integers(20, 90)), 0
        while x < SIDE:
            width = int(rng.integers(6, 50))
            top = y + int(rng.uniform(0, 0.3) * height)
            plane[top : y + height - 3, x : x + width - 1] = rng.uniform(0.1, 1)
            x += width
        y += height
    return plane


def windows(rng: Generator) -> Plane:
    """Return the front of a house: rows of windows with bars, some lit."""
    plane = np.full((SIDE, SIDE), rng.uniform(0.4, 0.9), np.float32) * (0.8 + 0.2 * clouds(rng))
    step_x, step_y = rng.integers(26, 80, 2)
    for y in range(int(rng.integers(0, 20)), SIDE, int(step_y)):
        for x in range(int(rng.integers(0, 6)), SIDE, int(step_x)):
            wide, tall = int(step_x * 0.6), int(step_y * 0.65)
            plane[y : y + tall, x : x + wide] = rng.uniform(0, 0.5)
            plane[y + tall // 2 : y + tall // 2 + 2, x : x + wide] = 1
            plane[y : y + tall, x + wide // 2 : x + wide // 2 + 2] = 1
    return plane


def mosaic(rng: Generator) -> Plane:
    """Return Voronoi cells of random points: stones, scales, crackled paint."""
    points = rng.uniform(0, SIDE, (int(rng.integers(25, 160)), 2))
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1)
    distances, nearest = cKDTree(points).query(grid, k=2)
    shade = rng.uniform(0.2, 1, len(points))[nearest[..., 0]]
    edge = np.clip((distances[..., 1] - distances[..., 0]) / rng.uniform(1, 8), 0, 1)
    plane: Plane = (shade * edge).astype(np.float32)
    return plane


def waves(rng: Generator) -> Plane:
    """Return bent lines: folds of a curtain, hair, water, fingers side by side."""
    x, y = _turned(rng, np.pi)
    bent = x + 40 * clouds(rng) + rng.uniform(2, 20) * np.sin(y / rng.uniform(15, 60))
    return _stretched(np.abs(np.sin(bent * np.pi / rng.uniform(10, 60))) + 0.3 * clouds(rng))


TRAINED: dict[str, Callable[[Generator], Plane]] = {
    draw.__name__: draw
    for draw in (checks, stripes, woven, clouds, shadows, foliage, text, rings, sockets, shelves)
}
HELD_OUT: dict[str, Callable[[Generator], Plane]] = {draw.__name__: draw for draw in (windows, mosaic, waves)}


def pattern(name: str, rng: Generator) -> Image:
    """Return a pattern as from a camera, RGB, shape (SIDE, SIDE, 3), uint8.

    It has two colours, often skin colours, light from one side, a slight perspective, blur and noise.

    Args:
        name: A key of `TRAINED` or `HELD_OUT`.
        rng: Source of all random choices.
    """
    plane = (TRAINED | HELD_OUT)[name](rng)
    low, high = (_skin(rng) if rng.random() < 0.6 else rng.uniform(0, 255, 3) for _ in range(2))
    image = low * rng.uniform(0, 0.5) + (high - low * 0.3) * plane[..., None]
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    light = rng.uniform(-0.4, 0.4, 2)
    image = image * (1 + light[0] * x + light[1] * y)[..., None]
    corners = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]], np.float32)
    shifted = corners + rng.normal(0, 0.06 * SIDE, corners.shape).astype(np.float32)
    perspective = cv2.getPerspectiveTransform(corners, shifted)
    view = cv2.warpPerspective(image, perspective, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    view = cv2.GaussianBlur(view, (0, 0), rng.uniform(0.2, 2))
    noisy = view + rng.normal(0, rng.uniform(0, 7), view.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def _skin(rng: Generator) -> NDArray[np.float64]:
    return np.array([224, 172, 140]) * rng.uniform(0.35, 1.1) + rng.normal(0, 12, 3)


def _turned(rng: Generator, max_angle: float = 0.5) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.meshgrid(np.arange(SIDE, dtype=np.float64), np.arange(SIDE, dtype=np.float64))
    angle = rng.uniform(-max_angle, max_angle)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _stretched(plane: NDArray[np.floating]) -> Plane:
    low, high = float(plane.min()), float(plane.max())
    stretched: Plane = ((plane - low) / max(high - low, 1e-6)).astype(np.float32)
    return stretched
