"""Select the pictures of a page, stored by the scan or taken from the videos again, within a size limit."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepscan.errors import ContractError
from deepscan.scanning.picture_folder import PictureFolder
from deepscan.scanning.pictures import Picture

#: Maximum characters of all pictures of a page, so that it can still be sent by mail.
PAGE_CHARACTERS = 16_000_000


@dataclass(frozen=True, slots=True)
class PagePicture:
    """A picture in the form used on a page.

    Attributes:
        data: The JPEG in base64.
        width: Width in pixels.
        height: Height in pixels.
        scale: Pixels of the picture per pixel of the frame; 1 for a face.
        models: Names of the models that saw it, for a face.
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
        frames: Index of the frame -> its picture.
        faces: Index of the frame and track -> pictures of the face, several if models have different crops.
        note: Why there are none although they were requested; empty otherwise.
    """

    frames: Mapping[int, PagePicture] = field(default_factory=dict)
    faces: Mapping[tuple[int, int], tuple[PagePicture, ...]] = field(default_factory=dict)
    note: str = ""

    @property
    def characters(self) -> int:
        """Number of characters they take up."""
        faces = (picture for own in self.faces.values() for picture in own)
        return sum(len(picture.data) for picture in (*self.frames.values(), *faces))


class PictureRoom:
    """Space for pictures on a page, given to videos in turn until one does not fit.

    Args:
        characters: The space in characters.

    Attributes:
        full: Whether a video did not fit.
    """

    def __init__(self, characters: int = PAGE_CHARACTERS) -> None:
        self._left = characters
        self.full = False

    def admit(self, pictures: VideoPictures) -> VideoPictures:
        """Return the pictures of the next video, or none if they do not fit."""
        self.full = self.full or pictures.characters > self._left
        if self.full:
            return VideoPictures(note=pictures.note)
        self._left -= pictures.characters
        return pictures


def stored_pictures(record: Mapping[str, Any], folder: PictureFolder | None) -> VideoPictures:
    """Return the pictures that a scan has stored of a video, or a note if they are no longer intact.

    If the whole folder is missing, there are none.

    Args:
        record: A parsed line of a journal.
        folder: The folder of the run's pictures, None if runs of this kind have none.
    """
    if folder is None or not folder.path.is_dir():
        return VideoPictures()
    try:
        return page_pictures((entry, folder.read(entry)) for entry in record.get("pictures") or ())
    except ContractError as error:
        return VideoPictures(note=f"No pictures: {error.message}.")


def made_pictures(pictures: Iterable[Picture]) -> VideoPictures:
    """Convert pictures that were just taken to the form used on a page."""
    return page_pictures((picture.to_json(""), picture.jpeg) for picture in pictures)


def page_pictures(entries: Iterable[tuple[Mapping[str, Any], bytes]]) -> VideoPictures:
    """Convert pictures to the form used on a page.

    Args:
        entries: The record's entry of each picture, and its JPEG.
    """
    frames: dict[int, PagePicture] = {}
    faces: dict[tuple[int, int], tuple[PagePicture, ...]] = {}
    for entry, jpeg in entries:
        picture = PagePicture(
            base64.b64encode(jpeg).decode("ascii"),
            int(entry["width"]),
            int(entry["height"]),
            float(entry.get("scale") or 1),
            tuple(entry.get("models", ())),
        )
        if entry["kind"] == "frame":
            frames[entry["index"]] = picture
        else:
            key = entry["index"], entry["track"]
            faces[key] = (*faces.get(key, ()), picture)
    return VideoPictures(frames, faces)
