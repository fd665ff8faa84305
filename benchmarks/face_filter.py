"""Measures what tells faces from what MTCNN takes for one: their shape, their being found again, a network.

    python scripts/collect_face_filter.py --data DIR --out SAMPLES.npz
    python benchmarks/face_filter.py SAMPLES.npz

A row a kind of sample of `val`, of which nothing was trained: how many there are, those also that MTCNN gives
a probability of 0.9 and more, which a scan would count, and the share of each that is refused by
  - the distance of the five landmarks from a face's shape (Mahalanobis, after a similarity transform; shapes
    turn and nod, and the covariance has that),
  - the face filter,
and of those with a probability of 0.7, a scan's, how many are found again in the picture moved by 3 pixels
and shrunk by 4 %. Both thresholds refuse 0.3 % of the faces of `dev`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.bench.output import write_table
from deepscan.crop_recipe import REFERENCE
from deepscan.faces.align import resample, similarity
from deepscan.faces.face_filter import CROP, FaceFilter

TABLE = Path(__file__).with_suffix(".csv")
REFUSED = 0.003
#: Of the samples' recipe: scale, and side in pixels.
WIDE, SIDE = 1.5, 72

Numbers = NDArray[Any]


def shapes(landmarks: Numbers) -> Numbers:
    """Return landmarks (n, 5, 2) laid over the template's as well as can be, shape (n, 10)."""
    template = REFERENCE.template / np.float32(REFERENCE.side)
    laid = []
    for points in landmarks:
        matrix = similarity(points, template)
        laid.append((points @ matrix[:, :2].T + matrix[:, 2] - template).ravel())
    return np.stack(laid)


def distances(laid: Numbers, faces: Numbers) -> Numbers:
    """Return how far shapes are from those of faces, in deviations, shape (n,)."""
    mean, covariance = faces.mean(axis=0), np.cov(faces.T) + 1e-7 * np.eye(10)
    apart = laid - mean
    return np.asarray(np.sqrt(np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart)))


def seen(crops: Numbers) -> list[Numbers]:
    """Return what the filter sees of samples (n, SIDE, SIDE, 3)."""
    rim = round(SIDE * (1 - CROP.scale / WIDE) / 2)
    return [resample(crop[rim : SIDE - rim, rim : SIDE - rim], CROP.side) for crop in crops]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("samples", type=Path)
    with np.load(parser.parse_args().samples) as file:
        samples = dict(file)
    face, val, dev = samples["kinds"] == "face", samples["splits"] == "val", samples["splits"] == "dev"
    laid = shapes(samples["landmarks"])
    far = distances(laid, laid[face & (samples["splits"] == "train")])
    net = FaceFilter()
    scores = np.concatenate([net.score(seen(samples["crops"][k : k + 64])) for k in range(0, len(face), 64)])
    refused = {"shape": far > np.quantile(far[dev & face], 1 - REFUSED), "filter": scores < net.least}
    refused["both"] = refused["shape"] | refused["filter"]
    rows = []
    for kind in (*np.unique(samples["kinds"]), "all but faces"):
        those = val & (~face if kind == "all but faces" else samples["kinds"] == kind)
        sure = those & (samples["probabilities"] >= 0.9)
        tried = (~face if kind == "all but faces" else samples["kinds"] == kind) & (samples["again"] >= 0)
        tried &= samples["probabilities"] >= 0.7
        if not those.any():
            continue
        row: dict[str, object] = {"kind": kind, "samples": int(those.sum()), "sure": int(sure.sum())}
        for name, gone in refused.items():
            row[f"{name} refuses"] = round(float(gone[those].mean()), 4)
            row[f"{name} refuses of sure"] = round(float(gone[sure].mean()), 4) if sure.any() else ""
        row |= {"moved": int(tried.sum()), "found again": int(samples["again"][tried].sum())}
        rows.append(row)
        print(row, flush=True)
    write_table(TABLE, rows)


if __name__ == "__main__":
    main()
