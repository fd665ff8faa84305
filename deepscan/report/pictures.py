"""The pictures of a page: those beside the records, or taken from the videos once more, within bounds."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepscan.errors import ContractError
from deepscan.scanning.picture_folder import PictureFolder
from deepscan.scanning.pictures import Picture

#: Characters of all pictures of a page at most: a page that can still be sent by mail.
PAGE_CHARACTERS = 16_000_000


@dataclass(frozen=True, slots=True)
class PagePicture:
    """A picture as a page holds it.

    Attributes:
        data: The JPEG, in base64.
        width: In pixels.
        height: Likewise.
        scale: Pixels of the picture a pixel of the frame; 1 of a face.
        models: Names of the models that saw it, of a face.
    """

    data: str
    width: int
    height: int
    scale: float
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VideoPictures:
    """The pictures of a video.

    Attributes:
        frames: By index of the frame.
        faces: By index of the frame and track; several where models cut differently.
        note: Why there are none although they were wanted, empty otherwise.
    """

    frames: Mapping[int, PagePicture] = field(default_factory=dict)
    faces: Mapping[tuple[int, int], tuple[PagePicture, ...]] = field(default_factory=dict)
    note: str = ""

    @property
    def characters(self) -> int:
        """How much room they take."""
        faces = (picture for own in self.faces.values() for picture in own)
        return sum(len(picture.data) for picture in (*self.frames.values(), *faces))


class PictureRoom:
    """The room that pictures have on a page: videos get theirs in turn, until one finds no place.

    Args:
        characters: How much there is.

    Attributes:
        full: Whether a video has found no place.
    """

    def __init__(self, characters: int = PAGE_CHARACTERS) -> None:
        self._left = characters
        self.full = False

    def admit(self, pictures: VideoPictures) -> VideoPictures:
        """Return the pictures of the next video, or none where there is no place for them."""
        self.full = self.full or pictures.characters > self._left
        if self.full:
            return VideoPictures(note=pictures.note)
        self._left -= pictures.characters
        return pictures


def stored_pictures(record: Mapping[str, Any], folder: PictureFolder) -> VideoPictures:
    """Return the pictures that a scan has kept of a video, or a note where they are not as it left them.

    Where the whole folder is not there, there are none.

    Args:
        record: A parsed line of a journal.
        folder: The folder of the run's pictures.
    """
    if not folder.path.is_dir():
        return VideoPictures()
    try:
        return page_pictures((each, folder.read(each)) for each in record.get("pictures") or ())
    except ContractError as error:
        return VideoPictures(note=f"No pictures: {error.message}.")


def made_pictures(pictures: Iterable[Picture]) -> VideoPictures:
    """Return pictures that were made just now, as a page has them."""
    return page_pictures((picture.to_json(""), picture.jpeg) for picture in pictures)


def page_pictures(stated: Iterable[tuple[Mapping[str, Any], bytes]]) -> VideoPictures:
    """Return pictures as a page has them.

    Args:
        stated: What a record says of each, and the JPEG.
    """
    frames: dict[int, PagePicture] = {}
    faces: dict[tuple[int, int], tuple[PagePicture, ...]] = {}
    for each, jpeg in stated:
        own = PagePicture(
            base64.b64encode(jpeg).decode("ascii"),
            int(each["width"]),
            int(each["height"]),
            float(each.get("scale") or 1),
            tuple(each.get("models", ())),
        )
        if each["kind"] == "frame":
            frames[each["index"]] = own
        else:
            key = each["index"], each["track"]
            faces[key] = (*faces.get(key, ()), own)
    return VideoPictures(frames, faces)
