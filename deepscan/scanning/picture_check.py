"""Check that the pictures of a run are those its records describe, and that there are no others."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from deepscan.scanning.model_check import Finding
from deepscan.scanning.picture_folder import PictureFolder

_SUBJECT = "a picture of the video"


def check_picture(path: str, entry: Mapping[str, Any], folder: PictureFolder) -> Iterator[Finding]:
    """Yield how a picture differs from its record.

    Args:
        path: The video's path, for the finding.
        entry: One of its record's `pictures`.
        folder: The folder of the run's pictures, which exists.
    """
    name, file = str(entry["file"]), folder.file(entry)
    if file is None:
        meaning = "No scan would name a picture like this: the record was changed."
        yield Finding("mismatch", path, _SUBJECT, found=name, meaning=meaning)
    elif not file.is_file():
        meaning = "It was removed, moved or renamed after the scan."
        yield Finding("mismatch", path, _SUBJECT, name, "not found", meaning)
    else:
        try:
            found = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError as error:
            yield Finding("unchecked", path, f"{_SUBJECT} cannot be read: {error.strerror}", name)
            return
        if found != entry["sha256"]:
            meaning = "It was changed after the scan: it does not show what the model saw."
            yield Finding("mismatch", path, f"SHA-256 of picture {name}", entry["sha256"], found, meaning)


def strange_pictures(folder: PictureFolder, named: set[str], *, finished: bool) -> Iterator[Finding]:
    """Yield the files in a folder of pictures that no record names.

    Args:
        folder: The folder, which exists.
        named: The names in the records.
        finished: Whether the run has ended. An interrupted run has written pictures before their record.
    """
    meaning = "No record names it: it was added later, or the record that named it was removed."
    unfinished = (
        "No record names it: the run was interrupted before writing that record. scan --resume cleans up."
    )
    for path in sorted(folder.path.iterdir()):
        subject = f"{folder.path.name}/{path.name}"
        if path.name in named:
            continue
        if not finished and folder.is_scan_name(path.name):
            yield Finding("unchecked", subject, "a picture without a record", meaning=unfinished)
        else:
            yield Finding("mismatch", subject, "an unknown file", "", "exists", meaning)


def folder_gone(folder: PictureFolder, count: int) -> Finding:
    """Return the finding for a run whose folder of pictures is missing.

    Args:
        folder: The folder.
        count: Number of pictures in the records.
    """
    meaning = "Put it next to the records. A page can take the pictures from the videos: report --pictures."
    return Finding("missing", folder.path.name, f"the folder of {count} pictures", meaning=meaning)
