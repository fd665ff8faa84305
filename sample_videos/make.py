"""Create the sample videos from two public-domain portraits in installed packages.

usage: make samples            (or: python sample_videos/make.py [FOLDER])

The portraits are the astronaut of scikit-image (NASA) and the Hopper portrait of matplotlib (US Navy).
Movement, light, noise and compression imitate real clips. Every random choice is seeded, so the frames are
the same each time; the files may differ with the version of the encoder.
"""

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import av
import cv2
import numpy as np

from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.frames import Image

FPS = 25
FRAMES = 100
SIZE = (640, 480)
#: Constant rate factor of the encoder: about the quality of a clip sent by a messenger.
CRF = 26

Points = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def main(folder: Path) -> None:
    """Write all sample videos to a folder."""
    astronaut, hopper = portraits()
    finder = Mtcnn("exact")
    (astronaut_face,), (hopper_face,) = finder.detect([astronaut, hopper])
    swapped = swap(hopper, hopper_face.landmarks, astronaut, astronaut_face.landmarks)
    shuttle = astronaut[:260, 300:]  # a model of a shuttle and a shoulder
    samples: dict[str, Callable[[], Iterator[Image]]] = {
        "real_astronaut": lambda: handheld(astronaut, seed=1),
        "real_hopper": lambda: handheld(hopper, seed=2),
        "swapped": lambda: handheld(swapped, seed=1),
        "two_persons": lambda: side_by_side(handheld(astronaut, seed=3), handheld(hopper, seed=4)),
        "no_face": lambda: handheld(shuttle, seed=5),
    }
    for name, frames in samples.items():
        path = folder / f"{name}.mp4"
        encode(frames(), path)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def portraits() -> tuple[Image, Image]:
    """Return both portraits, RGB, uint8."""
    return (
        read(resources.files("skimage") / "data" / "astronaut.png"),
        read(resources.files("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg"),
    )


def read(file: Traversable) -> Image:
    """Read a picture from an installed package, RGB, uint8."""
    picture = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None, f"{file} is not a picture"
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def swap(source: Image, source_points: Points, target: Image, target_points: Points) -> Image:
    """Replace the target's face with the source's.

    The source is warped so that the five landmarks agree, and its inner face, an ellipse from the brows to
    below the mouth, is pasted with seamless cloning: gradients of the source,
    border colours of the target.
    """
    matrix, _ = cv2.estimateAffine2D(source_points, target_points, method=cv2.LMEDS)
    height, width = target.shape[:2]
    warped = cv2.warpAffine(
        source, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    eyes = target_points[:2].mean(axis=0)
    mouth = target_points[3:].mean(axis=0)
    eye_distance = float(np.linalg.norm(target_points[1] - target_points[0]))
    tilt = float(np.degrees(np.arctan2(*(target_points[1] - target_points[0])[::-1])))
    middle = tuple(round(value) for value in (eyes + mouth) / 2)
    axes = (int(eye_distance * 0.95), int(np.linalg.norm(mouth - eyes) * 1.15))
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, middle, axes, tilt, 0, 360, 255, -1)
    left, top, wide, high = cv2.boundingRect(mask)
    # seamlessClone centres the mask's bounding box on the given point.
    centre = (left + wide // 2, top + high // 2)
    return np.asarray(cv2.seamlessClone(warped, target, mask, centre, cv2.NORMAL_CLONE))


def handheld(picture: Image, seed: int) -> Iterator[Image]:
    """Yield frames as from a handheld camera in front of a picture; position, zoom and light vary."""
    random = np.random.default_rng(seed)
    phases = random.uniform(0, 2 * np.pi, 6)
    height, width = picture.shape[:2]
    wide, high = SIZE
    fit = max(wide / width, high / height) * 1.12
    for number in range(FRAMES):
        t = number / FRAMES * 2 * np.pi
        zoom = fit * (1 + 0.04 * np.sin(t + phases[0]))
        angle = 2.5 * np.sin(t + phases[1]) + 0.6 * np.sin(3 * t + phases[2])
        aim = np.array([width * 0.5, height * 0.37])
        matrix = cv2.getRotationMatrix2D(aim.tolist(), angle, zoom)
        sway = 0.03 * np.array([np.sin(t + phases[3]), 0.6 * np.sin(2 * t + phases[4])])
        matrix[:, 2] += np.array([wide, high]) / 2 - aim + sway * wide
        frame = cv2.warpAffine(picture, matrix, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        light = 1 + 0.12 * np.sin(t + phases[5]) + 0.05 * np.linspace(-1, 1, wide)[None, :, None]
        noise = random.normal(0, 2.0, frame.shape)
        yield np.clip(frame * light + noise, 0, 255).astype(np.uint8)


def side_by_side(left: Iterator[Image], right: Iterator[Image]) -> Iterator[Image]:
    """Yield frames with the middles of two clips side by side."""
    quarter = SIZE[0] // 4
    for left_frame, right_frame in zip(left, right, strict=True):
        yield np.hstack([left_frame[:, quarter:-quarter], right_frame[:, quarter:-quarter]])


def encode(frames: Iterator[Image], path: Path) -> None:
    """Write frames as H.264 to an MP4 file that can play while it loads."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(FPS), options={"crf": str(CRF), "preset": "slow"}
        )
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
