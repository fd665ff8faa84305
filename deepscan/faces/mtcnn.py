"""MTCNN: find faces and their five landmarks by a cascade of three small networks, on ONNX Runtime."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import cv2
import numpy as np

from deepscan.cards import ModelCard, embedded_folder, read_card
from deepscan.devices import resolve
from deepscan.errors import UsageError
from deepscan.faces.area import IntegralImage
from deepscan.faces.boxes import apply_deltas, iou, to_square
from deepscan.faces.candidates import Candidates
from deepscan.faces.face import Detection, Floats
from deepscan.faces.finder import FINDERS
from deepscan.media.frames import Image
from deepscan.onnx_session import open_session

#: P-Net looks at squares of this many pixels, a step apart, and so is a fully convolutional scan.
WINDOW, STEP = 12, 2
#: Each level of the pyramid is this much smaller than the last.
FACTOR = 0.709
#: Least confidence to pass P-Net, R-Net, O-Net.
THRESHOLDS = (0.6, 0.7, 0.7)
#: How far around a face that is followed it is looked for, in units of its longer side, and at which sizes of
#: P-Net's window: it finds a face with windows from half of its size to one and a half.
ROOM, SIZES = 0.5, (0.5, 1.5)
#: Least overlap of a face with the one that it was.
AGAIN = 0.3
#: Bound on memory: pixels whose tables are held at once.
HELD_PIXELS = 1 << 24


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many pixels go through a net in one run.

    Attributes:
        scan: Of P-Net over whole images; what it sees around a face that is followed goes alone.
        crops: Of R-Net and of O-Net.
    """

    scan: int
    crops: int


#: On a CPU, with more, what passes between the layers leaves the cache, and each pixel takes up to half as
#: long again. On a GPU a run must be large to be worth its start: as large as half a GB between the layers
#: allows, which has not been measured on one.
BOUNDS = {"cpu": Bounds(1 << 17, 16 * 48**2), "cuda": Bounds(1 << 22, 1 << 20)}


@dataclass(frozen=True, slots=True)
class Search:
    """What a mode looks for.

    Attributes:
        min_face: Side in pixels of the full frame of the smallest face looked for.
        copy_side: Long side of the copy that is searched, None to search the frame itself.
        every: One in so many frames of a video is searched; in those between, its faces are followed.
    """

    min_face: float
    copy_side: int | None
    every: int

    def shrink(self, height: int, width: int) -> float:
        """Return by what factor a frame is made smaller, in (0, 1]."""
        if self.copy_side is None:
            return 1.0
        # With fewer than 20 pixels left a face has too little detail for the later nets.
        return min(1.0, max(self.copy_side / max(height, width), 20 / self.min_face))


# Two levels fewer than `exact`, so that both look through the same pyramid from there on.
SEARCHES = {"fast": Search(20 / FACTOR**2, 1280, 8), "exact": Search(20, None, 1)}


class Net(Protocol):
    """What the cascade needs of an ONNX Runtime session."""

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Floats]) -> Sequence[Floats]:
        """Return the named outputs, or all in the order of the model, for `pixels` (n, h, w, 3)."""


@FINDERS.register("fast")
@FINDERS.register("exact")
class Mtcnn:
    """Finds faces of at least 48 pixels (`fast`) or of at least 20 (`exact`).

    The cascade is that of Zhang et al. 2016 (section II): P-Net scans a pyramid of the image, R-Net and O-Net
    judge what it proposes from crops of 24 and 48 pixels, each refining the boxes, and O-Net gives the
    landmarks. `exact` gives the result of facenet-pytorch 2.5.3's `MTCNN(keep_all=True, min_face_size=20)`;
    `fast` searches a smaller copy and maps what it finds back to the frame. What follows faces from frame
    to frame is `following.search_or_follow`.

    Args:
        mode: What to look for; see above.
        device: `cpu`, `cuda`, or `auto` for the latter where there is a GPU; never replaced by another.
        threads: Threads of one run of a net on a CPU, None for as many as there are cores.

    Attributes:
        every: One in so many frames of a video is to be searched in this mode.

    Raises:
        UsageError: The mode or the device is unknown.
        MissingError: onnxruntime is not installed, CUDA was asked for and cannot be used, or a net is not
            there.
        ContractError: A net is not the one that its card names.
    """

    def __init__(self, mode: str = "fast", device: str = "cpu", threads: int | None = None) -> None:
        if mode not in SEARCHES:
            raise UsageError(f"there is no face mode {mode!r}", "use fast or exact")
        self.mode, self.device = mode, resolve(device, "--faces-device")
        self._bounds = BOUNDS[self.device]
        self._search = SEARCHES[mode]
        self.every = self._search.every
        self.card = _card()
        self._pnet, self._rnet, self._onet = (
            open_session(self.card.path(name), device=self.device, threads=threads)
            for name in ("pnet", "rnet", "onet")
        )

    @staticmethod
    def describe() -> dict[str, Any]:
        """Return what the record of a run says of its networks."""
        return _card().facts()

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each image, the largest box first.

        Args:
            images: RGB, shape (h, w, 3), uint8, of any sizes; those of equal size are scanned together.

        Returns:
            One list an image, empty where no face was found. Boxes may reach past the edge.
        """
        found: list[list[Detection]] = []
        for chunk in _chunks(images, self._search):
            found += self._detect(chunk)
        return found

    def redetect_near(
        self, images: Sequence[Image], known: Sequence[Sequence[Detection]]
    ) -> list[list[Detection] | None]:
        """Return the faces of images near where they were a frame earlier, without searching all of them.

        The cascade is shown those windows of a search that lie around the known faces and are of their size.
        To show R-Net and O-Net the faces' old places instead is quicker, but their answer depends on the box
        that they are shown: within five frames the landmarks went astray by up to half the eye distance.

        Args:
            images: As `detect` takes them.
            known: The faces of a near frame of the same video, at least one an image.

        Returns:
            One list an image, the largest box first; None where not every known face was found again.
        """
        faces: list[list[Detection]] = []
        for chunk in _chunks(images, self._search):
            faces += self._detect(chunk, known[len(faces) : len(faces) + len(chunk)])
        again = []
        for found, before in zip(faces, known, strict=True):
            here = np.stack([face.box for face in found]) if found else np.zeros((0, 4), np.float32)
            seen = all((iou(face.box, here) >= AGAIN).any() for face in before)
            again.append(found if seen and len(found) >= len(before) else None)
        return again

    def _detect(
        self, images: Sequence[Image], known: Sequence[Sequence[Detection]] | None = None
    ) -> list[list[Detection]]:
        """Return the faces of images, or only those near known ones of each."""
        copies = [self._copy(image) for image in images]
        tables = [IntegralImage(copy) for copy in copies]
        shrinks = [self._search.shrink(*image.shape[:2]) for image in images]
        grown = [
            (np.array(image.shape[1::-1]) / np.array(copy.shape[1::-1])).astype(np.float32)
            for copy, image in zip(copies, images, strict=True)
        ]
        if known is None:
            passed = self._propose(tables, shrinks)
        else:
            near = [[face.box / np.tile(by, 2) for face in own] for own, by in zip(known, grown, strict=True)]
            passed = self._propose_near(tables, shrinks, near)
        passed = passed.suppressed(0.7)
        passed = replace(passed, boxes=to_square(apply_deltas(passed.boxes, passed.offsets, 0)))
        passed = self._refine(tables, passed).suppressed(0.7, overlap="iom", rim=1)
        return [_detections(passed.of(k).grown(by)) for k, by in enumerate(grown)]

    def _refine(self, tables: Sequence[IntegralImage], proposed: Candidates) -> Candidates:
        """Return what R-Net and O-Net hold for faces, where O-Net moves them to, with landmarks in pixels."""
        passed = _judge(self._rnet, tables, proposed, 24, THRESHOLDS[1], self._bounds.crops).suppressed(0.7)
        passed = replace(passed, boxes=to_square(apply_deltas(passed.boxes, passed.offsets, 1)))
        passed = _judge(self._onet, tables, passed, 48, THRESHOLDS[2], self._bounds.crops)
        # O-Net's landmarks are relative to the box it saw, not to the one it moves it to.
        return replace(
            passed,
            points=_placed(passed.boxes, passed.points),
            boxes=apply_deltas(passed.boxes, passed.offsets, 1),
        )

    def _propose(self, tables: Sequence[IntegralImage], shrinks: Sequence[float]) -> Candidates:
        """Return what P-Net finds on every level of every image's pyramid."""
        alike = defaultdict(list)
        for k, table in enumerate(tables):
            alike[table.height, table.width, shrinks[k]].append(k)
        parts = []
        for (height, width, shrink), members in alike.items():
            for scale in _pyramid(min(height, width), self._search.min_face * shrink):
                level = int(height * scale + 1), int(width * scale + 1)
                batch = max(1, self._bounds.scan // (level[0] * level[1]))
                for start in range(0, len(members), batch):
                    chosen = members[start : start + batch]
                    pixels = np.stack([tables[k].resized(*level) for k in chosen])
                    (answer,) = self._pnet.run(None, {"pixels": pixels})
                    found = _from_map(answer, scale).suppressed(0.5)
                    parts.append(replace(found, owner=np.asarray(chosen, dtype=np.intp)[found.owner]))
        return Candidates.joined(parts)

    def _propose_near(
        self, tables: Sequence[IntegralImage], shrinks: Sequence[float], near: Sequence[Sequence[Floats]]
    ) -> Candidates:
        """Return what P-Net finds around boxes (4,) of each image, at scales that suit them.

        These are windows that a search of the whole image looks at, too, and they give the same. Each place
        and scale is a run of its own, since no two need be of one size: on a GPU, too, where such small runs
        may cost more than they save, which has not been measured.
        """
        parts = []
        for k, (table, shrink) in enumerate(zip(tables, shrinks, strict=True)):
            for scale in _pyramid(min(table.height, table.width), self._search.min_face * shrink):
                level = int(table.height * scale + 1), int(table.width * scale + 1)
                for box in near[k]:
                    side = float(max(box[2] - box[0], box[3] - box[1]))
                    if not SIZES[0] * side <= WINDOW / scale <= SIZES[1] * side:
                        continue
                    columns, rows = (
                        _span(scale * (box[at] + box[at + 2]) / 2, scale * side, level[1 - at])
                        for at in (0, 1)
                    )
                    pixels = table.resized(*level, rows, columns)[None]
                    (answer,) = self._pnet.run(None, {"pixels": pixels})
                    found = _from_map(answer, scale, (columns.start, rows.start)).suppressed(0.5)
                    parts.append(replace(found, owner=np.full(len(found), k, np.intp)))
        return Candidates.joined(parts)

    def _copy(self, image: Image) -> Image:
        height, width = image.shape[:2]
        shrink = self._search.shrink(height, width)
        if shrink == 1:
            return image
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _card() -> ModelCard:
    return read_card(embedded_folder() / "mtcnn")


def _chunks(images: Sequence[Image], search: Search) -> Iterator[Sequence[Image]]:
    """Yield runs of images whose searched pixels together stay within bounds, one image at least."""
    start, held = 0, 0.0
    for k, image in enumerate(images):
        height, width = image.shape[:2]
        pixels = height * width * search.shrink(height, width) ** 2
        if k > start and held + pixels > HELD_PIXELS:
            yield images[start:k]
            start, held = k, 0.0
        held += pixels
    if len(images):
        yield images[start:]


def _pyramid(short_side: int, min_face: float) -> Iterator[float]:
    """Yield the scales at which P-Net's window covers faces of min_face pixels and more."""
    scale = WINDOW / min_face
    while short_side * scale >= WINDOW:
        yield scale
        scale *= FACTOR


def _span(middle: float, side: float, end: int) -> slice:
    """Return which pixels of a level, of `end` in a row, to look at for a face: whole steps of P-Net.

    P-Net pools by pairs, and the last pixel of an odd number alone: in a whole level, that at its end only.
    """
    reach = max(side * (0.5 + ROOM), WINDOW / 2 + STEP)
    start = int(np.clip(middle - reach, 0, max(0, end - WINDOW))) // STEP * STEP
    steps = int(np.ceil((middle + reach - start) / STEP))
    return slice(start, min(end, start + max(WINDOW, steps * STEP)))


def _from_map(found: Floats, scale: float, start: tuple[int, int] = (0, 0)) -> Candidates:
    """Return the windows that P-Net's map (n, 5, rows, columns), log-odds and offsets, holds for faces.

    Args:
        found: The map.
        scale: Of the level of the pyramid.
        start: Column and row of the level at which the map begins.
    """
    odds = found[:, 0]
    owner, row, column = np.nonzero(odds >= np.log(THRESHOLDS[0] / (1 - THRESHOLDS[0])))
    corner = np.stack([column, row], axis=1).astype(np.float32) * STEP
    corner += np.array(start, np.float32)
    boxes = np.concatenate([corner + 1, corner + WINDOW], axis=1) / np.float32(scale)
    offsets = found[owner, 1:, row, column]
    scores = np.reciprocal(1 + np.exp(-odds[owner, row, column]), dtype=np.float32)
    return Candidates(owner, np.floor(boxes), scores, offsets, offsets[:, :0])


def _judge(
    net: Net, tables: Sequence[IntegralImage], proposed: Candidates, side: int, least: float, bound: int
) -> Candidates:
    """Return the candidates that a net, shown their crops, holds for faces, with its outputs."""
    # Coordinates count pixels from 1, as in the nets' training, and are cut off, not rounded.
    edges = proposed.boxes.astype(np.int64)
    sizes = np.array([(table.width, table.height) for table in tables])[proposed.owner]
    edges = np.concatenate([np.maximum(edges[:, :2], 1) - 1, np.minimum(edges[:, 2:], sizes)], axis=1)
    inside = np.flatnonzero((edges[:, 2:] > edges[:, :2]).all(axis=1))
    # One image's crops follow one another, so that each table is read once.
    inside = inside[np.argsort(proposed.owner[inside], kind="stable")]
    parts = []
    batch = max(1, bound // side**2)
    for start in range(0, len(inside), batch):
        chosen = inside[start : start + batch]
        owners = proposed.owner[chosen]
        crops = [tables[k].crops(edges[chosen[owners == k]], side) for k in np.unique(owners)]
        score, *rest = net.run(None, {"pixels": np.concatenate(crops)})
        passed = np.flatnonzero(score[:, 1] > least)
        offset, points = (*rest, rest[0][:, :0])[:2]
        kept = proposed.take(chosen[passed])
        parts.append(replace(kept, scores=score[passed, 1], offsets=offset[passed], points=points[passed]))
    return Candidates.joined(parts)


def _placed(boxes: Floats, points: Floats) -> Floats:
    """Return landmarks (n, 10), five x then five y in units of the boxes, in pixels."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return points * np.repeat(size, 5, axis=1) + np.repeat(boxes[:, :2], 5, axis=1) - 1


def _detections(found: Candidates) -> list[Detection]:
    """Return the faces, the largest first."""
    landmarks = found.points.reshape(-1, 2, 5).transpose(0, 2, 1)
    size = np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1)
    return [
        Detection(found.boxes[k], landmarks[k], min(1.0, float(found.scores[k])))
        for k in np.argsort(size, kind="stable")[::-1]
    ]
