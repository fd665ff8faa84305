"""Pictures of the faces that a person should look at: scaled, bounded in number and bytes, hashed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import cv2

from deepscan.cards import Calibration
from deepscan.crop_recipe import CropRecipe
from deepscan.errors import ContractError
from deepscan.faces.quality import QualityRule
from deepscan.media.frames import Frame, Image
from deepscan.scanning.telling import MAX_FACES, MAX_PERSONS, Line, shown_first, telling_faces

#: Longer side of the picture of a whole frame, in pixels; a smaller frame stays as it is.
LONG_SIDE = 640
#: Bytes of one video's pictures at most.
VIDEO_BYTES = 1_000_000
#: JPEG qualities, in [0, 100].
FRAME_QUALITY, FACE_QUALITY = 80, 90
#: Bytes of one video's pictures that wait uncompressed for the scores; beyond, the oldest wait as JPEG.
HELD_BYTES = 32 << 20
#: How a face is cut where there is no model that has its own recipe.
WITHOUT_MODEL = CropRecipe(side=224, scale=1.3, interpolation="area", border="reflect")

PictureKind = Literal["frame", "face"]
#: A picture that is held: index of the frame and None, or box and recipe of the face.
_Key = tuple[int, tuple[float, ...] | None, CropRecipe | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a frame, or of a face in it.

    Attributes:
        kind: `frame`, the whole frame, upright with square pixels, or `face`, a crop as a model saw it.
        index: Index of the frame.
        pts: Its presentation time in seconds.
        jpeg: The picture.
        width: Of the picture, in pixels.
        height: Likewise.
        scale: Pixels of the picture a pixel of the frame, in (0, 1]; None of a face.
        track: Whose face it is, None of a frame.
        crop: Which of the crops of that face: models that cut it differently see different ones.
        models: Names of the models that saw the crop; none without a model.
    """

    kind: PictureKind
    index: int
    pts: float
    jpeg: bytes
    width: int
    height: int
    scale: float | None = None
    track: int | None = None
    crop: int = 0
    models: tuple[str, ...] = ()

    def name(self, video: str) -> str:
        """Return the name of its file.

        Args:
            video: SHA-256 of the video: names of videos may hold anything, and come twice.
        """
        parts = [video, self.index, *([] if self.track is None else [self.track])]
        return "-".join(map(str, [*parts, *([self.crop] if self.crop else [])])) + ".jpg"

    def to_json(self, video: str) -> dict[str, Any]:
        """Return what the record says of the picture.

        Args:
            video: SHA-256 of the video.
        """
        own: dict[str, Any] = {"scale": self.scale and round(self.scale, 6)}
        if self.kind == "face":
            own = {"track": self.track, "models": list(self.models)}
        return {
            "kind": self.kind,
            "index": self.index,
            "pts": self.pts,
            **own,
            "width": self.width,
            "height": self.height,
            "file": self.name(video),
            "bytes": len(self.jpeg),
            "sha256": hashlib.sha256(self.jpeg).hexdigest(),
        }


@dataclass(slots=True)
class HeldPictures:
    """Pictures of a video's frames and faces, from when they are seen until it is known which are telling."""

    _raw: dict[_Key, tuple[Image, int]] = field(default_factory=dict)
    _raw_bytes: int = 0
    _jpegs: dict[_Key, bytes] = field(default_factory=dict)
    _sizes: dict[_Key, tuple[int, int]] = field(default_factory=dict)
    _scales: dict[int, float] = field(default_factory=dict)

    def add(self, frame: Frame, faces: Sequence[tuple[Sequence[float], Mapping[CropRecipe, Image]]]) -> None:
        """Hold pictures of a frame and its faces; nothing of a frame without any.

        Args:
            frame: Its image is not kept.
            faces: Box, as the record has it, and crops of each by recipe.
        """
        if not faces:
            return
        small, self._scales[frame.index] = shrink(frame.image)
        self._hold((frame.index, None, None), small, FRAME_QUALITY)
        for box, crops in faces:
            for recipe, crop in crops.items():
                self._hold((frame.index, tuple(box), recipe), crop, FACE_QUALITY)

    def frame(self, line: Line) -> Picture | None:
        """Return the picture of the frame of a face, None where it is not held."""
        key = (line["index"], None, None)
        if (jpeg := self._jpeg(key)) is None:
            return None
        width, height = self._sizes[key]
        return Picture("frame", line["index"], line["pts"], jpeg, width, height, self._scales[line["index"]])

    def faces(self, line: Line, recipes: Mapping[CropRecipe, tuple[str, ...]]) -> list[Picture]:
        """Return the pictures of a face, one for each recipe.

        Args:
            line: The face, one of a record's `frames`.
            recipes: The names of the models of each recipe.
        """
        pictures: list[Picture] = []
        for recipe, models in recipes.items():
            key = (line["index"], tuple(line["box"]), recipe)
            if (jpeg := self._jpeg(key)) is not None:
                size, at = self._sizes[key], len(pictures)
                own = Picture(
                    "face", line["index"], line["pts"], jpeg, *size, None, line["track"], at, models
                )
                pictures.append(own)
        return pictures

    def _hold(self, key: _Key, image: Image, quality: int) -> None:
        self._raw[key] = image, quality
        self._sizes[key] = image.shape[1], image.shape[0]
        self._raw_bytes += image.nbytes
        while self._raw_bytes > HELD_BYTES:
            oldest = next(iter(self._raw))
            self._jpegs[oldest] = _encode(*self._raw[oldest])
            self._raw_bytes -= self._raw.pop(oldest)[0].nbytes

    def _jpeg(self, key: _Key) -> bytes | None:
        if key in self._raw:
            return _encode(*self._raw[key])
        return self._jpegs.get(key)


def shrink(image: Image) -> tuple[Image, float]:
    """Return a frame as its picture shows it, memory of its own, and by how much it was scaled.

    Args:
        image: Shape (height, width, 3), uint8.
    """
    height, width = image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    if scale >= 1:
        return image.copy(), 1.0
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # By halves, then by less than two: OpenCV averages 2 x 2 pixels ten times quicker than other areas.
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        high, wide = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * high, : 2 * wide]
        image = cast(Image, cv2.resize(even, (wide, high), interpolation=cv2.INTER_AREA))
    return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)), scale


def _encode(image: Image, quality: int) -> bytes:
    made, jpeg = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not made:
        raise ContractError("a picture could not be encoded", "scan without --evidence")
    return bytes(jpeg.tobytes())


def recipes_of(crops: Mapping[str, CropRecipe]) -> dict[CropRecipe, tuple[str, ...]]:
    """Return the names of the models that cut faces alike, by their recipe; one recipe without models.

    Args:
        crops: The recipe of each model, by name.
    """
    found: dict[CropRecipe, tuple[str, ...]] = {}
    for name, recipe in crops.items():
        found[recipe] = (*found.get(recipe, ()), name)
    return found or {WITHOUT_MODEL: ()}


def telling_pictures(
    record: Mapping[str, Any],
    held: HeldPictures,
    *,
    calibrations: Mapping[str, Calibration | None],
    rule: QualityRule | None,
    recipes: Mapping[CropRecipe, tuple[str, ...]],
) -> tuple[list[Picture], list[Line]]:
    """Return the pictures of a video's most telling faces, of `VIDEO_BYTES` at most, and those faces.

    First each person's most telling face is taken with its frame, then each one's second and so on, as long
    as there is room.

    Args:
        record: A parsed line of a journal.
        held: The pictures of its frames and faces.
        calibrations: As `telling_faces` takes them.
        rule: Likewise.
        recipes: As `recipes_of` gives them.
    """
    chosen = _by_person(record, calibrations, rule)
    pictures: list[Picture] = []
    lines: list[Line] = []
    room, framed = VIDEO_BYTES, set()
    for rank in range(MAX_FACES):
        for line in (faces[rank] for faces in chosen if rank < len(faces)):
            own = held.faces(line, recipes)
            whole = held.frame(line) if line["index"] not in framed else None
            bundle = [*([whole] if whole else []), *own]
            room -= sum(len(picture.jpeg) for picture in bundle)
            if room < 0:
                return pictures, lines
            framed.add(line["index"])
            pictures += bundle
            lines.append(line)
    return pictures, lines


def pictured_faces(
    record: Mapping[str, Any], calibrations: Mapping[str, Calibration | None], rule: QualityRule | None
) -> list[Line]:
    """Return the faces of a record that pictures are wanted of, as `telling_pictures` takes them."""
    return [line for own in _by_person(record, calibrations, rule) for line in own]


def _by_person(
    record: Mapping[str, Any], calibrations: Mapping[str, Calibration | None], rule: QualityRule | None
) -> list[list[Line]]:
    tracks = shown_first(record["tracks"])[:MAX_PERSONS]
    return [telling_faces(track, record, calibrations, rule) for track in tracks]
