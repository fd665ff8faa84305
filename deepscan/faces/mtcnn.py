"""Find faces and their five landmarks with MTCNN, a cascade of three small networks, in ONNX Runtime."""

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

#: Window of P-Net and its stride, in pixels: P-Net is a fully convolutional scan.
WINDOW, STEP = 12, 2
#: Scale factor from each pyramid level to the next.
FACTOR = 0.709
#: Lowest confidence to pass P-Net, R-Net, O-Net.
THRESHOLDS = (0.6, 0.7, 0.7)
#: When a face is followed: how far around it to search, in units of its longer side, and for which sizes of
#: P-Net's window relative to the face. P-Net finds a face with windows from half to one and a half times its
#: size.
ROOM, SIZES = 0.5, (0.5, 1.5)
#: Lowest overlap at which a face counts as the one found before.
SAME_FACE = 0.3
#: Bound on memory: pixels whose tables are kept at once.
KEPT_PIXELS = 1 << 24


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many pixels go through a net in one run.

    Attributes:
        scan: For P-Net on whole images. The surroundings of a followed face are a separate run.
        crops: For R-Net and O-Net.
    """

    scan: int
    crops: int


#: On a CPU, larger runs push intermediate results out of the cache, and each pixel then takes up to half as
#: long again. On a GPU, a run must be large to be worth launching: these allow half a GB of intermediate
#: results, a value that has not been tuned on a GPU.
BOUNDS = {"cpu": Bounds(1 << 17, 16 * 48**2), "cuda": Bounds(1 << 22, 1 << 20)}


@dataclass(frozen=True, slots=True)
class Search:
    """Search settings of a mode.

    Attributes:
        min_face: Side of the smallest face searched for, in pixels of the full frame.
        copy_side: Long side of the smaller copy that is searched, None to search the frame itself.
        every: Every how many frames a full search is made. In between, faces are followed.
    """

    min_face: float
    copy_side: int | None
    every: int

    def shrink(self, height: int, width: int) -> float:
        """Return the factor by which a frame is scaled down, in (0, 1]."""
        if self.copy_side is None:
            return 1.0
        # Below 20 pixels a face has too little detail for the later nets.
        return min(1.0, max(self.copy_side / max(height, width), 20 / self.min_face))


# Two pyramid levels fewer than `exact`; the rest of the pyramid is the same.
SEARCHES = {"fast": Search(20 / FACTOR**2, 1280, 8), "exact": Search(20, None, 1)}


class Net(Protocol):
    """The part of an ONNX Runtime session that the cascade uses."""

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Floats]) -> Sequence[Floats]:
        """Return the named outputs, or all in the order of the model, for `pixels` (n, h, w, 3)."""


@FINDERS.register("fast")
@FINDERS.register("exact")
class Mtcnn:
    """MTCNN face finder for faces of at least 48 pixels (`fast`) or at least 20 pixels (`exact`).

    The cascade is that of Zhang et al. 2016 (section II): P-Net scans an image pyramid, R-Net and O-Net judge
    its proposals from crops of 24 and 48 pixels, each refining the boxes, and O-Net adds the landmarks.
    `exact` returns the result of facenet-pytorch 2.5.3's `MTCNN(keep_all=True, min_face_size=20)`. `fast`
    searches a smaller copy and maps its results back to the frame. `following.search_or_follow` follows faces
    from frame to frame.

    Args:
        mode: `fast` or `exact`.
        device: `cpu`, `cuda`, or `auto` for `cuda` if there is a GPU. No other device is used instead.
        threads: Threads for a run on a CPU, None for one per core.

    Attributes:
        every: Every how many frames of a video a full search is due.

    Raises:
        UsageError: The mode or the device is unknown.
        MissingError: onnxruntime is not installed, CUDA was requested but cannot be used, or a net's file is
            missing.
        ContractError: A net's file does not match its card.
    """

    def __init__(self, mode: str = "fast", device: str = "cpu", threads: int | None = None) -> None:
        if mode not in SEARCHES:
            raise UsageError(f"unknown face finder {mode!r}", "use fast or exact")
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
        """Describe its networks for the record of a run."""
        return _card().facts()

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each image, the largest box first.

        Args:
            images: RGB, shape (h, w, 3), uint8, of any sizes; those of equal size are searched together.

        Returns:
            One list per image, empty if no face was found. Boxes may extend past the edge.
        """
        found: list[list[Detection]] = []
        for chunk in _chunks(images, self._search):
            found += self._detect(chunk)
        return found

    def redetect_near(
        self, images: Sequence[Image], known: Sequence[Sequence[Detection]]
    ) -> list[list[Detection] | None]:
        """Return the faces of images near their positions in an earlier frame, without a full search.

        P-Net is run only on windows around the known faces and of about their size. Passing the old positions
        directly to R-Net and O-Net would be faster, but their result depends on the given box: within five
        frames the landmarks drifted by up to half the eye distance.

        Args:
            images: As for `detect`.
            known: The faces of an earlier frame of the same video, at least one per image.

        Returns:
            One list per image, the largest box first; None if not every known face was found again.
        """
        faces: list[list[Detection]] = []
        for chunk in _chunks(images, self._search):
            faces += self._detect(chunk, known[len(faces) : len(faces) + len(chunk)])
        results: list[list[Detection] | None] = []
        for found, before in zip(faces, known, strict=True):
            boxes = np.stack([face.box for face in found]) if found else np.zeros((0, 4), np.float32)
            seen = all((iou(face.box, boxes) >= SAME_FACE).any() for face in before)
            results.append(found if seen and len(found) >= len(before) else None)
        return results

    def _detect(
        self, images: Sequence[Image], known: Sequence[Sequence[Detection]] | None = None
    ) -> list[list[Detection]]:
        """Return the faces of images, or only those near the known faces of each."""
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
        return [_detections(passed.of(k).scaled(by)) for k, by in enumerate(grown)]

    def _refine(self, tables: Sequence[IntegralImage], proposed: Candidates) -> Candidates:
        """Return the candidates accepted by R-Net and O-Net, with O-Net's boxes, and landmarks in pixels."""
        passed = _judge(self._rnet, tables, proposed, 24, THRESHOLDS[1], self._bounds.crops).suppressed(0.7)
        passed = replace(passed, boxes=to_square(apply_deltas(passed.boxes, passed.offsets, 1)))
        passed = _judge(self._onet, tables, passed, 48, THRESHOLDS[2], self._bounds.crops)
        # O-Net's landmarks are relative to its input box, not to the corrected one.
        return replace(
            passed,
            points=_placed(passed.boxes, passed.points),
            boxes=apply_deltas(passed.boxes, passed.offsets, 1),
        )

    def _propose(self, tables: Sequence[IntegralImage], shrinks: Sequence[float]) -> Candidates:
        """Return P-Net's proposals on every level of every image's pyramid."""
        by_size = defaultdict(list)
        for k, table in enumerate(tables):
            by_size[table.height, table.width, shrinks[k]].append(k)
        parts = []
        for (height, width, shrink), members in by_size.items():
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
        """Return P-Net's proposals around boxes (4,) of each image, at scales that suit them.

        A full search examines the same windows with the same results. Each place and scale is a separate run,
        because their sizes differ. On a GPU, such small runs may cost more than they save, which has not been
        measured.
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
    """Yield groups of consecutive images within the bound on searched pixels, at least one image each."""
    start, held = 0, 0.0
    for k, image in enumerate(images):
        height, width = image.shape[:2]
        pixels = height * width * search.shrink(height, width) ** 2
        if k > start and held + pixels > KEPT_PIXELS:
            yield images[start:k]
            start, held = k, 0.0
        held += pixels
    if len(images):
        yield images[start:]


def _pyramid(short_side: int, min_face: float) -> Iterator[float]:
    """Yield the scales at which P-Net's window covers faces of `min_face` pixels and more."""
    scale = WINDOW / min_face
    while short_side * scale >= WINDOW:
        yield scale
        scale *= FACTOR


def _span(middle: float, side: float, end: int) -> slice:
    """Return the range of a level's pixels, `end` in a row, to search for a face: whole strides of P-Net.

    P-Net pools pairs of pixels, and an odd last pixel alone; in a full search that is only the last of the
    level.
    """
    reach = max(side * (0.5 + ROOM), WINDOW / 2 + STEP)
    start = int(np.clip(middle - reach, 0, max(0, end - WINDOW))) // STEP * STEP
    steps = int(np.ceil((middle + reach - start) / STEP))
    return slice(start, min(end, start + max(WINDOW, steps * STEP)))


def _from_map(found: Floats, scale: float, start: tuple[int, int] = (0, 0)) -> Candidates:
    """Return the windows that P-Net accepts, from its map (n, 5, rows, columns) of log-odds and offsets.

    Args:
        found: The map.
        scale: Scale of the pyramid level.
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
    """Return the candidates that a net accepts from their crops, with its outputs."""
    # As in the nets' training, coordinates count pixels from 1 and are truncated, not rounded.
    edges = proposed.boxes.astype(np.int64)
    sizes = np.array([(table.width, table.height) for table in tables])[proposed.owner]
    edges = np.concatenate([np.maximum(edges[:, :2], 1) - 1, np.minimum(edges[:, 2:], sizes)], axis=1)
    inside = np.flatnonzero((edges[:, 2:] > edges[:, :2]).all(axis=1))
    # Keep each image's crops together, so that each table is read once.
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
    """Convert landmarks (n, 10), five x then five y, from units of the boxes to pixels."""
    size = boxes[:, 2:] - boxes[:, :2] + 1
    return points * np.repeat(size, 5, axis=1) + np.repeat(boxes[:, :2], 5, axis=1) - 1


def _detections(found: Candidates) -> list[Detection]:
    """Return the faces, largest first."""
    landmarks = found.points.reshape(-1, 2, 5).transpose(0, 2, 1)
    size = np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1)
    return [
        Detection(found.boxes[k], landmarks[k], min(1.0, float(found.scores[k])))
        for k in np.argsort(size, kind="stable")[::-1]
    ]
