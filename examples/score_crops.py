"""Score pictures of faces that are already cut out, as a CSV on standard output.

python examples/score_crops.py CROPS...

A model was trained on faces that were aligned and cut out in one way, and scores others less well. Faces of
`deepscan.find_faces` are cut out that way: give whole pictures to save_faces.py instead if you have them.
"""

import argparse

import cv2
import numpy as np

import deepscan


def main() -> None:
    """Score what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crops", nargs="+", help="pictures of one face each")
    parser.add_argument("--model", default="auto", help="name or folder of the model")
    arguments = parser.parse_args()

    detector = deepscan.load_detector(arguments.model)
    crops = np.empty((len(arguments.crops), detector.side, detector.side, 3), dtype=np.uint8)
    for index, path in enumerate(arguments.crops):
        picture = cv2.imread(path)
        if picture is None:
            raise SystemExit(f"{path} is not a picture")
        side = (detector.side, detector.side)
        crops[index] = cv2.cvtColor(
            cv2.resize(picture, side, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB
        )
    print("path,raw score,calibrated score,verdict")
    raw = detector.score(crops)
    if detector.calibration is None:
        raise SystemExit(f"{detector.name} has no calibration: its raw scores are {raw}")
    for path, score, calibrated in zip(arguments.crops, raw, detector.calibrate(raw), strict=True):
        print(f"{path},{score:.4f},{calibrated:.4f},{detector.verdict(float(calibrated))}")


if __name__ == "__main__":
    main()
