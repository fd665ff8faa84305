"""Find the faces in a picture, save each as the model sees it, and print its score.

python examples/save_faces.py PICTURE --out faces
"""

import argparse
from pathlib import Path

import cv2

import deepscan


def main() -> None:
    """Find the faces in the picture that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", help="a picture, or a video for the frame in its middle")
    parser.add_argument("--out", type=Path, default=Path("faces"), help="the folder to write to")
    arguments = parser.parse_args()

    detector = deepscan.load_detector()
    faces = deepscan.find_faces(arguments.picture)
    crops = [face.crop(detector) for face in faces]
    scores = detector.score(crops)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for index, (face, crop, score) in enumerate(zip(faces, crops, scores, strict=True)):
        file = arguments.out / f"face-{index}.png"
        cv2.imwrite(str(file), cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
        left, top, right, bottom = (round(value) for value in face.box)
        print(f"{file}: at ({left}, {top}) to ({right}, {bottom}), raw score {score:.2f}")


if __name__ == "__main__":
    main()
