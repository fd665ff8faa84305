"""Make a portrait speak and blink, like a fake made from a single photo."""

import cv2
import numpy as np


def speaking(picture, landmarks, number):
    """Return the picture with mouth and eyelids in the position for a frame number."""
    rng = np.random.default_rng(100 + number)
    apart = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    drawn = picture.copy()
    mouth = landmarks[3:].mean(axis=0) + np.array([0, 0.08 * apart])
    axes = (int(0.22 * apart), int(rng.uniform(0.02, 0.22) * apart))
    cv2.ellipse(drawn, mouth.astype(int).tolist(), axes, 0, 0, 360, (70, 25, 25), -1, cv2.LINE_AA)
    if number % 4 == 3:
        lid = picture[
            tuple((landmarks[:2].mean(axis=0) + np.array([0, 0.2 * apart])).astype(int)[::-1])
        ].tolist()
        for eye in landmarks[:2]:
            axes = (int(0.2 * apart), int(0.1 * apart))
            cv2.ellipse(drawn, eye.astype(int).tolist(), axes, 0, 0, 360, lid, -1, cv2.LINE_AA)
    return drawn
