"""The pictures that the toy model in this folder was trained on, identical on every machine."""

import csv
from pathlib import Path

import numpy as np

#: Side of a picture and of its crop, and number of pictures.
SIDE, COUNT = 16, 24
#: Position of the first validation picture.
VAL = 8


def write_pictures(folder: Path) -> None:
    """Write pictures of noise and their `faces.csv`; fakes have a pattern that reals lack.

    The format is PPM, whose bytes do not depend on a library: they are the key of the crop cache.
    """
    folder.mkdir()
    rng = np.random.default_rng(7)
    rows = []
    for index in range(COUNT):
        # Few grey levels, so that the cache of crops compresses well.
        picture = (60 + 16 * rng.integers(0, 8, (SIDE, SIDE, 1)) + rng.integers(0, 4, 3)).astype(np.uint8)
        if index % 2:
            picture[::2, ::2] += 40
        (folder / f"{index:02d}.ppm").write_bytes(f"P6 {SIDE} {SIDE} 255\n".encode() + picture.tobytes())
        split, label = "val" if index >= VAL else "train", ("real", "fake")[index % 2]
        rows.append((f"{index:02d}.ppm", label, f"group-{index // 2}", split, "noise", f"video-{index}"))
    with (folder / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "label", "group", "split", "source", "video"), *rows])
