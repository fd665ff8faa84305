"""Take pictures from the videos again, after checking that each is still the file that was scanned."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepscan.crop_recipe import CropRecipe
from deepscan.devices import usable_cpus
from deepscan.faces.align import align
from deepscan.media.frames import DecodeReport, Frame
from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, FrameReady
from deepscan.media.pool import DecodePool
from deepscan.report.pictures import PAGE_CHARACTERS, VideoPictures, made_pictures
from deepscan.report.run_info import RunInfo
from deepscan.scanning.paths import place_of
from deepscan.scanning.pictures import PictureBuffer, pictured_faces, recipes_of, telling_pictures
from deepscan.scanning.record_lines import recorded_path
from deepscan.scanning.sources import is_object
from deepscan.scanning.telling import Line
from deepscan.storage.copies import Copy, CopySpace
from deepscan.storage.errors import ObjectError
from deepscan.storage.fetch import Fetcher

#: Maximum pixels of a frame. It may exceed the scan's default, because each frame was decoded before.
_PIXELS = 1 << 29


@dataclass(slots=True)
class _Video:
    """A video in progress: its record, the faces wanted, the pictures so far, and the fetched object."""

    record: Mapping[str, Any]
    lines: Sequence[Line]
    buffer: PictureBuffer = field(default_factory=PictureBuffer)
    copy: Copy | None = None


def retake_pictures(
    records: Iterable[Mapping[str, Any]],
    run: RunInfo,
    *,
    root: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
    room: int = PAGE_CHARACTERS,
) -> dict[int, VideoPictures]:
    """Take the pictures of records from their videos; return them by the position of the record.

    Only the frames with pictured faces are decoded. Objects are fetched. A video that is missing, or is not
    the one that was scanned, has a note instead of pictures.

    Args:
        records: Parsed lines of a journal, read one by one.
        run: The run of the records.
        root: Folder in which the videos are now, see `place_of`; None for the paths as recorded.
        on_progress: Called with the number of records done.
        room: Characters of pictures after which no more videos are read. Those left have no entry.
    """
    found: dict[int, VideoPictures] = {}
    recipes = recipes_of({name: model.recipe for name, model in run.models.items() if model.recipe})
    videos: dict[int, _Video] = {}
    fetcher = Fetcher(CopySpace())

    def jobs() -> Iterator[DecodeJob]:
        for number, record in enumerate(records):
            if sum(pictures.characters for pictures in found.values()) > room:
                return
            lines = pictured_faces(record, run.calibrations, run.quality)
            if not lines:
                found[number] = VideoPictures()
                continue
            path = recorded_path(record)
            place, copy = place_of(path, root), None
            try:
                if place is None and root is None and is_object(path):
                    place, copy = path, fetcher.fetch(os.fsdecode(path)).copy
            except ObjectError as error:
                found[number] = VideoPictures(note=f"No pictures: {error.detail}.")
                continue
            if place is None:
                found[number] = VideoPictures(note="No pictures: the video was not found.")
                continue
            videos[number] = _Video(record, lines, copy=copy)
            indices = tuple(sorted({line["index"] for line in lines}))
            yield DecodeJob(number, place, indices, file=None if copy is None else copy.file)

    with DecodePool(DecodeOptions(frames=1, max_pixels=_PIXELS), usable_cpus()) as pool:
        for job, report in _decoded(pool, jobs(), videos, recipes):
            video = videos.pop(job.id)
            found[job.id] = _concluded(video, report, run, recipes)
            if video.copy is not None:
                video.copy.close()
            if on_progress is not None:
                on_progress(len(found))
    return found


def _decoded(
    pool: DecodePool,
    jobs: Iterator[DecodeJob],
    videos: Mapping[int, _Video],
    recipes: Mapping[CropRecipe, tuple[str, ...]],
) -> Iterator[tuple[DecodeJob, DecodeReport]]:
    """Yield how the decoding of each video ended, when its faces are buffered."""
    exhausted = False
    while not exhausted or pool.busy:
        while not exhausted and pool.idle:
            job = next(jobs, None)
            if job is None:
                exhausted = True
            else:
                pool.submit(job)
        for event in pool.poll(0.5 if pool.busy else 0.0):
            if isinstance(event, FrameReady):
                _cut(videos[event.job.id], event.frame, recipes)
                event.release()
            elif isinstance(event, Ended):
                yield event.job, event.report


def _cut(video: _Video, frame: Frame, recipes: Mapping[CropRecipe, tuple[str, ...]]) -> None:
    # If a frame cannot be decoded, another one is delivered instead, in which no face is cut out.
    lines = [line for line in video.lines if line["index"] == frame.index]
    points = [np.array(line["landmarks"], dtype=np.float32) for line in lines]
    crops = [{recipe: align(frame.image, own, recipe) for recipe in recipes} for own in points]
    video.buffer.add(frame, [(line["box"], cut) for line, cut in zip(lines, crops, strict=True)])


def _concluded(
    video: _Video, report: DecodeReport, run: RunInfo, recipes: Mapping[CropRecipe, tuple[str, ...]]
) -> VideoPictures:
    recorded = video.record["sha256"]
    if report.sha256 is not None and report.sha256 != recorded:
        return VideoPictures(
            note=f"No pictures: the video is not the one that was scanned. Its SHA-256 was {recorded}, "
            f"and is {report.sha256}."
        )
    if report.status != "ok":
        return VideoPictures(note=f"No pictures: the video cannot be decoded now: {report.detail}.")
    pictures, _ = telling_pictures(
        video.record, video.buffer, calibrations=run.calibrations, rule=run.quality, recipes=recipes
    )
    return made_pictures(pictures)
