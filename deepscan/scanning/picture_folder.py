"""The folder of a run's pictures, beside its records: what a scan writes and others read."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError
from deepscan.files import atomic_write, make_folder
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.pictures import HeldPictures, Picture, recipes_of, telling_pictures
from deepscan.scanning.record_lines import RecordLine

#: What a picture is called: the video's SHA-256, the frame's index and, of a face, the track and which crop.
FILE_NAME = re.compile(r"[0-9a-f]{64}-\d+(-\d+(-\d+)?)?\.jpg")


class PictureFolder:
    """The folder of a run's pictures, beside its records.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, pictures: Iterable[Picture], video: str) -> list[dict[str, Any]]:
        """Write the pictures of a video, and return what its record says of them.

        Args:
            pictures: Those of one video.
            video: Its SHA-256.

        Raises:
            DeepscanError: One of them cannot be written.
        """
        stated = []
        for picture in pictures:
            if not self.path.is_dir():
                make_folder(self.path)
            with atomic_write(self.path / picture.name(video)) as file:
                file.write(picture.jpeg)
            stated.append(picture.to_json(video))
        return stated

    def sweep(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Remove what no record names: pictures of a video that was scanned again since it has changed.

        Files that no scan would call so stay.

        Args:
            records: All of the run.
        """
        if not self.path.is_dir():
            return
        named = {picture["file"] for record in records for picture in record.get("pictures") or ()}
        for path in list(self.path.iterdir()):
            if path.name not in named and self.may_be_ours(path.name):
                path.unlink()
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def read(self, stated: Mapping[str, Any]) -> bytes:
        """Return a picture as its record states it.

        Args:
            stated: One of a record's `pictures`.

        Raises:
            ContractError: It is not there, or is not the one that the scan has written.
        """
        path = self.file(stated)
        try:
            found = path.read_bytes() if path is not None and path.is_file() else None
        except OSError:
            found = None
        if found is None:
            raise ContractError(f"picture {stated['file']!r} is missing", "restore the folder of pictures")
        if hashlib.sha256(found).hexdigest() != stated["sha256"]:
            raise ContractError(f"picture {path} was changed", "restore it; deepscan verify says more")
        return found

    @staticmethod
    def may_be_ours(name: str) -> bool:
        """Return whether a scan calls a file so; a run that was killed may have left one unfinished."""
        return bool(FILE_NAME.fullmatch(name.removesuffix(".part")))

    def file(self, stated: Mapping[str, Any]) -> Path | None:
        """Return where a picture of a record is, None for a name that no scan gives: it may lead anywhere."""
        name = str(stated["file"])
        return self.path / name if FILE_NAME.fullmatch(name) else None


def illustrate(
    record: RecordLine,
    held: HeldPictures,
    folder: PictureFolder,
    scorers: Sequence[Scorer],
    options: ScanOptions,
) -> RecordLine:
    """Return a record with the pictures of its most telling faces, which are written.

    Args:
        record: Of a video whose stages have all ended.
        held: The pictures of its frames and faces.
        folder: Where they go.
        scorers: The detectors, none where faces only were wanted.
        options: The scan's parameters. Unless explanations were asked for, only the faces that are pictured
            keep theirs.

    Raises:
        DeepscanError: A picture cannot be written.
    """
    if record.sha256 is None:
        return replace(record, pictures=())
    pictures, lines = telling_pictures(
        record.to_json(),
        held,
        calibrations={scorer.card.name: scorer.card.calibration for scorer in scorers},
        rule=options.quality,
        recipes=recipes_of({scorer.card.name: scorer.recipe for scorer in scorers}),
    )
    frames = record.frames
    if not options.explain:
        shown = [id(line) for line in lines]
        frames = [line if id(line) in shown else _unexplained(line) for line in frames]
    return replace(record, frames=frames, pictures=folder.write(pictures, record.sha256))


def _unexplained(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "explanation"}
