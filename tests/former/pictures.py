"""The pictures that the toy model here was trained on: the same bytes wherever they are written."""

import csv
from pathlib import Path

import numpy as np

#: Side of a picture and of its crop, and how many pictures there are.
SIDE, COUNT = 16, 24
#: Positions of the first validation picture.
VAL = 8


def write_pictures(folder: Path) -> None:
    """Write pictures of noise and their `faces.csv`; fakes have a pattern that reals lack.

    The format is PPM, whose bytes no library decides: the crop cache is found by them.
    """
    folder.mkdir()
    rng = np.random.default_rng(7)
    rows = []
    for at in range(COUNT):
        # Few grey levels: the cache of the crops is small once it is compressed.
        picture = (60 + 16 * rng.integers(0, 8, (SIDE, SIDE, 1)) + rng.integers(0, 4, 3)).astype(np.uint8)
        if at % 2:
            picture[::2, ::2] += 40
        (folder / f"{at:02d}.ppm").write_bytes(f"P6 {SIDE} {SIDE} 255\n".encode() + picture.tobytes())
        split = "val" if at >= VAL else "train"
        rows.append(
            (f"{at:02d}.ppm", ("real", "fake")[at % 2], f"group-{at // 2}", split, "noise", f"video-{at}")
        )
    with (folder / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "label", "group", "split", "source", "video"), *rows])
