"""The faces of a person that a page shows: the frame, the face, and the face under the model's maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepscan.report.maps import FaceMap, FaceMaps, MapLegend, legends_of, maps_of
from deepscan.report.pictures import PagePicture, VideoPictures
from deepscan.report.run_info import RunInfo

FrameRecord = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FrameBox:
    """Where a face is in the picture of a frame, in its pixels; `own` for the face that is meant."""

    left: float
    top: float
    width: float
    height: float
    own: bool


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """A face as models saw it.

    Attributes:
        picture: The crop, None where the page has none.
        models: Names of the models that saw it, in words; empty where all did.
        maps: What they went by.
    """

    picture: PagePicture | None
    models: str
    maps: tuple[FaceMap, ...]


@dataclass(frozen=True, slots=True)
class ShownFace:
    """A face that a person should look at.

    Attributes:
        mark: A letter, for the face and its point in the chart.
        words: Its score, and when it is seen.
        index: Index of its frame.
        frame: The frame, None where the page has none.
        boxes: The faces in it, this one last.
        crops: As the models saw it, and what they went by.
        numbers: What else the models give, in words.
        landmarks: See `FaceMaps`.
    """

    mark: str
    words: str
    index: int
    frame: PagePicture | None
    boxes: tuple[FrameBox, ...]
    crops: tuple[FaceCrop, ...]
    numbers: tuple[str, ...]
    landmarks: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ShownFaces:
    """The faces of a person that a page shows.

    Attributes:
        faces: The most telling first; empty where there are neither pictures nor maps.
        legends: What the colours of the maps mean.
    """

    faces: tuple[ShownFace, ...] = ()
    legends: tuple[MapLegend, ...] = ()

    @property
    def pictured(self) -> bool:
        """Whether one of them has a picture."""
        return any(face.frame or any(crop.picture for crop in face.crops) for face in self.faces)


def shown_faces(
    lines: Sequence[FrameRecord],
    words: Sequence[str],
    record: Mapping[str, Any],
    run: RunInfo,
    pictures: VideoPictures,
    strongest: Mapping[tuple[str, str], float],
) -> ShownFaces:
    """Return what a page shows of a person's most telling faces.

    Args:
        lines: Those faces, the most telling first.
        words: What is said of each.
        record: That they are of.
        run: The run.
        pictures: Of the video.
        strongest: As `maps_of` takes it.
    """
    explained = [maps_of(line, run, strongest) for line in lines]
    faces = []
    for at, (line, said, maps) in enumerate(zip(lines, words, explained, strict=True)):
        frame = pictures.frames.get(line["index"])
        crops = _crops(pictures.faces.get((line["index"], line["track"]), ()), maps)
        numbers, landmarks = (maps.numbers, maps.landmarks) if maps else ((), ())
        if frame or crops or numbers:
            boxes = tuple(_boxes(line, record, frame.scale)) if frame else ()
            mark = chr(ord("A") + at)
            faces.append(ShownFace(mark, said, line["index"], frame, boxes, crops, numbers, landmarks))
    return ShownFaces(tuple(faces), legends_of(maps for maps in explained if maps))


def _crops(pictures: Sequence[PagePicture], maps: FaceMaps | None) -> tuple[FaceCrop, ...]:
    """Return the crops of a face, each under its own models' maps, and what maps there are without one."""
    left = list(maps.maps) if maps else []
    crops = []
    for picture in pictures:
        own = tuple(each for each in left if each.model in picture.models)
        left = [each for each in left if each not in own]
        crops.append(FaceCrop(picture, ", ".join(picture.models) if len(pictures) > 1 else "", own))
    return (*crops, FaceCrop(None, "", tuple(left))) if left else tuple(crops)


def _boxes(line: FrameRecord, record: Mapping[str, Any], scale: float) -> Sequence[FrameBox]:
    same = [each for each in record["frames"] if each["index"] == line["index"] and each["box"]]
    boxes = []
    for each in sorted(same, key=lambda one: one is line):
        left, top, right, bottom = (round(edge * scale, 1) for edge in each["box"])
        box = FrameBox(left, top, round(right - left, 1), round(bottom - top, 1), each is line)
        boxes.append(box)
    return boxes
