"""Face finders: what each must do, and which one a mode names."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

from deepscan.cards import embedded_folder, read_card
from deepscan.errors import UsageError
from deepscan.faces.face import Detection
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.frames import Image

#: `fast` and `exact` run MTCNN in ONNX Runtime; `facenet` runs facenet-pytorch's own, the reference.
FaceMode = Literal["fast", "exact", "facenet"]


class FaceFinder(Protocol):
    """Finds faces and their five landmarks.

    Attributes:
        device: `cpu` or `cuda`.
        every: One in so many frames of a video is searched; in those between, `redetect_near` is asked.
    """

    device: str
    every: int

    @property
    def mode(self) -> FaceMode:
        """The mode that names it."""

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each image, the largest box first.

        Args:
            images: RGB, shape (h, w, 3), uint8, of any sizes.

        Returns:
            One list per image, empty where no face was found. Boxes may reach past the edge.
        """

    def redetect_near(
        self, images: Sequence[Image], known: Sequence[Sequence[Detection]]
    ) -> list[list[Detection] | None]:
        """Return the faces of images near where they were a frame earlier.

        Args:
            images: As `detect` takes them.
            known: The faces of a near frame of the same video, at least one per image.

        Returns:
            One list per image, the largest box first; None where not every known face was found again.
        """


def open_finder(mode: FaceMode = "fast", device: str = "cpu", threads: int | None = None) -> FaceFinder:
    """Return the face finder that a mode names, ready to run.

    Args:
        mode: `fast`, `exact` or `facenet`.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one; never replaced by another.
        threads: Threads of one run on a CPU, None for as many as there are cores; `facenet` uses torch's.

    Raises:
        UsageError: The mode or the device is unknown.
        MissingError: A package is missing, or CUDA cannot be used, or a network is not there.
        ContractError: A network is not the one that its card names.
    """
    if mode not in get_args(FaceMode):
        raise UsageError(f"unknown face finder {mode!r}", f"choose from: {', '.join(get_args(FaceMode))}")
    if mode == "facenet":
        from deepscan.faces.facenet import FacenetMtcnn

        return FacenetMtcnn(device)
    return Mtcnn(mode, device, threads)


def describe_finder(mode: FaceMode) -> dict[str, Any]:
    """Return what the record of a run says of a mode's networks: name, method, licence and file hashes.

    Raises:
        MissingError: The mode's package is not installed.
    """
    if mode == "facenet":
        from deepscan.faces import facenet

        return facenet.describe()
    return read_card(embedded_folder() / "mtcnn").facts()
