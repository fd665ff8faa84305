"""Assemble the faces of a person shown on a page: the frame, the face, and the face with the model's maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepscan.report.maps import FaceMap, FaceMaps, MapLegend, legends_of, maps_of
from deepscan.report.pictures import PagePicture, VideoPictures
from deepscan.report.run_info import RunInfo

FrameRecord = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FrameBox:
    """A face's box in the picture of a frame, in its pixels; `own` marks the face shown."""

    left: float
    top: float
    width: float
    height: float
    own: bool


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """A face as models saw it.

    Attributes:
        picture: The crop, None if the page has none.
        models: Names of the models that saw it, joined; empty if all did.
        maps: What their scores are based on.
    """

    picture: PagePicture | None
    models: str
    maps: tuple[FaceMap, ...]


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face that a person should look at.

    Attributes:
        mark: Letter of the face and of its point in the chart.
        text: Its score, and when it is seen.
        index: Index of its frame.
        frame: Picture of the frame, None if the page has none.
        boxes: Boxes of the faces in it, this one last.
        crops: Its crops, with maps.
        numbers: Other outputs of the models, as text.
        landmarks: See `FaceMaps`.
    """

    mark: str
    text: str
    index: int
    frame: PagePicture | None
    boxes: tuple[FrameBox, ...]
    crops: tuple[FaceCrop, ...]
    numbers: tuple[str, ...]
    landmarks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ShownFaces:
    """The faces of a person shown on a page.

    Attributes:
        faces: Most telling first; empty if there are neither pictures nor maps.
        legends: The meaning of the maps' colours.
    """

    faces: tuple[ShownFace, ...] = ()
    legends: tuple[MapLegend, ...] = ()

    @property
    def pictured(self) -> bool:
        """Whether any of them has a picture."""
        return any(face.frame or any(crop.picture for crop in face.crops) for face in self.faces)


def shown_faces(
    lines: Sequence[FrameRecord],
    texts: Sequence[str],
    record: Mapping[str, Any],
    run: RunInfo,
    pictures: VideoPictures,
    strongest: Mapping[tuple[str, str], float],
) -> ShownFaces:
    """Return a person's most telling faces for a page.

    Args:
        lines: The faces, most telling first.
        texts: The text about each face.
        record: Their record.
        run: The run.
        pictures: Pictures of the video.
        strongest: As for `maps_of`.
    """
    explained = [maps_of(line, run, strongest) for line in lines]
    faces = []
    for index, (line, text, maps) in enumerate(zip(lines, texts, explained, strict=True)):
        frame = pictures.frames.get(line["index"])
        crops = _crops(pictures.faces.get((line["index"], line["track"]), ()), maps)
        numbers, landmarks = (maps.numbers, maps.landmarks) if maps else ((), ())
        if frame or crops or numbers:
            boxes = tuple(_boxes(line, record, frame.scale)) if frame else ()
            mark = chr(ord("A") + index)
            faces.append(ShownFace(mark, text, line["index"], frame, boxes, crops, numbers, landmarks))
    return ShownFaces(tuple(faces), legends_of(maps for maps in explained if maps))


def _crops(pictures: Sequence[PagePicture], maps: FaceMaps | None) -> tuple[FaceCrop, ...]:
    """Return the crops of a face, each with its own models' maps, and any maps left without a crop."""
    left = list(maps.maps) if maps else []
    crops = []
    for picture in pictures:
        own = tuple(face_map for face_map in left if face_map.model in picture.models)
        left = [face_map for face_map in left if face_map not in own]
        crops.append(FaceCrop(picture, ", ".join(picture.models) if len(pictures) > 1 else "", own))
    return (*crops, FaceCrop(None, "", tuple(left))) if left else tuple(crops)


def _boxes(line: FrameRecord, record: Mapping[str, Any], scale: float) -> Sequence[FrameBox]:
    same_frame = [face for face in record["frames"] if face["index"] == line["index"] and face["box"]]
    boxes = []
    for face in sorted(same_frame, key=lambda face: face is line):
        left, top, right, bottom = (round(edge * scale, 1) for edge in face["box"])
        boxes.append(FrameBox(left, top, round(right - left, 1), round(bottom - top, 1), face is line))
    return boxes
