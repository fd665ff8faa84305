"""Degrade pictures of faces as videos do: small, covered, blurred, dark, noisy and compressed."""

from typing import cast

import cv2
import numpy as np
from numpy.random import Generator

from deepscan.faces.face import Detection
from deepscan.media.frames import Image

SKIN = np.array([224, 172, 140])


def degrade(picture: Image, face: Detection, rng: Generator) -> tuple[Image, float]:
    """Degrade a picture as a video would; return it with the factor by which it was scaled."""
    image = picture.copy()
    eye_distance = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
    if rng.random() < 0.25:
        image = occlude(image, face, eye_distance, rng)
    factor = min(1.0, float(np.exp(rng.uniform(np.log(22), np.log(160)))) / max(face.width, 1))
    image = rescale(image, factor)
    if rng.random() < 0.4:
        sigma = rng.uniform(0.3, 0.02 * factor * face.width + 0.6)
        image = cast(Image, cv2.GaussianBlur(image, (0, 0), sigma))
    if rng.random() < 0.2:
        length = int(rng.integers(2, max(3, int(0.1 * factor * face.width))))
        kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
        cv2.line(kernel, (0, int(rng.integers(2 * length + 1))), (2 * length, length), 1.0)
        image = cast(Image, cv2.filter2D(image, -1, kernel / kernel.sum()))
    light = image.astype(np.float32) / 255
    if rng.random() < 0.5:
        light = light ** rng.uniform(0.6, 2.2) * rng.uniform(0.25, 1.1, 1 if rng.random() < 0.5 else 3)
    if rng.random() < 0.15:
        light = np.repeat(light.mean(axis=-1, keepdims=True), 3, axis=-1)
    if rng.random() < 0.5:
        light = light + rng.normal(0, rng.uniform(0, 0.05), light.shape)
    image = np.clip(255 * light, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 95))]
        image = cast(Image, cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR))
    return image, factor


def rescale(image: Image, factor: float) -> Image:
    """Scale a picture by a factor."""
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cast(Image, cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation))


def occlude(image: Image, face: Detection, eye_distance: float, rng: Generator) -> Image:
    """Draw dark glasses, a mask over the mouth, or a bar (fingers, a microphone) onto a face."""
    left, right, nose, *mouth = face.landmarks.astype(np.float64)
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else SKIN * rng.uniform(0.4, 1.1)
    match rng.integers(3):
        case 0:
            dark = rng.uniform(0, 60, 3).tolist()
            for eye in (left, right):
                axes = int(0.42 * eye_distance), int(0.3 * eye_distance)
                cv2.ellipse(image, eye.astype(int).tolist(), axes, 0, 0, 360, dark, -1)
            cv2.line(
                image,
                left.astype(int).tolist(),
                right.astype(int).tolist(),
                dark,
                max(1, int(eye_distance / 12)),
            )
        case 1:
            across = right - left
            outline = [
                nose - 0.75 * across,
                nose + 0.75 * across,
                mouth[1] + 0.4 * across,
                mouth[1] + (0, 0.8 * eye_distance),
            ]
            outline += [mouth[0] + (0, 0.8 * eye_distance), mouth[0] - 0.4 * across]
            cv2.fillPoly(image, [np.array(outline).astype(np.int32)], colour.tolist())
        case _:
            start = mouth[0] + rng.normal(0, 0.4 * eye_distance, 2)
            end = start + rng.normal(0, 1, 2) * eye_distance + (0, 1.5 * eye_distance)
            thick = max(1, int(eye_distance * rng.uniform(0.1, 0.4)))
            cv2.line(image, start.astype(int).tolist(), end.astype(int).tolist(), colour.tolist(), thick)
    return image
