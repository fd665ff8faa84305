"""The student of `train_looks.py`: what it learns from, how it is trained, and its ONNX file."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from face_views import altered
from looks_figures import Faces, Vectors
from looks_teacher import FaceNetwork, planes
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import Tensor, nn
from torch.nn import functional

from deepscan.data.crops.crop_cache import CropSet
from deepscan.faces.looks import look_crop, network_input
from deepscan.media.frames import Image

#: Channels kept between the convolutions of each block, where dlib has 32 to 256.
BETWEEN = (32, 32, 32, 48, 48, 48, 48, 64, 64, 64, 96, 96, 96, 128)
#: Part of the mean variance added to each in the discriminant, directions kept, and the power of its strength
#: by which each is shortened: the first half of val chose it from 0, 0.25 and 0.5.
RIDGE, DIRECTIONS, SHORTENED = 0.1, 80, 0.25
#: Couples of faces in a batch; batches; the highest learning rate, and batches until it is reached.
COUPLES, STEPS, RATE, WARM = 24, 1300, 2e-4, 50
#: How often a web face is drawn for each of DFDC, and how much of its target is the mean of its person.
WEB_AGAIN, SHARED = 2, 0.3
#: Cosines that pictures of one person may not stay below, and those of two not above.
TOGETHER, APART = 0.6, 0.2
#: Weight of the cosines within a batch beside the vectors themselves.
COSINES = 1.0
SEED = 1


@dataclass(frozen=True)
class Lesson:
    """What the student learns from.

    Attributes:
        sets: Crops by `WITH_MARGIN`, of the web and of DFDC.
        places: Where each face lies: which set, and its place there, shape (n, 2).
        targets: The vector of each, of mean length 1, shape (n, DIRECTIONS).
        persons: Number of each face's person; faces of DFDC have one each.
        known: Whether it is known who it is not, shape (n,): not of swapped faces, nor of DFDC, whose actors
            are seen in many videos.
    """

    sets: tuple[CropSet, ...]
    places: NDArray[np.int64]
    targets: Vectors
    persons: NDArray[np.int64]
    known: NDArray[np.bool_]

    def crop(self, face: int) -> Image:
        """Return the crop of a face."""
        which, place = self.places[face].tolist()
        crop: Image = self.sets[which].crops[place]
        return crop


def discriminant(vectors: Vectors, faces: Faces) -> tuple[Vectors, Vectors]:
    """Return the mean of vectors, and the directions in which persons differ most for what they vary.

    The strongest of these tell little but man from woman and young from old. Each is therefore shortened by
    a power of its strength, or two women would be alike for being women.
    """
    persons = faces.persons()
    mean = vectors.mean(axis=0)
    width = vectors.shape[1]
    within, centres = np.zeros((width, width)), []
    for own in persons:
        centres.append(vectors[own].mean(axis=0))
        apart = vectors[own] - centres[-1]
        # Each person counts once, whoever has many pictures.
        within += apart.T @ apart / len(own)
    within /= len(persons)
    within += RIDGE * np.trace(within) / width * np.eye(width)
    strengths, directions = eigh(np.cov(np.array(centres).T), within)
    strongest = np.argsort(-strengths)[:DIRECTIONS]
    return mean, directions[:, strongest] * strengths[strongest] ** -SHORTENED


def turned(head: nn.Linear, mean: Vectors, directions: Vectors) -> nn.Linear:
    """Return the last layer with a projection of its output included: minus a mean, along directions."""
    layer = nn.Linear(head.in_features, directions.shape[1])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(directions.T) @ head.weight.double())
        layer.bias.copy_(torch.from_numpy(-mean @ directions))
    return layer


def make_lesson(sets: tuple[CropSet, CropSet], targets: Sequence[Vectors], faces: Faces) -> Lesson:
    """Return the training faces of the web and of DFDC with their targets.

    Args:
        sets: Crops of the web and of DFDC.
        targets: The projected vectors of each set's teacher, shape (n, DIRECTIONS).
        faces: What is known of the web's faces.
    """
    web, dfdc = (crops.where("train") for crops in sets)
    own = faces.part(web)
    wanted, persons = targets[0][web].copy(), np.zeros(len(web), np.int64)
    for number, person in enumerate(own.persons()):
        wanted[person] += SHARED * (wanted[person].mean(axis=0) - wanted[person])
        persons[person] = number
    alone = persons.max() + 1 + np.arange(len(dfdc))
    return Lesson(
        sets,
        np.concatenate([np.column_stack([np.full(len(at), k), at]) for k, at in enumerate((web, dfdc))]),
        np.concatenate([wanted, targets[1][dfdc]]).astype(np.float32),
        np.concatenate([persons, alone]),
        np.concatenate([~own.doubtful(), np.zeros(len(dfdc), np.bool_)]),
    )


def _drawn(lesson: Lesson, rng: Generator) -> Iterator[list[int]]:
    """Yield batches of couples without end: a face, and one of the same person, or itself once more."""
    of_person: dict[int, list[int]] = {}
    for face, person in enumerate(lesson.persons.tolist()):
        of_person.setdefault(person, []).append(face)
    web = np.flatnonzero(lesson.places[:, 0] == 0)
    all_faces = np.concatenate([*[web] * WEB_AGAIN, np.flatnonzero(lesson.places[:, 0] == 1)])
    while True:
        order = rng.permutation(all_faces)
        for start in range(0, len(order) - COUPLES + 1, COUPLES):
            batch = order[start : start + COUPLES].tolist()
            yield batch + [int(rng.choice(of_person[int(lesson.persons[face])])) for face in batch]


def learn(
    student: FaceNetwork, lesson: Lesson, steps: int, kept: Path, report: Callable[[str], None]
) -> None:
    """Train the student in place; its weights are kept in a file every 100 steps."""
    rng = np.random.default_rng(SEED)
    rows = [weight for weight in student.parameters() if weight.ndim > 1]
    biases = [weight for weight in student.parameters() if weight.ndim == 1]
    optimiser = torch.optim.AdamW(
        [{"params": rows, "weight_decay": 1e-4}, {"params": biases, "weight_decay": 0.0}], lr=RATE
    )
    student.to(memory_format=torch.channels_last)
    begun, far = time.process_time(), []
    for step, batch in zip(range(steps), _drawn(lesson, rng), strict=False):
        rate = RATE * min(1, (step + 1) / WARM) * (0.505 + 0.495 * np.cos(np.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        # The first of a couple is unchanged or mirrored, so that nothing is forgotten.
        ways = rng.choice([-1, 1], COUPLES).tolist()
        plain = network_inputs(np.stack([lesson.crop(face) for face in batch[:COUPLES]]))
        inputs = np.stack(
            [face[:, ::way] for face, way in zip(plain, ways, strict=True)]
            + [altered(lesson.crop(face), rng) for face in batch[COUPLES:]]
        )
        with torch.autocast("cpu", torch.bfloat16):
            given = student(planes(inputs).contiguous(memory_format=torch.channels_last)).float()
        wanted = torch.from_numpy(lesson.targets[batch])
        apart = ((given - wanted) ** 2).sum(1)
        loss = apart.mean() + COSINES * _cosines(given, wanted, lesson.persons[batch], lesson.known[batch])
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        halves = apart.detach().sqrt().view(2, -1).mean(1).tolist()
        far.append([*halves, float(loss.detach() - apart.detach().mean())])
        if (step + 1) % 50 == 0:
            taken = (time.process_time() - begun) / (step + 1)
            print(step + 1, np.mean(far[-50:], axis=0).round(4), f"{taken:.2f} s a step", flush=True)
        if (step + 1) % 100 == 0:
            torch.save(student.state_dict(), kept)
        if (step + 1) % 325 == 0:
            report(f"step {step + 1}")


def _cosines(given: Tensor, wanted: Tensor, persons: NDArray[np.int64], known: NDArray[np.bool_]) -> Tensor:
    """Return how far the cosines within a batch are from the teacher's, and from what is known of them."""
    same = torch.from_numpy(persons[:, None] == persons)
    other = ~same & torch.from_numpy(known[:, None] & known)
    cosines, target = (functional.normalize(each) @ functional.normalize(each).T for each in (given, wanted))
    target = torch.where(same, target.clamp(min=TOGETHER), target)
    target = torch.where(other, target.clamp(max=APART), target)
    return len(given) * ((cosines - target) ** 2).mean() / 8


def network_inputs(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the network's inputs for crops by `WITH_MARGIN`, shape (n, SIDE, SIDE, 3)."""
    return np.stack([network_input(look_crop(crop)) for crop in crops])
