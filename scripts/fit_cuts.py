"""Fits what finds the cut between two shots: the weights of `deepscan.faces.shots`, which are printed.

    python scripts/fit_cuts.py DATA     # half a minute

They are fitted to pairs of whole pictures of the web's `train` in `DATA/faces.csv`, of one clip and of two.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

from deepscan.faces.shots import differences, thumbnail

SEED = 1


def main() -> None:
    """Fit the odds of a cut to pairs of whole pictures, and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with faces.csv")
    data = parser.parse_args().data
    cv2.setNumThreads(1)
    with (data / "faces.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["source"], row["split"]) == ("WEB", "train")]
    rng = np.random.default_rng(SEED)
    of_video: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        of_video[row["video"]].append(row)
    ends = [(own[0], own[-1]) for own in of_video.values() if len(own) > 1]
    small = {
        row["file"]: thumbnail(np.asarray(cv2.imread(str(data / row["file"])), dtype=np.uint8)[..., ::-1])
        for pair in ends
        for row in pair
    }
    others = rng.permutation(len(ends))
    one = [differences(small[a["file"]], small[b["file"]]) for a, b in ends]
    two = [
        differences(small[a["file"]], small[ends[other][1]["file"]])
        for (a, _), other in zip(ends, others, strict=True)
        if a["group"] != ends[other][0]["group"]
    ]
    values, labels = np.array(one + two), np.r_[np.zeros(len(one)), np.ones(len(two))]
    model = LogisticRegression(C=1e3).fit(values, labels)
    right = model.predict(values) == labels
    print("cut: structure, colour, bias", *np.round(model.coef_[0], 3), np.round(model.intercept_, 3))
    print(f"of one clip right {right[: len(one)].mean():.4f} of {len(one)}", end=", ")
    print(f"of two {right[len(one) :].mean():.4f} of {len(two)}")


if __name__ == "__main__":
    main()
