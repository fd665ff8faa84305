"""Buffer, scale and encode pictures of the faces a person should look at, limited in number and bytes."""

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

#: Longer side of the picture of a whole frame, in pixels; smaller frames keep their size.
LONG_SIDE = 640
#: Maximum bytes of one video's pictures.
VIDEO_BYTES = 1_000_000
#: JPEG qualities, in [0, 100].
FRAME_QUALITY, FACE_QUALITY = 80, 90
#: Maximum bytes of one video's uncompressed pictures that wait for scores; beyond that, the oldest become
#: JPEGs.
BUFFER_BYTES = 32 << 20
#: How a face is cut without a model, which would have its own recipe.
WITHOUT_MODEL = CropRecipe(side=224, scale=1.3, interpolation="area", border="reflect")

PictureKind = Literal["frame", "face"]
#: Key of a buffered picture: index of the frame, and box and recipe of the face or None and None.
_Key = tuple[int, tuple[float, ...] | None, CropRecipe | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a frame, or of a face in it.

    Attributes:
        kind: `frame` for the whole frame, upright with square pixels; `face` for a crop as a model saw it.
        index: Index of the frame.
        pts: Its presentation time in seconds.
        jpeg: The picture.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.
        scale: Pixels of the picture per pixel of the frame, in (0, 1]; None for a face.
        track: Id of the face's track, None for a frame.
        crop: Number of the crop of that face: models with different recipes see different crops.
        models: Names of the models that saw the crop, empty without a model.
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
        """Return its file name.

        Args:
            video: SHA-256 of the video. Video names can contain anything and need not be unique.
        """
        parts = [video, self.index, *([] if self.track is None else [self.track])]
        return "-".join(map(str, [*parts, *([self.crop] if self.crop else [])])) + ".jpg"

    def to_json(self, video: str) -> dict[str, Any]:
        """Return the picture's entry in the record.

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
class PictureBuffer:
    """Pictures of a video's frames and faces, buffered until it is known which of them to keep."""

    _raw: dict[_Key, tuple[Image, int]] = field(default_factory=dict)
    _raw_bytes: int = 0
    _jpegs: dict[_Key, bytes] = field(default_factory=dict)
    _sizes: dict[_Key, tuple[int, int]] = field(default_factory=dict)
    _scales: dict[int, float] = field(default_factory=dict)

    def add(self, frame: Frame, faces: Sequence[tuple[Sequence[float], Mapping[CropRecipe, Image]]]) -> None:
        """Buffer pictures of a frame and its faces; nothing for a frame without faces.

        Args:
            frame: The frame. Its image is not kept.
            faces: For each face its box, as in the record, and its crops by recipe.
        """
        if not faces:
            return
        small, self._scales[frame.index] = shrink(frame.image)
        self._store((frame.index, None, None), small, FRAME_QUALITY)
        for box, crops in faces:
            for recipe, crop in crops.items():
                self._store((frame.index, tuple(box), recipe), crop, FACE_QUALITY)

    def frame(self, line: Line) -> Picture | None:
        """Return the picture of a face's frame, None if it is not buffered."""
        key = (line["index"], None, None)
        if (jpeg := self._jpeg(key)) is None:
            return None
        width, height = self._sizes[key]
        return Picture("frame", line["index"], line["pts"], jpeg, width, height, self._scales[line["index"]])

    def faces(self, line: Line, recipes: Mapping[CropRecipe, tuple[str, ...]]) -> list[Picture]:
        """Return the pictures of a face, one per recipe.

        Args:
            line: The face's line in the record's `frames`.
            recipes: Recipe -> names of the models that use it.
        """
        pictures: list[Picture] = []
        for recipe, models in recipes.items():
            key = (line["index"], tuple(line["box"]), recipe)
            if (jpeg := self._jpeg(key)) is not None:
                size, number = self._sizes[key], len(pictures)
                pictures.append(
                    Picture(
                        "face", line["index"], line["pts"], jpeg, *size, None, line["track"], number, models
                    )
                )
        return pictures

    def _store(self, key: _Key, image: Image, quality: int) -> None:
        self._raw[key] = image, quality
        self._sizes[key] = image.shape[1], image.shape[0]
        self._raw_bytes += image.nbytes
        while self._raw_bytes > BUFFER_BYTES:
            oldest = next(iter(self._raw))
            self._jpegs[oldest] = _encode(*self._raw[oldest])
            self._raw_bytes -= self._raw.pop(oldest)[0].nbytes

    def _jpeg(self, key: _Key) -> bytes | None:
        if key in self._raw:
            return _encode(*self._raw[key])
        return self._jpegs.get(key)


def shrink(image: Image) -> tuple[Image, float]:
    """Return a scaled-down copy of a frame, and the scale factor.

    Args:
        image: Shape (height, width, 3), uint8.
    """
    height, width = image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    if scale >= 1:
        return image.copy(), 1.0
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Halve repeatedly, then scale by less than two: OpenCV averages 2 x 2 pixels ten times faster than other
    # areas.
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        high, wide = image.shape[0] // 2, image.shape[1] // 2
        even = image[: 2 * high, : 2 * wide]
        image = cast(Image, cv2.resize(even, (wide, high), interpolation=cv2.INTER_AREA))
    return cast(Image, cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)), scale


def _encode(image: Image, quality: int) -> bytes:
    encoded, jpeg = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ContractError("a picture could not be encoded", "scan without --evidence")
    return bytes(jpeg.tobytes())


def recipes_of(crops: Mapping[str, CropRecipe]) -> dict[CropRecipe, tuple[str, ...]]:
    """Group the names of models by crop recipe; without models, return one default recipe.

    Args:
        crops: Name of the model -> its recipe.
    """
    found: dict[CropRecipe, tuple[str, ...]] = {}
    for name, recipe in crops.items():
        found[recipe] = (*found.get(recipe, ()), name)
    return found or {WITHOUT_MODEL: ()}


def telling_pictures(
    record: Mapping[str, Any],
    buffer: PictureBuffer,
    *,
    calibrations: Mapping[str, Calibration | None],
    rule: QualityRule | None,
    recipes: Mapping[CropRecipe, tuple[str, ...]],
) -> tuple[list[Picture], list[Line]]:
    """Return the pictures of a video's most telling faces, at most `VIDEO_BYTES`, and those faces' lines.

    First each person's most telling face is taken with its frame, then each person's second and so on, until
    the space is used up.

    Args:
        record: A parsed line of a journal.
        buffer: The buffered pictures of its frames and faces.
        calibrations: As for `telling_faces`.
        rule: As for `telling_faces`.
        recipes: As returned by `recipes_of`.
    """
    chosen = _by_person(record, calibrations, rule)
    pictures: list[Picture] = []
    lines: list[Line] = []
    room, framed = VIDEO_BYTES, set()
    for rank in range(MAX_FACES):
        for line in (faces[rank] for faces in chosen if rank < len(faces)):
            own = buffer.faces(line, recipes)
            whole = buffer.frame(line) if line["index"] not in framed else None
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
    """Return the faces of a record that should have pictures, in the order of `telling_pictures`."""
    return [line for own in _by_person(record, calibrations, rule) for line in own]


def _by_person(
    record: Mapping[str, Any], calibrations: Mapping[str, Calibration | None], rule: QualityRule | None
) -> list[list[Line]]:
    tracks = shown_first(record["tracks"])[:MAX_PERSONS]
    return [telling_faces(track, record, calibrations, rule) for track in tracks]
