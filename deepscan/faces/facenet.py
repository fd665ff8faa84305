"""Run facenet-pytorch's own MTCNN, the reference for `fast` and `exact`, in torch on a CPU or GPU."""

import importlib.util
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from deepscan.cards import sha256_of
from deepscan.devices import resolve
from deepscan.errors import MissingError, install_hint
from deepscan.faces.face import Detection, Floats
from deepscan.faces.finder import FINDERS
from deepscan.media.frames import Image

#: facenet-pytorch's default for the smallest face, in pixels. A smaller picture has no pyramid level.
MIN_FACE = 20
#: Bound on memory: pixels that are searched at once.
BATCH_PIXELS = 1 << 23


@FINDERS.register("facenet")
class FacenetMtcnn:
    """Face finder that searches every frame with facenet-pytorch's `MTCNN(keep_all=True)` at its defaults.

    Args:
        mode: The name under which it is registered.
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        threads: Not used: torch has its own setting.

    Raises:
        MissingError: facenet-pytorch is not installed, or CUDA cannot be used.
    """

    every = 1

    def __init__(self, mode: str = "facenet", device: str = "cpu", threads: int | None = None) -> None:
        try:
            import torch
            from facenet_pytorch import MTCNN
        except ImportError as error:
            raise MissingError(f"--faces facenet: {error}", install_hint("torch"))
        self.mode, self.device = mode, resolve(device, "--faces-device")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise MissingError("--faces-device cuda: torch cannot use the GPU", "use --faces-device cpu")
        self._mtcnn: Any = MTCNN(keep_all=True, min_face_size=MIN_FACE, device=torch.device(self.device))

    @staticmethod
    def describe() -> dict[str, Any]:
        """Describe its networks, which are part of the package, for the record of a run.

        Raises:
            MissingError: facenet-pytorch is not installed.
        """
        package = importlib.util.find_spec("facenet_pytorch")
        if package is None or package.origin is None:
            raise MissingError("--faces facenet: facenet-pytorch is not installed", install_hint("torch"))
        folder = Path(package.origin).parent / "data"
        return {
            "name": f"facenet-pytorch {version('facenet-pytorch')}",
            "method": "mtcnn",
            "license": "MIT",
            "files": {name: sha256_of(folder / f"{name}.pt") for name in ("pnet", "rnet", "onet")},
            "crop": None,
        }

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each image, the largest box first.

        Args:
            images: RGB, shape (h, w, 3), uint8, of any sizes; those of equal size are searched together.
        """
        found: dict[int, list[Detection]] = {}
        for shape, members in _by_shape(images).items():
            if min(shape) < MIN_FACE:
                # The pyramid would have no level, and facenet-pytorch would fail.
                found |= {index: [] for index in members}
                continue
            size = max(1, BATCH_PIXELS // (shape[0] * shape[1]))
            for start in range(0, len(members), size):
                part = members[start : start + size]
                found |= dict(zip(part, self._detect(np.stack([images[k] for k in part])), strict=True))
        return [found[index] for index in range(len(images))]

    def redetect_near(
        self, images: Sequence[Image], known: Sequence[Sequence[Detection]]
    ) -> list[list[Detection] | None]:
        """Return None for each image: every frame is searched."""
        return [None] * len(images)

    def _detect(self, batch: Image) -> list[list[Detection]]:
        boxes, probabilities, landmarks = self._mtcnn.detect(batch, landmarks=True)
        return [
            []
            if own is None
            else [
                Detection(_floats(box), _floats(points), min(1.0, float(probability)))
                for box, probability, points in zip(own, probabilities[k], landmarks[k], strict=True)
            ]
            for k, own in enumerate(boxes)
        ]


def _floats(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _by_shape(images: Sequence[Image]) -> dict[tuple[int, int], list[int]]:
    by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_shape[image.shape[0], image.shape[1]].append(index)
    return by_shape
