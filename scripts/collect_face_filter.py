"""Collect samples for the face filter: detections of MTCNN, both faces and false positives.

usage: python scripts/collect_face_filter.py --data DIR --out FILE.npz      (about half an hour on one core)

DIR contains faces.csv and its pictures. The faces are the labelled ones of WEB and DFDC, detected as in a
scan, in pictures that are shrunk, blurred, darkened, noisy, partly covered and compressed like frames of a
video. The negatives are what MTCNN detects with lowered thresholds
  - in the same pictures away from every face (`background`), also rotated by 90 or 180 degrees,
  - in parts of a face: an eye, an ear, the mouth, with landmarks that differ from the face's (`part`),
  - in faces upside down, also with landmarks that differ from the face's (`upside`),
  - in synthetic patterns (`made:KIND`, see `made_patterns`) and pictures in installed packages (`picture`),
and wrongly framed faces, as from a detector that mistakes a nostril for an eye (`frame`).

The crops show real people: the file is used for training only and is not published.
"""

import argparse
import csv
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from unittest.mock import patch

import cv2
import numpy as np
from degraded_pictures import degrade, rescale
from made_patterns import HELD_OUT, TRAINED, pattern
from numpy.random import Generator
from numpy.typing import NDArray

from deepscan.crop_recipe import CropRecipe
from deepscan.faces import mtcnn
from deepscan.faces.align import align
from deepscan.faces.boxes import iou
from deepscan.faces.face import Detection, Floats
from deepscan.media.frames import Image

#: Thresholds of P-Net, R-Net and O-Net. What only these accept resembles the false positives of a scan.
LOOSE = (0.4, 0.15, 0.05)
#: Wider than the filter's input, so that training can shift and scale it.
WIDE = CropRecipe(side=72, scale=1.5, interpolation="area", border="reflect")
#: One in this many groups is left out of training, to choose the threshold on.
DEV = 8
#: Fraction of the WEB pictures to use in each split.
SHARES = {"train": 0.3, "val": 0.4}
PACKAGED = (
    *(("skimage", f"data/{name}") for name in ("coffee.png", "camera.png", "color.png")),
    *(("skimage", f"data/{name}") for name in ("gravel.png", "brick.png")),
    *(("skimage", f"data/{name}") for name in ("motorcycle_left.png", "hubble_deep_field.jpg", "page.png")),
    *(("skimage", f"data/{name}") for name in ("moon.png", "grass.png", "retina.jpg", "ihc.png", "cell.png")),
    *(
        ("skimage", f"data/{name}")
        for name in ("rocket.jpg", "horse.png", "chelsea.png", "coins.png", "text.png")
    ),
    ("sklearn", "datasets/images/flower.jpg"),
    ("sklearn", "datasets/images/china.jpg"),
    ("matplotlib", "mpl-data/sample_data/logo2.png"),
    ("matplotlib", "mpl-data/sample_data/Minduka_Present_Blue_Pack.png"),
)
#: The only picture of `PACKAGED` with a face. Its samples are dropped, but it is still processed: it was when
#: the shipped filter was trained, and every later random number depends on that.
SHOWS_A_MAN = "camera.png"
#: Pictures of `PACKAGED` that are kept for validation.
VALIDATION = (
    "coffee.png",
    "gravel.png",
    "page.png",
    "retina.jpg",
    "chelsea.png",
    "china.jpg",
    "motorcycle_left.png",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One detection of MTCNN with its kind and split.

    Attributes:
        crop: Aligned with `WIDE`, RGB, uint8.
        landmarks: Relative to the box (0..1), shape (5, 2).
        probability: From MTCNN.
        kind: `face` or one of the kinds above.
        split: `train`, `dev` or `val`.
        again: 1 if it is also detected in the slightly shifted and shrunk picture, 0 if not, -1 if not
            tested.
    """

    crop: Image
    landmarks: Floats
    probability: float
    kind: str
    split: str
    again: int = -1


class Collector:
    """Detects faces and false positives, and cuts samples.

    Args:
        rng: Source of all random choices.
    """

    def __init__(self, rng: Generator) -> None:
        self._rng = rng
        self._finder = mtcnn.Mtcnn("exact", threads=1)

    def faces(self, image: Image, least: float = 20) -> list[Detection]:
        """Return the faces of at least `least` pixels that a scan would detect, most probable first."""
        self._finder._search = mtcnn.Search(max(20, least), None, 1)
        return sorted(self._finder.detect([image])[0], key=lambda face: -face.probability)

    def loose(self, image: Image) -> list[Detection]:
        """Return the detections with lowered thresholds."""
        self._finder._search = mtcnn.Search(20, None, 1)
        with patch.object(mtcnn, "THRESHOLDS", LOOSE):
            return self._finder.detect([image])[0]

    def labelled(self, picture: Image) -> Detection | None:
        """Return the face in the middle of a picture, around which it was cut."""
        middle = np.array(picture.shape[1::-1]) / 2
        near = [
            face
            for face in self.faces(picture, 0.3 * picture.shape[0])
            if np.abs((face.box[:2] + face.box[2:]) / 2 - middle).max() < 0.2 * picture.shape[0]
            and face.probability >= 0.9
        ]
        return near[0] if near else None

    def sample(self, image: Image, found: Detection, kind: str, split: str, *, retry: bool = False) -> Sample:
        """Cut a sample for a detection."""
        size = np.maximum(found.box[2:] - found.box[:2], 1)
        relative = ((found.landmarks - found.box[:2]) / size).astype(np.float32)
        again = int(self.found_again(image, found)) if retry else -1
        return Sample(align(image, found.landmarks, WIDE), relative, found.probability, kind, split, again)

    def found_again(self, image: Image, found: Detection) -> bool:
        """Return whether it is also detected when the picture is shifted by 3 pixels and shrunk by 4 %."""
        transform = np.array([[0.96, 0.01, 3.3], [-0.01, 0.96, 2.6]])
        warped = cv2.warpAffine(image, transform, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
        other = cast(Image, warped)
        corners = found.box.reshape(2, 2) @ transform[:, :2].T + transform[:, 2]
        boxes = [face.box for face in (self.faces if found.probability > 0.7 else self.loose)(other)]
        return bool(boxes) and bool((iou(corners.ravel().astype(np.float32), np.stack(boxes)) > 0.4).any())

    def positives(self, picture: Image, split: str, variants: int) -> Iterator[Sample]:
        """Yield samples of a picture's face, plain and degraded as in a video."""
        face = self.labelled(picture)
        if face is None:
            return
        yield self.sample(picture, face, "face", split, retry=bool(self._rng.random() < 0.15))
        for _ in range(variants):
            changed, factor = degrade(picture, face, self._rng)
            near = [
                found
                for found in self.faces(changed, 0.5 * factor * face.width)
                if iou(face.box * np.float32(factor), found.box[None])[0] > 0.3
            ]
            if near:
                yield self.sample(changed, near[0], "face", split)

    def negatives(
        self, image: Image, kind: str, split: str, faces: Sequence[Detection], max_count: int
    ) -> Iterator[Sample]:
        """Yield some of the detections away from faces, preferring probable ones."""
        found = [each for each in self.loose(image) if all(_are_apart(each, face) for face in faces)]
        # The random factor also lets less probable ones through.
        found.sort(key=lambda each: -each.probability * self._rng.random())
        for each in found[:max_count]:
            yield self.sample(image, each, kind, split, retry=each.probability > 0.7)

    def parts(self, picture: Image, face: Detection, split: str) -> Iterator[Sample]:
        """Yield detections in enlarged parts of a face, or in a face upside down, that are not that face."""
        eye_distance = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
        points = [
            *face.landmarks,
            face.landmarks[self._rng.integers(2)] + (self._rng.choice([-1.2, 1.2]) * eye_distance, 0),
        ]
        x, y = points[self._rng.integers(len(points))]
        reach = eye_distance * self._rng.uniform(0.45, 0.9)
        low = np.maximum(np.array([x - reach, y - reach]).astype(int), 0)
        part = picture[low[1] : int(y + reach), low[0] : int(x + reach)]
        if min(part.shape[:2]) > 12:
            factor = 160 / min(part.shape[:2])
            large = cast(Image, cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC))
            yield from self._false_positives(large, (face.landmarks - low) * factor, "part", split)
        if self._rng.random() < 0.3:
            upside = np.ascontiguousarray(picture[::-1, ::-1])
            yield from self._false_positives(
                upside, np.array(picture.shape[1::-1]) - 1 - face.landmarks, "upside", split
            )

    def _false_positives(
        self, image: Image, true_landmarks: Floats, kind: str, split: str
    ) -> Iterator[Sample]:
        eye_distance = float(np.linalg.norm(true_landmarks[1] - true_landmarks[0]))
        found = [
            each
            for each in self.loose(image)
            if np.linalg.norm(each.landmarks - true_landmarks, axis=1).mean() > 0.6 * eye_distance
        ]
        found.sort(key=lambda each: -each.probability * self._rng.random())
        yield from (self.sample(image, each, kind, split) for each in found[:2])

    def misframed(self, picture: Image, face: Detection, split: str) -> Sample:
        """Return a face with wrong landmarks: too large, too small, shifted or rotated."""
        middle = face.landmarks.mean(axis=0)
        eye_distance = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
        scale, angle, shift = 1.0, 0.0, np.zeros(2)
        match self._rng.integers(4):
            case 0:
                scale = self._rng.uniform(0.3, 0.5)
            case 1:
                scale = self._rng.uniform(1.9, 2.6)
            case 2:
                angle = self._rng.uniform(110, 250)
            case _:
                direction = self._rng.uniform(0, 2 * np.pi)
                shift = (
                    eye_distance
                    * self._rng.uniform(1.0, 1.6)
                    * np.array([np.cos(direction), np.sin(direction)])
                )
        turn = cv2.getRotationMatrix2D((0, 0), angle, scale)[:, :2]
        points = ((face.landmarks - middle) @ turn.T + middle + shift).astype(np.float32)
        points += self._rng.normal(0, 0.05 * eye_distance * scale, points.shape).astype(np.float32)
        low, high = points.min(axis=0), points.max(axis=0)
        box = np.concatenate([low - 0.5 * (high - low), high + 0.5 * (high - low)]).astype(np.float32)
        return self.sample(picture, Detection(box, points, 0.5), "frame", split)


def read_picture(path: Path, border: int = 0) -> Image:
    """Read a picture, RGB, and add a mirrored border of `border` pixels."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"error: {path} cannot be read")
    padded = cv2.copyMakeBorder(picture, border, border, border, border, cv2.BORDER_REFLECT)
    return cast(Image, np.ascontiguousarray(padded[..., ::-1]))


def _are_apart(found: Detection, face: Detection) -> bool:
    low, high = np.maximum(found.box[:2], face.box[:2]), np.minimum(found.box[2:], face.box[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared < 0.2 * min(found.width * found.height, face.width * face.height)


def samples_of_pictures(collector: Collector, folder: Path, rng: Generator) -> Iterator[Sample]:
    """Yield the samples from the pictures in faces.csv."""
    with (folder / "faces.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["source"] in ("WEB", "DFDC")]
    groups = sorted({row["group"] for row in rows if row["split"] == "train"})
    dev = set(rng.permutation(groups)[: len(groups) // DEV].tolist())
    for number in rng.permutation(len(rows)):
        row = rows[number]
        web = row["source"] == "WEB"
        # Pictures of one DFDC clip are very similar, so few of them are used.
        if rng.random() > (SHARES[row["split"]] if web else 0.04) or (not web and row["split"] == "val"):
            continue
        split = "dev" if row["group"] in dev else row["split"]
        picture = read_picture(folder / row["file"], border=0 if web else 56)
        yield from collector.positives(picture, split, 2 if web and split == "train" else 1)
        face = collector.labelled(picture) if web else None
        if face is None:
            continue
        if rng.random() < 0.4:
            continue
        every = collector.faces(picture)
        if rng.random() < 0.6:
            yield from collector.negatives(picture, "background", split, every, 4)
        if rng.random() < 0.35:
            around = _outside(picture, every, rng)
            if around is not None:
                yield from collector.negatives(around, "background", split, (), 3)
        if rng.random() < 0.4:
            yield from collector.parts(picture, face, split)
        if rng.random() < 0.5:
            yield collector.misframed(picture, face, split)


def _outside(picture: Image, faces: Sequence[Detection], rng: Generator) -> Image | None:
    """Return a strip of a picture outside its faces, enlarged and rotated; None if there is no such strip."""
    low = np.min([face.box[:2] for face in faces], axis=0)
    high = np.max([face.box[2:] for face in faces], axis=0)
    height, width = picture.shape[:2]
    strips = [
        picture[:, : max(0, int(low[0]))],
        picture[:, min(width, int(high[0])) :],
        picture[: max(0, int(low[1])), :],
        picture[min(height, int(high[1])) :, :],
    ]
    wide = [strip for strip in strips if min(strip.shape[:2]) >= 24]
    if not wide:
        return None
    strip = wide[rng.integers(len(wide))]
    factor = rng.uniform(1, 3)
    strip = rescale(strip, factor)
    return np.ascontiguousarray(np.rot90(strip, int(rng.integers(4))))


def samples_of_patterns(collector: Collector, rng: Generator, each: int) -> Iterator[Sample]:
    """Yield the detections in synthetic patterns."""
    for name in (*TRAINED, *HELD_OUT):
        for number in range(each):
            split = "val" if name in HELD_OUT or number % 5 == 0 else "dev" if number % 10 == 1 else "train"
            yield from collector.negatives(pattern(name, rng), f"made:{name}", split, (), 4)


def samples_of_packages(collector: Collector, rng: Generator) -> Iterator[Sample]:
    """Yield the detections in pictures from installed packages, at several sizes and rotations."""
    for package, name in PACKAGED:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.origin is not None
        whole = read_picture(Path(spec.origin).parent / name)
        split = "val" if Path(name).name in VALIDATION else "train"
        for _ in range(20):
            side = int(rng.integers(80, max(81, min(whole.shape[:2]))))
            y, x = (int(rng.integers(0, size - side + 1)) for size in whole.shape[:2])
            window = whole[y : y + side, x : x + side]
            part = cv2.resize(window, (256, 256), interpolation=cv2.INTER_AREA)
            turned = cast(Image, np.ascontiguousarray(np.rot90(part, int(rng.integers(4)))))
            found = list(collector.negatives(turned, "picture", split, (), 5))
            if Path(name).name != SHOWS_A_MAN:
                yield from found


def main() -> None:
    """Collect and write the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patterns", type=int, default=40, help="number of patterns of each kind")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    cv2.setNumThreads(1)
    collector = Collector(rng)
    samples = [
        *samples_of_patterns(collector, rng, options.patterns),
        *samples_of_packages(collector, rng),
        *samples_of_pictures(collector, options.data, rng),
    ]
    np.savez(
        options.out,
        crops=np.stack([sample.crop for sample in samples]),
        landmarks=np.stack([sample.landmarks for sample in samples]),
        probabilities=np.array([sample.probability for sample in samples], np.float32),
        kinds=np.array([sample.kind for sample in samples]),
        splits=np.array([sample.split for sample in samples]),
        again=np.array([sample.again for sample in samples], np.int8),
    )
    counts: NDArray[np.str_] = np.array([f"{sample.split} {sample.kind}" for sample in samples])
    for name, count in zip(*np.unique(counts, return_counts=True), strict=True):
        print(f"{count:6d} {name}")


if __name__ == "__main__":
    main()
