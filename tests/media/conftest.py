"""Files for the tests of the media room, each made once a session, and a way to run them through a pool."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deepscan.media.frames import DecodeReport, MediaInfo
from deepscan.media.pool import DecodeJob, DecodePool, Ended, FrameReady, Opened
from tests import awkward

# Groups of pictures whose first frames build on the group before.
OPEN = {"x264-params": "open-gop=1:bframes=3:b-pyramid=normal"}
OPEN_HEVC = {"x265-params": "log-level=none:open-gop=1"}
MAKERS: dict[str, Callable[[Path], Path]] = {
    "plain.mp4": awkward.video,
    "plain.mkv": awkward.video,
    "plain.avi": lambda path: awkward.video(path, codec="mpeg4"),
    "plain.ts": awkward.video,
    "plain.h264": lambda path: awkward.video(path, container="h264"),
    "sound.mp4": lambda path: awkward.video(path, audio=True),
    "vfr.mkv": awkward.vfr,
    "vfr.mp4": awkward.vfr,
    **{
        f"turned{turn}.mp4": lambda path, turn=turn: awkward.rotated(path, turn) for turn in (0, 90, 180, 270)
    },
    "open.mp4": lambda path: awkward.video(path, 60, gop=12, options=OPEN),
    "open.mkv": lambda path: awkward.video(path, 60, gop=12, codec="libx265", options=OPEN_HEVC),
    "refresh.mp4": lambda path: awkward.video(path, 60, options={"x264-params": "intra-refresh=1"}),
    "reordered.avi": lambda path: awkward.video(path, 60),
    "ten.mp4": lambda path: awkward.video(path, pixel_format="yuv420p10le"),
    "vp9.webm": awkward.webm,
    "av1.webm": lambda path: awkward.webm(path, "libsvtav1"),
    "resized.mkv": awkward.resized,
    "one.mp4": lambda path: awkward.video(path, 1),
    "anim.gif": awkward.gif,
    "truncated.mp4": awkward.truncated,
    "truncated.mkv": lambda path: awkward.cut(awkward.video(path, 60), 0.5),
    "stump.mp4": lambda path: awkward.truncated(path, 0.44),
    "indexless.mp4": awkward.indexless,
    "lying.mp4": awkward.lying,
    "damaged.mp4": awkward.damaged,
    "audio.mp4": awkward.audio_only,
    "cover.mp4": lambda path: awkward.audio_only(path, cover=True),
    "empty.mp4": awkward.empty,
    "text.mp4": awkward.text,
    "huge.png": lambda path: awkward.png(path, 20000, 20000),
    **{f"still{suffix}": awkward.still for suffix in (".jpg", ".png", ".bmp", ".tiff", ".webp")},
    "exif.jpg": awkward.exif_jpeg,
    "still.gif": lambda path: awkward.gif(path, 1),
}


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function: name of a file -> its path, the file being made at first use."""
    folder = tmp_path_factory.mktemp("media")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else MAKERS[name](path)

    return make


@dataclass
class Outcome:
    """All that a pool said of one job."""

    report: DecodeReport | None = None
    info: MediaInfo | None = None
    indices: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def run(pool: DecodePool, *paths: Path | bytes, limit: float = 60.0) -> list[Outcome]:
    """Put files through a pool, releasing every frame at once."""
    outcomes = [Outcome() for _ in paths]
    waiting = list(enumerate(paths))
    end = time.monotonic() + limit
    while waiting or pool.busy:
        assert time.monotonic() < end, f"no end after {limit} s: {outcomes}"
        while waiting and pool.idle:
            number, path = waiting.pop(0)
            pool.submit(DecodeJob(number, os.fsencode(path)))
        for event in pool.poll(0.5):
            outcome = outcomes[event.job.id]
            assert outcome.report is None, f"an event after the end: {event}"
            if isinstance(event, Opened):
                outcome.info = event.info
            elif isinstance(event, FrameReady):
                outcome.indices.append(event.frame.index)
                outcome.times.append(event.frame.pts)
                outcome.numbers.append(awkward.number_of(event.frame.image))
                event.release()
            elif isinstance(event, Ended):
                outcome.report = event.report
    return outcomes
