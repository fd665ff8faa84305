"""Write and read the folder of a run's pictures, next to its records."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepscan.engines.scorer import ModelFacts
from deepscan.errors import ContractError
from deepscan.files import atomic_write, make_folder
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.pictures import Picture, PictureBuffer, recipes_of, telling_pictures
from deepscan.scanning.record_lines import RecordLine

#: Names of pictures: the video's SHA-256 and the frame's index; for a face also the track, and the crop if
#: not 0.
FILE_NAME = re.compile(r"[0-9a-f]{64}-\d+(-\d+(-\d+)?)?\.jpg")


class PictureFolder:
    """The folder of a run's pictures, next to its records.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, pictures: Iterable[Picture], video: str) -> list[dict[str, Any]]:
        """Write the pictures of a video, and return their entries in its record.

        Args:
            pictures: The pictures of one video.
            video: Its SHA-256.

        Raises:
            DeepscanError: A picture cannot be written.
        """
        entries = []
        for picture in pictures:
            if not self.path.is_dir():
                make_folder(self.path)
            with atomic_write(self.path / picture.name(video)) as file:
                file.write(picture.jpeg)
            entries.append(picture.to_json(video))
        return entries

    def sweep(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Remove pictures that no record names, such as those of a video that changed and was scanned again.

        Files with names that no scan would give are kept.

        Args:
            records: All records of the run.
        """
        if not self.path.is_dir():
            return
        named = {picture["file"] for record in records for picture in record.get("pictures") or ()}
        for path in list(self.path.iterdir()):
            if path.name not in named and self.is_scan_name(path.name):
                path.unlink()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def read(self, entry: Mapping[str, Any]) -> bytes:
        """Return a picture after checking its hash.

        Args:
            entry: One of a record's `pictures`.

        Raises:
            ContractError: It is missing, or it has changed since the scan.
        """
        path = self.file(entry)
        try:
            found = path.read_bytes() if path is not None and path.is_file() else None
        except OSError:
            found = None
        if found is None:
            raise ContractError(f"picture {entry['file']!r} is missing", "restore the folder of pictures")
        if hashlib.sha256(found).hexdigest() != entry["sha256"]:
            raise ContractError(f"picture {path} was changed", "restore it; see deepscan verify for details")
        return found

    @staticmethod
    def is_scan_name(name: str) -> bool:
        """Return whether a scan would name a picture, or an unfinished one of a killed run, like this."""
        return bool(FILE_NAME.fullmatch(name.removesuffix(".part")))

    def file(self, entry: Mapping[str, Any]) -> Path | None:
        """Return the path of a recorded picture, None for a name no scan gives: it could lead anywhere."""
        name = str(entry["file"])
        return self.path / name if FILE_NAME.fullmatch(name) else None


def illustrate(
    record: RecordLine,
    buffer: PictureBuffer,
    folder: PictureFolder,
    models: Sequence[ModelFacts],
    options: ScanOptions,
) -> RecordLine:
    """Write the pictures of a record's most telling faces, and return the record with their entries.

    Args:
        record: The record of a video whose stages have all ended.
        buffer: The buffered pictures of its frames and faces.
        folder: Where to write them.
        models: The detectors, empty if only faces were requested.
        options: The scan's parameters. Unless explanations were requested, only the faces with pictures keep
            theirs.

    Raises:
        DeepscanError: A picture cannot be written.
    """
    if record.sha256 is None:
        return replace(record, pictures=())
    pictures, lines = telling_pictures(
        record.to_json(),
        buffer,
        calibrations={model.name: model.calibration for model in models},
        rule=options.quality,
        recipes=recipes_of({model.name: model.recipe for model in models}),
    )
    frames = record.frames
    if not options.explain:
        shown = [id(line) for line in lines]
        frames = [line if id(line) in shown else _unexplained(line) for line in frames]
    return replace(record, frames=frames, pictures=folder.write(pictures, record.sha256))


def _unexplained(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "explanation"}
