"""Test that a damaged file costs itself only: it ends with a status, and the next file is decoded as ever."""

import os

import numpy as np
import pytest

from deepscan.media.jobs import DecodeJob, DecodeOptions, Ended, FrameReady
from deepscan.media.pool import DecodePool
from tests.media.conftest import children

SOURCES = (
    "plain.mp4",
    "plain.mkv",
    "plain.avi",
    "plain.ts",
    "vp9.webm",
    "anim.gif",
    "still.jpg",
    "still.png",
)
#: What a damaged file may end with; `error`, `timeout` and `changed` would be faults of deepscan.
STATUSES = {"ok", "too_short", "decode_error", "unsupported"}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Overwrite, cut, repeat or flip parts of a file, its header included."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at, length = int(rng.integers(len(changed))), int(rng.integers(1, 64))
        kind = int(rng.integers(4))
        if kind == 0:
            changed[at : at + length] = rng.integers(0, 256, length, np.uint8).tobytes()
        elif kind == 1:
            del changed[at : at + length]
        elif kind == 2:
            changed[at:at] = changed[at : at + length]
        else:
            changed[at] ^= 1 << int(rng.integers(8))
        if not changed:
            break
    return bytes(
        changed[: int(rng.integers(1, len(changed) + 1))] if changed and rng.random() < 0.2 else changed
    )


@pytest.mark.parametrize("files", [32, pytest.param(20_000, marks=pytest.mark.exhaustive)])
def test_damaged_files_cost_themselves_only(media, tmp_path, files):
    before = children()
    rng = np.random.default_rng(files)
    originals = [media(name) for name in SOURCES]
    wrong, left = [], list(range(files))
    options = DecodeOptions(frames=4, timeout=20)
    with DecodePool(options, 2) as pool:
        while left or pool.busy:
            while left and pool.idle:
                number = left.pop()
                source = originals[number % len(originals)]
                path = tmp_path / f"{number}{source.suffix}"
                path.write_bytes(damaged(source.read_bytes(), rng))
                pool.submit(DecodeJob(number, os.fsencode(path)))
            for event in pool.poll(0.5):
                if isinstance(event, FrameReady):
                    event.release()
                elif isinstance(event, Ended):
                    path = tmp_path / os.fsdecode(event.job.path)
                    if event.report.status in STATUSES:
                        path.unlink()
                    else:
                        wrong.append((path.name, event.report.status, event.report.detail))
    assert wrong == [], f"kept in {tmp_path}"
    assert children() == before
