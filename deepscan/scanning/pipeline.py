"""Scan pipeline: decode -> find faces -> score -> judge, in batches across frames and videos."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from deepscan.engines.scorer import Scorer
from deepscan.faces.face_filter import FaceFilter
from deepscan.faces.finder import FaceFinder
from deepscan.faces.looks import Looks
from deepscan.faces.stage import FRAME_BATCH
from deepscan.media.frames import DecodeReport
from deepscan.media.jobs import DecodeJob, Hashed
from deepscan.media.pool import DecodePool
from deepscan.scanning.cpu_time import CpuClock
from deepscan.scanning.duplicates import Duplicates, Fate
from deepscan.scanning.extract_stage import ExtractStage
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.originals import Originals
from deepscan.scanning.outcome import ExtractedVideo, build_record
from deepscan.scanning.picture_folder import PictureFolder, illustrate
from deepscan.scanning.record_lines import RecordLine, utc_now
from deepscan.scanning.score_stage import ScoreStage
from deepscan.scanning.sources import ScanItem

#: Seconds between two looks for the next item while none is ready and nothing else is to be done.
_ITEM_WAIT = 0.02


class Pipeline:
    """Both stages in one process, with one face finder, any number of detectors and one pool of decoders.

    Args:
        options: The scan's parameters.
        pool: The isolated decoders.
        finder: The face finder.
        scorers: The detectors, empty to only find faces.
        run: Identifier of the run, for the records.
        warn: Called with warnings for the user while the scan goes on.
        face_filter: Rejects false detections of the finder, None to accept them all.
        looks: Recognises a person's faces in other shots, None to use their appearance only.
        pictures: Where to write pictures of the most telling faces, None for none.
    """

    def __init__(
        self,
        options: ScanOptions,
        pool: DecodePool,
        finder: FaceFinder,
        scorers: Sequence[Scorer],
        run: str,
        warn: Callable[[str], None],
        face_filter: FaceFilter | None = None,
        looks: Looks | None = None,
        pictures: PictureFolder | None = None,
    ) -> None:
        self._options, self._run = options, run
        self._least_face = face_filter.least if face_filter else 0.0
        self._looks, self._pictures = looks, pictures
        clock = CpuClock()
        self._extract = ExtractStage(
            pool,
            finder,
            {scorer.recipe for scorer in scorers},
            face_filter,
            looks=looks is not None,
            pictures=pictures is not None,
            clock=clock,
        )
        self._score = ScoreStage(scorers, warn, explain=options.explain or options.evidence, clock=clock)
        # Never repeated, so that events of an abandoned scan are not mistaken for those of the next.
        self._numbers = count()
        # Number of each video in progress -> when it was started, on the monotonic clock in seconds.
        self._began: dict[int, float] = {}
        self._items: dict[int, ScanItem] = {}
        # Those whose file may still be opened.
        self._held: dict[int, ScanItem] = {}
        self._extracted: dict[int, ExtractedVideo] = {}
        self._duplicates: Duplicates | None = None
        # What became known of videos by hashing them.
        self._hashed: dict[int, Hashed] = {}
        # Videos that get the record of another, and videos that must be scanned although they waited for one.
        self._copies: deque[tuple[int, Mapping[str, Any]]] = deque()
        self._again: deque[int] = deque()
        self._scanning = False

    def scan(
        self,
        items: Iterable[ScanItem | None],
        on_progress: Callable[[bytes | None], None] = lambda path: None,
        originals: Originals | None = None,
    ) -> Generator[RecordLine, None, None]:
        """Scan videos and yield the record of each as it ends; between records, only decoding goes on.

        A pipeline can scan again when a scan has ended or was closed.

        Args:
            items: The videos, consumed as decoders become idle. Each gets one record. None means that no item
                is ready yet, for example because one is being fetched.
            on_progress: Called with the path of each video that is started, and with None at least twice a
                second while videos are being scanned.
            originals: The records of the run so far, to which the caller adds each record before asking for
                the next. A video with the content of another is not decoded: it gets that one's record. None
                to decode every video.

        Raises:
            RuntimeError: Another scan of this pipeline is still going on.
        """
        if self._scanning:
            raise RuntimeError("another scan of this pipeline is still going on")
        self._scanning = True
        self._duplicates = None if originals is None else Duplicates(originals)
        try:
            yield from self._work_off(iter(items), on_progress)
        finally:
            self._extract.abandon()
            self._score.close()
            for item in self._held.values():
                item.release()
            self._held.clear()
            self._items.clear()
            self._began.clear()
            self._extracted.clear()
            self._hashed.clear()
            self._copies.clear()
            self._again.clear()
            self._duplicates = None
            self._scanning = False

    def _work_off(
        self, items: Iterator[ScanItem | None], on_progress: Callable[[bytes | None], None]
    ) -> Iterator[RecordLine]:
        extract, score, exhausted = self._extract, self._score, False
        while not exhausted or self._began:
            pending = ended = False
            while self._again and extract.idle:
                self._begin(self._again.popleft(), alone=True)
            # Write the record of an item that needs no decoder before taking the next: a store may lack
            # millions.
            while not (exhausted or pending or ended) and extract.idle and not self._full:
                try:
                    item = next(items)
                except StopIteration:
                    exhausted = True
                    break
                if item is None:
                    pending = True
                else:
                    self._start(item)
                    on_progress(item.path)
                    ended = item.failure is not None or bool(self._copies)
            ready = ended or extract.frames or (len(score) and not score.busy)
            wait = 0.01 if score.busy else _ITEM_WAIT if pending else 0.5
            quiet = not extract.poll(0.0 if ready else wait)
            self._answer()
            # Run a batch when it is full, or when nothing has arrived to fill it. Crops of a crowd must not
            # pile up: with two batches of them waiting, do not find more faces.
            most = 2 * score.batch
            if len(score) >= score.batch or (quiet and len(score) and not extract.frames):
                score.start(wait=len(score) >= most)
            if len(score) < most and (extract.frames >= FRAME_BATCH or (quiet and extract.frames)):
                extract.find(score.add)
            score.collect(wait=False)
            for video in extract.ended():
                self._extracted[video.id] = video
                self._held.pop(video.id).release()
            yield from self._finish()
            on_progress(None)

    def _start(self, item: ScanItem) -> None:
        """Start decoding a video, or end it if it could not be fetched."""
        number = next(self._numbers)
        self._began[number] = time.monotonic()
        self._items[number] = item
        if item.failure is None:
            self._held[number] = item
            self._begin(number)
            return
        status, detail = item.failure
        report = DecodeReport(status, detail, (), item.sha256, item.size, None, None, 0, 0, {})
        self._extracted[number] = ExtractedVideo(number, item.path, report, utc_now(), (), (), "", {})

    @property
    def _full(self) -> bool:
        return self._duplicates is not None and self._duplicates.full

    def _begin(self, number: int, *, alone: bool = False) -> None:
        """Give a video to a decoder, unless one of equal content is known already."""
        item = self._items[number]
        fate: Fate = "decode"
        if self._duplicates is not None:
            fate = self._duplicates.begin(number, item, alone=alone)
        if isinstance(fate, Mapping):
            self._copies.append((number, fate))
        elif fate != "wait":
            known = None if item.file is None else item.sha256
            job = DecodeJob(number, item.path, file=item.file, sha256=known, ask=fate == "ask")
            self._extract.start(job)

    def _answer(self) -> None:
        """Answer the decoders that ask whether a video of equal content is known."""
        if self._duplicates is None:
            return
        for event in self._extract.hashed():
            self._duplicates.hashed(event)
            if event.job.ask:
                self._hashed[event.job.id] = event
        for number, fate in self._duplicates.answers():
            self._extract.answer(number, decode=fate == "decode")
            if isinstance(fate, Mapping):
                self._copies.append((number, fate))

    def _ended(self, number: int) -> None:
        """Settle what happens to the videos that waited for one whose record is written."""
        self._hashed.pop(number, None)
        if self._duplicates is None:
            return
        for other, fate in self._duplicates.ended(number):
            if isinstance(fate, Mapping):
                self._copies.append((other, fate))
            else:
                self._again.append(other)

    def _copied(self, number: int, record: Mapping[str, Any]) -> RecordLine:
        """Return the record of a video whose content is that of another, given the record of that one."""
        item, hashed = self._items.pop(number), self._hashed.pop(number, None)
        self._held.pop(number).release()
        total = time.monotonic() - self._began.pop(number)
        return RecordLine.copied(
            record,
            item.path,
            mtime_ns=hashed and hashed.mtime_ns,
            etag=item.etag,
            started=utc_now(total),
            seconds={**item.seconds, **(hashed.seconds if hashed else {}), "total": total},
        )

    def _finish(self) -> Iterator[RecordLine]:
        done = [number for number in sorted(self._extracted) if not self._score.waiting(number)]
        for number in done:
            video = self._score.scored(self._extracted.pop(number))
            item, total = self._items.pop(number), time.monotonic() - self._began.pop(number)
            record = build_record(
                replace(video, seconds={**item.seconds, **video.seconds, "total": total}),
                self._score.models,
                self._options,
                self._run,
                least_face=self._least_face,
                looks=self._looks,
            )
            record = record if item.etag is None else replace(record, etag=item.etag)
            if self._pictures is not None and video.pictures is not None:
                record = illustrate(record, video.pictures, self._pictures, self._score.models, self._options)
            yield record
            self._ended(number)
        while self._copies:
            yield self._copied(*self._copies.popleft())
