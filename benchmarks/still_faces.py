"""Measure how often living faces and faces in photographs are called still.

    python benchmarks/still_faces.py --data DIR [--split val]

Living faces: the talking heads of DIR/web with four pictures (a scan requires six), shrunk and compressed as
in a video, one second apart; none should be called still. Photographs: one picture of each clip, made into a
video by pasting it on a moving background and keeping, zooming or panning it, or all of these with rotation
and tilt, with noise, changing light and compression; all of them should be called still.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast
from unittest.mock import patch

import cv2
import numpy as np
from numpy.random import Generator

from deepscan.bench.output import write_table
from deepscan.crop_recipe import REFERENCE
from deepscan.faces import still as still_rule
from deepscan.faces.align import align
from deepscan.faces.face import Face
from deepscan.faces.mtcnn import Mtcnn
from deepscan.faces.quality import QualityRule, assess
from deepscan.faces.still import grey_crop
from deepscan.faces.tracks import appearance
from deepscan.media.frames import Image

#: Camera movements in front of a photograph, and frames per video.
MOVES, FRAMES = ("kept", "zoomed", "panned", "all, and turned and tilted"), 6


def compressed(image: Image, quality: int) -> Image:
    """Return a picture after JPEG compression with a given quality."""
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cast(Image, cv2.imdecode(coded, cv2.IMREAD_COLOR))


def living(pictures: Sequence[Image], rng: Generator) -> Iterator[Image]:
    """Yield the pictures of a clip, shrunk and compressed as in a video."""
    width, quality = float(np.exp(rng.uniform(np.log(45), np.log(180)))), int(rng.integers(20, 95))
    for picture in pictures:
        factor = min(1.0, 1.75 * width / picture.shape[1])
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        yield compressed(cast(Image, small), quality)


def photographed(picture: Image, move: str, rng: Generator) -> Iterator[Image]:
    """Yield the frames of a video of a photograph."""
    side = 1.75 * float(np.exp(rng.uniform(np.log(45), np.log(180))))
    quality, noise, strength = int(rng.integers(20, 95)), rng.uniform(0, 6), rng.uniform(0, 1)
    wall = cv2.resize(rng.integers(0, 255, (6, 6, 3), np.uint8), (400, 400), interpolation=cv2.INTER_CUBIC)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    size = picture.shape[0]
    source = cv2.GaussianBlur(picture, (0, 0), max(0.01, 0.5 * size / side - 0.4))
    whole = move == MOVES[3]
    for number in range(FRAMES):
        zoom = (
            float(np.clip(1 + 0.3 * strength * rng.normal(), 0.6, 1.6)) if whole or move == "zoomed" else 1.0
        )
        offset = (
            30
            + rng.normal(0, 1, 2)
            + (25 * strength * rng.normal(size=2) if whole or move == "panned" else 0)
        )
        angle = np.deg2rad(5 * strength * rng.normal()) if whole else 0.0
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        targets = (corners - 0.5) * side * zoom @ turn.T + side / 2 + offset
        targets += rng.normal(0, 0.02 * side * strength, targets.shape) if whole else 0
        matrix = cv2.getPerspectiveTransform(corners * size, targets.astype(np.float32))
        extent = (int(1.6 * side + 80),) * 2
        frame = cv2.resize(np.roll(wall, 9 * number, axis=1), extent)
        cv2.warpPerspective(source, matrix, extent, dst=frame, borderMode=cv2.BORDER_TRANSPARENT)
        lit = frame * (1 + 0.08 * strength * rng.normal()) + rng.normal(0, noise, frame.shape)
        yield compressed(np.clip(lit, 0, 255).astype(np.uint8), quality)


def track(frames: Iterable[Image], finder: Mtcnn) -> list[Face]:
    """Return the largest face of each frame; frames are one second apart."""
    faces = []
    for index, frame in enumerate(frames):
        rgb = np.ascontiguousarray(frame[..., ::-1])
        found = [face for face in finder.detect([rgb])[0] if face.probability >= 0.9][:1]
        for detection in found:
            crop = align(rgb, detection.landmarks, REFERENCE)
            faces.append(
                Face(
                    index,
                    float(index),
                    detection,
                    assess(crop, detection),
                    appearance(crop),
                    grey=grey_crop(crop),
                )
            )
    return [face for face in faces if QualityRule().admits(face)]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--most", type=int, default=400, help="clips (default: 400)")
    options = parser.parse_args()
    rng = np.random.default_rng(2)
    finder = Mtcnn("fast", threads=1)
    clips: dict[tuple[str, str], list[str]] = defaultdict(list)
    with (options.data / "web" / "faces.csv").open() as file:
        for row in csv.DictReader(file):
            if row["split"] == options.split:
                clips[row["video"], row["label"]].append(row["file"])
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for position in rng.permutation(len(clips))[: options.most].tolist():
        (video, label), names = list(clips.items())[position]
        pictures = [cast(Image, cv2.imread(str(options.data / name))) for name in names]
        move = MOVES[int(rng.integers(len(MOVES)))]
        videos_of_clip = [(f"photograph, {move}", list(photographed(pictures[0], move, rng)))]
        if len(names) >= 4:
            videos_of_clip.append((f"talking head, {label}", list(living(pictures, rng))))
        for kind, frames in videos_of_clip:
            faces = track(frames, finder)
            if len(faces) >= 4:
                with patch.object(still_rule, "LEAST_FACES", 4):
                    still = still_rule.is_still(faces)
                counts[kind][0] += 1
                counts[kind][1] += still
                if still and kind.startswith("talking"):
                    print(f"{video} is called still", flush=True)
    rows = [
        {"split": options.split, "kind": kind, "videos": videos, "still": still}
        for kind, (videos, still) in sorted(counts.items())
    ]
    for row in rows:
        print(row)
    write_table(Path(__file__).with_name(f"still_faces-{options.split}.csv"), rows)


if __name__ == "__main__":
    main()
