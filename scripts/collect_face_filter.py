"""Collects what the face filter is trained on and measured with: what MTCNN finds, faces and what is none.

usage: python scripts/collect_face_filter.py --data DIR --out FILE.npz      (about half an hour on one core)

DIR has faces.csv and its pictures. Faces are the labelled ones of WEB and DFDC, found as a scan finds them in
pictures that are shrunk, blurred, darkened, noisy, partly covered and compressed as those of videos are. What
is no face is what MTCNN, its thresholds lowered, finds
  - in the same pictures away from every face (`background`), also turned by a quarter or a half,
  - in parts of a face: an eye, an ear, the mouth, where its landmarks are not the face's (`part`),
  - in faces upside down, its landmarks again not the face's (`upside`),
  - in made patterns (`made:KIND`, see `made_patterns`) and in pictures that packages carry (`picture`),
and faces that are framed wrongly, as a finder would that takes a nostril for an eye (`frame`).

Pictures and crops are of whom they are of: the file is for training here, and is not given out.
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
from made_patterns import HELD_OUT, TRAINED, pattern
from numpy.random import Generator
from numpy.typing import NDArray

from deepscan.crop_recipe import CropRecipe
from deepscan.faces import mtcnn
from deepscan.faces.align import align
from deepscan.faces.boxes import iou
from deepscan.faces.face import Detection, Floats
from deepscan.media.frames import Image

#: Of P-Net, R-Net and O-Net: what a scan would never take for a face is of the same kind as what it takes.
LOOSE = (0.4, 0.15, 0.05)
#: Wider than what the filter looks at, so that training may move and scale it.
WIDE = CropRecipe(side=72, scale=1.5, interpolation="area", border="reflect")
#: Of these groups one in so many is kept from training, to choose the threshold by.
DEV = 8
#: Of the pictures of WEB in each split, how many are taken.
SHARES = {"train": 0.3, "val": 0.4}
SKIN = np.array([224, 172, 140])
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
#: Of `PACKAGED`, the one that has a face. Nothing of it is taken; but it was looked at when the filter that
#: ships was trained, and all that is drawn at random after it depends on that.
SHOWS_A_MAN = "camera.png"
#: Of `PACKAGED`, those that training does not see.
KEPT = (
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
    """What MTCNN found, and what it is.

    Attributes:
        crop: Cut by `WIDE`, RGB, uint8.
        landmarks: In units of the box, shape (5, 2).
        probability: MTCNN's.
        kind: `face` or one of those named above.
        split: `train`, `dev` or `val`.
        again: Whether it is found once more in the picture moved and shrunk a little; -1 where not tried.
    """

    crop: Image
    landmarks: Floats
    probability: float
    kind: str
    split: str
    again: int = -1


class Collector:
    """Finds and cuts.

    Args:
        rng: Draws everything.
    """

    def __init__(self, rng: Generator) -> None:
        self._rng = rng
        self._finder = mtcnn.Mtcnn("exact", threads=1)

    def faces(self, image: Image, least: float = 20) -> list[Detection]:
        """Return what a scan would take for faces of `least` pixels and more, the surest first."""
        self._finder._search = mtcnn.Search(max(20, least), None, 1)
        return sorted(self._finder.detect([image])[0], key=lambda face: -face.probability)

    def loose(self, image: Image) -> list[Detection]:
        """Return what lowered thresholds find besides."""
        self._finder._search = mtcnn.Search(20, None, 1)
        with patch.object(mtcnn, "THRESHOLDS", LOOSE):
            return self._finder.detect([image])[0]

    def labelled(self, picture: Image) -> Detection | None:
        """Return the face that a picture was cut around."""
        middle = np.array(picture.shape[1::-1]) / 2
        near = [
            face
            for face in self.faces(picture, 0.3 * picture.shape[0])
            if np.abs((face.box[:2] + face.box[2:]) / 2 - middle).max() < 0.2 * picture.shape[0]
            and face.probability >= 0.9
        ]
        return near[0] if near else None

    def sample(self, image: Image, found: Detection, kind: str, split: str, *, retry: bool = False) -> Sample:
        """Return a sample of what was found."""
        size = np.maximum(found.box[2:] - found.box[:2], 1)
        placed = ((found.landmarks - found.box[:2]) / size).astype(np.float32)
        again = int(self.found_again(image, found)) if retry else -1
        return Sample(align(image, found.landmarks, WIDE), placed, found.probability, kind, split, again)

    def found_again(self, image: Image, found: Detection) -> bool:
        """Return whether it is found as surely when the picture has moved by 3 pixels and shrunk by 4 %."""
        moved = np.array([[0.96, 0.01, 3.3], [-0.01, 0.96, 2.6]])
        flat = cv2.warpAffine(image, moved, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
        other = cast(Image, flat)
        corners = found.box.reshape(2, 2) @ moved[:, :2].T + moved[:, 2]
        boxes = [face.box for face in (self.faces if found.probability > 0.7 else self.loose)(other)]
        return bool(boxes) and bool((iou(corners.ravel().astype(np.float32), np.stack(boxes)) > 0.4).any())

    def positives(self, picture: Image, split: str, variants: int) -> Iterator[Sample]:
        """Yield a picture's face as videos would show it."""
        face = self.labelled(picture)
        if face is None:
            return
        yield self.sample(picture, face, "face", split, retry=bool(self._rng.random() < 0.15))
        for _ in range(variants):
            changed, factor = treated(picture, face, self._rng)
            near = [
                found
                for found in self.faces(changed, 0.5 * factor * face.width)
                if iou(face.box * np.float32(factor), found.box[None])[0] > 0.3
            ]
            if near:
                yield self.sample(changed, near[0], "face", split)

    def negatives(
        self, image: Image, kind: str, split: str, faces: Sequence[Detection], most: int
    ) -> Iterator[Sample]:
        """Yield some of what is found away from faces, the surer the sooner."""
        found = [each for each in self.loose(image) if all(_apart(each, face) for face in faces)]
        # Some of the surest, some of any.
        found.sort(key=lambda each: -each.probability * self._rng.random())
        for each in found[:most]:
            yield self.sample(image, each, kind, split, retry=each.probability > 0.7)

    def parts(self, picture: Image, face: Detection, split: str) -> Iterator[Sample]:
        """Yield what is found in enlarged parts of a face, or in a face upside down, and is not that face."""
        apart = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
        points = [
            *face.landmarks,
            face.landmarks[self._rng.integers(2)] + (self._rng.choice([-1.2, 1.2]) * apart, 0),
        ]
        x, y = points[self._rng.integers(len(points))]
        reach = apart * self._rng.uniform(0.45, 0.9)
        low = np.maximum(np.array([x - reach, y - reach]).astype(int), 0)
        part = picture[low[1] : int(y + reach), low[0] : int(x + reach)]
        if min(part.shape[:2]) > 12:
            by = 160 / min(part.shape[:2])
            large = cast(Image, cv2.resize(part, None, fx=by, fy=by, interpolation=cv2.INTER_CUBIC))
            yield from self._others(large, (face.landmarks - low) * by, "part", split)
        if self._rng.random() < 0.3:
            upside = np.ascontiguousarray(picture[::-1, ::-1])
            yield from self._others(
                upside, np.array(picture.shape[1::-1]) - 1 - face.landmarks, "upside", split
            )

    def _others(self, image: Image, true: Floats, kind: str, split: str) -> Iterator[Sample]:
        apart = float(np.linalg.norm(true[1] - true[0]))
        found = [
            each
            for each in self.loose(image)
            if np.linalg.norm(each.landmarks - true, axis=1).mean() > 0.6 * apart
        ]
        found.sort(key=lambda each: -each.probability * self._rng.random())
        yield from (self.sample(image, each, kind, split) for each in found[:2])

    def misframed(self, picture: Image, face: Detection, split: str) -> Sample:
        """Return a face with landmarks that are far from its own: too large, too small, aside, turned."""
        middle = face.landmarks.mean(axis=0)
        apart = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
        scale, angle, shift = 1.0, 0.0, np.zeros(2)
        match self._rng.integers(4):
            case 0:
                scale = self._rng.uniform(0.3, 0.5)
            case 1:
                scale = self._rng.uniform(1.9, 2.6)
            case 2:
                angle = self._rng.uniform(110, 250)
            case _:
                toward = self._rng.uniform(0, 2 * np.pi)
                shift = apart * self._rng.uniform(1.0, 1.6) * np.array([np.cos(toward), np.sin(toward)])
        turn = cv2.getRotationMatrix2D((0, 0), angle, scale)[:, :2]
        points = ((face.landmarks - middle) @ turn.T + middle + shift).astype(np.float32)
        points += self._rng.normal(0, 0.05 * apart * scale, points.shape).astype(np.float32)
        low, high = points.min(axis=0), points.max(axis=0)
        box = np.concatenate([low - 0.5 * (high - low), high + 0.5 * (high - low)]).astype(np.float32)
        return self.sample(picture, Detection(box, points, 0.5), "frame", split)


def treated(picture: Image, face: Detection, rng: Generator) -> tuple[Image, float]:
    """Return a picture as a video shows it, and how much smaller it is."""
    image = picture.copy()
    apart = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
    if rng.random() < 0.25:
        image = covered(image, face, apart, rng)
    factor = min(1.0, float(np.exp(rng.uniform(np.log(22), np.log(160)))) / max(face.width, 1))
    image = scaled(image, factor)
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


def scaled(image: Image, factor: float) -> Image:
    """Return a picture so many times as large."""
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cast(Image, cv2.resize(image, None, fx=factor, fy=factor, interpolation=how))


def read_picture(path: Path, rim: int = 0) -> Image:
    """Return a picture, RGB, with a mirrored rim of so many pixels."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"error: {path} cannot be read")
    rimmed = cv2.copyMakeBorder(picture, rim, rim, rim, rim, cv2.BORDER_REFLECT)
    return cast(Image, np.ascontiguousarray(rimmed[..., ::-1]))


def covered(image: Image, face: Detection, apart: float, rng: Generator) -> Image:
    """Return a face with dark glasses, a mask over its mouth, or fingers, a microphone, an edge before it."""
    left, right, nose, *mouth = face.landmarks.astype(np.float64)
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else SKIN * rng.uniform(0.4, 1.1)
    match rng.integers(3):
        case 0:
            dark = rng.uniform(0, 60, 3).tolist()
            for eye in (left, right):
                axes = int(0.42 * apart), int(0.3 * apart)
                cv2.ellipse(image, eye.astype(int).tolist(), axes, 0, 0, 360, dark, -1)
            cv2.line(
                image, left.astype(int).tolist(), right.astype(int).tolist(), dark, max(1, int(apart / 12))
            )
        case 1:
            across = right - left
            outline = [
                nose - 0.75 * across,
                nose + 0.75 * across,
                mouth[1] + 0.4 * across,
                mouth[1] + (0, 0.8 * apart),
            ]
            outline += [mouth[0] + (0, 0.8 * apart), mouth[0] - 0.4 * across]
            cv2.fillPoly(image, [np.array(outline).astype(np.int32)], colour.tolist())
        case _:
            start = mouth[0] + rng.normal(0, 0.4 * apart, 2)
            end = start + rng.normal(0, 1, 2) * apart + (0, 1.5 * apart)
            thick = max(1, int(apart * rng.uniform(0.1, 0.4)))
            cv2.line(image, start.astype(int).tolist(), end.astype(int).tolist(), colour.tolist(), thick)
    return image


def _apart(found: Detection, face: Detection) -> bool:
    low, high = np.maximum(found.box[:2], face.box[:2]), np.minimum(found.box[2:], face.box[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared < 0.2 * min(found.width * found.height, face.width * face.height)


def of_pictures(collector: Collector, folder: Path, rng: Generator) -> Iterator[Sample]:
    """Yield what the pictures of faces.csv give."""
    with (folder / "faces.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["source"] in ("WEB", "DFDC")]
    groups = sorted({row["group"] for row in rows if row["split"] == "train"})
    dev = set(rng.permutation(groups)[: len(groups) // DEV].tolist())
    for number in rng.permutation(len(rows)):
        row = rows[number]
        web = row["source"] == "WEB"
        # Pictures of one clip are much alike.
        if rng.random() > (SHARES[row["split"]] if web else 0.04) or (not web and row["split"] == "val"):
            continue
        split = "dev" if row["group"] in dev else row["split"]
        picture = read_picture(folder / row["file"], rim=0 if web else 56)
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
    """Return a strip of a picture beside its faces, enlarged and turned; None where there is none."""
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
    by = rng.uniform(1, 3)
    strip = scaled(strip, by)
    return np.ascontiguousarray(np.rot90(strip, int(rng.integers(4))))


def of_patterns(collector: Collector, rng: Generator, each: int) -> Iterator[Sample]:
    """Yield what is found in made patterns."""
    for name in (*TRAINED, *HELD_OUT):
        for number in range(each):
            split = "val" if name in HELD_OUT or number % 5 == 0 else "dev" if number % 10 == 1 else "train"
            yield from collector.negatives(pattern(name, rng), f"made:{name}", split, (), 4)


def of_packages(collector: Collector, rng: Generator) -> Iterator[Sample]:
    """Yield what is found in pictures that packages carry, at several sizes and turned."""
    for package, name in PACKAGED:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.origin is not None
        whole = read_picture(Path(spec.origin).parent / name)
        split = "val" if Path(name).name in KEPT else "train"
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
    """Collect, and write the samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patterns", type=int, default=40, help="of each kind")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    cv2.setNumThreads(1)
    collector = Collector(rng)
    samples = [
        *of_patterns(collector, rng, options.patterns),
        *of_packages(collector, rng),
        *of_pictures(collector, options.data, rng),
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
