"""Files for the decoding tests, each made once per session, and functions to run them through a pool."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest

from deepscan.media.decoders import DECODERS, Probe
from deepscan.media.frames import DecodeReport, Image, MediaInfo
from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, FileOpened, FrameReady
from deepscan.media.pool import DecodePool
from deepscan.media.probe import probe
from deepscan.media.source import SourceFile
from tests import awkward, stills

#: A decoding process whose decoders misbehave as the file's name says.
STUB = [sys.executable, "-m", "tests.media.stub"]
# Open groups of pictures: their first frames depend on the group before.
OPEN = {"x264-params": "open-gop=1:bframes=3:b-pyramid=normal"}
OPEN_HEVC = {"x265-params": "log-level=none:open-gop=1"}
MAKERS: dict[str, Callable[[Path], Path]] = {
    "plain.mp4": awkward.video,
    "plain.mkv": awkward.video,
    "plain.avi": lambda path: awkward.video(path, codec="mpeg4"),
    "plain.ts": awkward.video,
    "plain.flv": awkward.video,
    "plain.h264": lambda path: awkward.video(path, container="h264"),
    "sound.mp4": lambda path: awkward.video(path, audio=True),
    "mistitled.mp4": awkward.mistitled,
    "mistitled.mkv": awkward.mistitled,
    "vfr.mkv": awkward.vfr,
    "vfr.mp4": awkward.vfr,
    **{
        f"turned{turn}.mp4": lambda path, turn=turn: awkward.rotated(path, turn) for turn in (0, 90, 180, 270)
    },
    **{f"lies{way}.mp4": lambda path, way=way: awkward.oriented(path, way) for way in (2, 4, 5, 7)},
    "soundfirst.mp4": lambda path: awkward.video(path, audio_first=True),
    "soundfirst.mkv": lambda path: awkward.video(path, audio_first=True),
    "soundfirst.ts": lambda path: awkward.video(path, audio_first=True),
    "two.mp4": awkward.two_videos,
    "wide.mp4": lambda path: awkward.video(path, aspect=Fraction(2)),
    "nearly.mp4": lambda path: awkward.video(path, aspect=Fraction(63, 64)),
    "high.mkv": lambda path: awkward.video(path, aspect=Fraction(1, 2)),
    **{f"joined{suffix}": awkward.joined_twice for suffix in (".ts", ".mpg", ".flv", ".mkv")},
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
    "stump.mp4": awkward.stump,
    **{
        f"cut{suffix}": awkward.cut_late
        for suffix in (".gif", ".mkv", ".webm", ".flv", ".ts", ".ogv", ".avi")
    },
    "cut.jpg": lambda path: awkward.cut(stills.still(path), 0.9),
    "indexless.mp4": awkward.indexless,
    "lying.mp4": awkward.lying,
    "damaged.mp4": awkward.damaged,
    "audio.mp4": awkward.audio_only,
    "cover.mp4": lambda path: awkward.audio_only(path, cover=True),
    "empty.mp4": awkward.empty,
    "text.mp4": awkward.text,
    "huge.png": lambda path: stills.png(path, 20000, 20000),
    **{f"still{suffix}": stills.still for suffix in (".jpg", ".png", ".bmp", ".tiff", ".webp")},
    "exif.jpg": stills.exif_jpeg,
    **{f"exif{way}.jpg": lambda path, way=way: stills.exif_jpeg(path, way) for way in range(1, 9)},
    "still.gif": lambda path: awkward.gif(path, 1),
}


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function: name of a file -> its path; the file is made at its first use."""
    folder = tmp_path_factory.mktemp("media")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else MAKERS[name](path)

    return make


@pytest.fixture
def stubbed(media, tmp_path, monkeypatch):
    """Return a function: instructions for the stubs -> a file of 30 frames with them in its name."""
    # The stub is a module of the tests, which is importable from the current folder only.
    monkeypatch.chdir(Path(__file__).parents[2])
    return lambda orders: Path(shutil.copy(media("plain.mp4"), tmp_path / f"{orders}.mp4"))


@pytest.fixture(scope="module")
def pools():
    """Return a function: decoder -> a pool that uses it, shared by the tests of a module."""
    made = {}

    def make(decoder):
        if decoder not in made:
            made[decoder] = DecodePool(DecodeOptions(decoder=decoder), 1)
        return made[decoder]

    yield make
    for pool in made.values():
        pool.close()


def look(path: Path, **options: int) -> Probe:
    """Probe a file."""
    with SourceFile(os.fsencode(path)) as source:
        return probe(source, **options)


def decoded(path: Path, decoder: str = "", indices: Iterable[int] | None = None) -> tuple[Probe, list[Image]]:
    """Return a file's probe and its frames: all, or those at the given indices in that order.

    Without the name of a decoder, the first that suits the file is used.
    """
    with SourceFile(os.fsencode(path)) as source:
        found = probe(source)
        kinds = map(DECODERS.get, [decoder] if decoder else DECODERS.names)
        kind = next(kind for kind in kinds if decoder or (kind.automatic and kind.unfit(found) is None))
        reader = kind(source.url(), found)
        try:
            chosen = range(found.count) if indices is None else indices
            return found, [reader.read(index).copy() for index in chosen]
        finally:
            reader.close()


@dataclass
class Outcome:
    """Everything a pool reported about one job."""

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
            if isinstance(event, FileOpened):
                outcome.info = event.info
            elif isinstance(event, FrameReady):
                outcome.indices.append(event.frame.index)
                outcome.times.append(event.frame.pts)
                outcome.numbers.append(awkward.number_of(event.frame.image))
                event.release()
            elif isinstance(event, Ended):
                outcome.report = event.report
    return outcomes


def collect(pool, kind, count=1, limit=20.0):
    """Poll until `count` events of a kind have arrived, and return them."""
    found, end = [], time.monotonic() + limit
    while len(found) < count:
        assert time.monotonic() < end, f"only {found} after {limit} s"
        found += [event for event in pool.poll(0.2) if isinstance(event, kind)]
    return found


def drain(pool, limit=20.0):
    """Poll until all jobs have ended, releasing every frame, and return all events."""
    found, end = [], time.monotonic() + limit
    while pool.busy:
        assert time.monotonic() < end, f"only {found} after {limit} s"
        for event in pool.poll(0.5):
            found.append(event)
            if isinstance(event, FrameReady):
                event.release()
    return found


def children():
    """Return the process ids of this process's children."""
    lists = (task / "children" for task in Path("/proc/self/task").iterdir())
    return {int(pid) for pids in lists for pid in pids.read_text().split()}
