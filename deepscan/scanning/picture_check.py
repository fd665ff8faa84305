"""Whether the pictures of a run are what its records state: each one, and none beside them."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from deepscan.scanning.model_check import Finding
from deepscan.scanning.picture_folder import PictureFolder

_NAMED = "a picture of the video"


def check_picture(path: str, stated: Mapping[str, Any], folder: PictureFolder) -> Iterator[Finding]:
    """Yield what of a picture is not as its record states it.

    Args:
        path: The video's, for people.
        stated: One of its record's `pictures`.
        folder: The folder of the run's pictures, which is there.
    """
    name, file = str(stated["file"]), folder.file(stated)
    if file is None:
        meaning = "No scan gives a picture such a name: the record was changed."
        yield Finding("mismatch", path, _NAMED, found=name, meaning=meaning)
    elif not file.is_file():
        meaning = "It was removed, moved or renamed after the scan."
        yield Finding("mismatch", path, _NAMED, name, "not there", meaning)
    else:
        try:
            found = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            yield Finding("unchecked", path, f"{_NAMED} cannot be read: {error.strerror}", name)
            return
        if found != stated["sha256"]:
            meaning = "It was changed after the scan: it does not show what the model saw."
            yield Finding("mismatch", path, f"SHA-256 of picture {name}", stated["sha256"], found, meaning)


def strange_pictures(folder: PictureFolder, named: set[str], *, finished: bool) -> Iterator[Finding]:
    """Yield the files of a folder of pictures that no record names.

    Args:
        folder: The folder, which is there.
        named: The names that the records give.
        finished: Whether the run has ended. One that was cut short has written pictures before their record.
    """
    meaning = "No record names it: it was put there later, or the record that named it was removed."
    unfinished = (
        "No record names it: the run was cut short before that was written. scan --resume sorts it out."
    )
    for path in sorted(folder.path.iterdir()):
        subject = f"{folder.path.name}/{path.name}"
        if path.name in named:
            continue
        if not finished and folder.may_be_ours(path.name):
            yield Finding("unchecked", subject, "a picture of no record", meaning=unfinished)
        else:
            yield Finding("mismatch", subject, "a file", "", "is there", meaning)


def folder_gone(folder: PictureFolder, count: int) -> Finding:
    """Return what is said where none of a run's pictures is there, because their folder is not.

    Args:
        folder: The folder.
        count: How many pictures the records name.
    """
    meaning = "Put it beside the records. A page can take the pictures from the videos: report --pictures."
    return Finding("missing", folder.path.name, f"the folder of {count} pictures", meaning=meaning)
