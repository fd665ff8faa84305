"""Compare ways to reject false positives of MTCNN: landmark shape, repeated detection, and the face filter.

    python scripts/collect_face_filter.py --data DIR --out SAMPLES.npz
    python benchmarks/face_filter.py SAMPLES.npz

Each row is a kind of sample from `val`, which is not used for training: the number of samples, the number
with an MTCNN probability of at least 0.9, which a scan would count, and the share of both that is rejected by
  - the Mahalanobis distance of the five landmarks from the shape of a face, after a similarity transform (the
    covariance includes faces that turn and nod),
  - the face filter,
and, of those with a probability of at least 0.7 as in a scan, the number detected again after shifting the
picture by 3 pixels and shrinking it by 4 %. Both thresholds reject 0.3 % of the faces in `dev`.
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
REJECTED = 0.003
#: Scale and side in pixels of the samples' crop recipe.
WIDE, SIDE = 1.5, 72

Numbers = NDArray[Any]


def shapes(landmarks: Numbers) -> Numbers:
    """Return the residuals of landmarks (n, 5, 2) after the best fit to the template, shape (n, 10)."""
    template = REFERENCE.template / np.float32(REFERENCE.side)
    residuals = []
    for points in landmarks:
        matrix = similarity(points, template)
        residuals.append((points @ matrix[:, :2].T + matrix[:, 2] - template).ravel())
    return np.stack(residuals)


def distances(residuals: Numbers, faces: Numbers) -> Numbers:
    """Return the Mahalanobis distances of shapes from those of faces, shape (n,)."""
    mean, covariance = faces.mean(axis=0), np.cov(faces.T) + 1e-7 * np.eye(10)
    difference = residuals - mean
    return np.asarray(np.sqrt(np.einsum("ni,ij,nj->n", difference, np.linalg.inv(covariance), difference)))


def filter_input(crops: Numbers) -> list[Numbers]:
    """Return the filter's input for samples (n, SIDE, SIDE, 3)."""
    margin = round(SIDE * (1 - CROP.scale / WIDE) / 2)
    return [resample(crop[margin : SIDE - margin, margin : SIDE - margin], CROP.side) for crop in crops]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("samples", type=Path)
    with np.load(parser.parse_args().samples) as file:
        samples = dict(file)
    face, val, dev = samples["kinds"] == "face", samples["splits"] == "val", samples["splits"] == "dev"
    residuals = shapes(samples["landmarks"])
    distance = distances(residuals, residuals[face & (samples["splits"] == "train")])
    net = FaceFilter()
    scores = np.concatenate(
        [net.score(filter_input(samples["crops"][k : k + 64])) for k in range(0, len(face), 64)]
    )
    rejections = {
        "shape": distance > np.quantile(distance[dev & face], 1 - REJECTED),
        "filter": scores < net.least,
    }
    rejections["both"] = rejections["shape"] | rejections["filter"]
    rows = []
    for kind in (*np.unique(samples["kinds"]), "all but faces"):
        of_kind = val & (~face if kind == "all but faces" else samples["kinds"] == kind)
        confident = of_kind & (samples["probabilities"] >= 0.9)
        retried = (~face if kind == "all but faces" else samples["kinds"] == kind) & (samples["again"] >= 0)
        retried &= samples["probabilities"] >= 0.7
        if not of_kind.any():
            continue
        row: dict[str, object] = {"kind": kind, "samples": int(of_kind.sum()), "sure": int(confident.sum())}
        for name, rejected in rejections.items():
            row[f"{name} refuses"] = round(float(rejected[of_kind].mean()), 4)
            row[f"{name} refuses of sure"] = (
                round(float(rejected[confident].mean()), 4) if confident.any() else ""
            )
        row |= {"moved": int(retried.sum()), "found again": int(samples["again"][retried].sum())}
        rows.append(row)
        print(row, flush=True)
    write_table(TABLE, rows)


if __name__ == "__main__":
    main()
