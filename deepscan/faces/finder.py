"""Face finders: what each must do, and which one a mode names."""

from collections.abc import Sequence
from typing import Any, Protocol

from deepscan.faces.face import Detection
from deepscan.media.frames import Image
from deepscan.registry import Registry


class FaceFinder(Protocol):
    """Finds faces and their five landmarks.

    Args:
        mode: The name that it is registered by; a class may have several.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one; never replaced by another.
        threads: Threads of one run on a CPU, None for as many as there are cores.

    Attributes:
        device: `cpu` or `cuda`.
        every: One in so many frames of a video is searched; in those between, `redetect_near` is asked.
    """

    device: str
    every: int

    def __init__(self, mode: str, device: str, threads: int | None) -> None: ...

    @property
    def mode(self) -> str:
        """The name that it is registered by."""

    @staticmethod
    def describe() -> dict[str, Any]:
        """Return what the record of a run says of its networks: name, method, licence and file hashes.

        Raises:
            MissingError: Its package is not installed.
        """

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


#: `fast` and `exact` run MTCNN in ONNX Runtime; `facenet` runs facenet-pytorch's own, the reference.
FINDERS: Registry[type[FaceFinder]] = Registry(
    "face finder",
    {
        "fast": "deepscan.faces.mtcnn",
        "exact": "deepscan.faces.mtcnn",
        "facenet": "deepscan.faces.facenet",
    },
)


def open_finder(mode: str = "fast", device: str = "cpu", threads: int | None = None) -> FaceFinder:
    """Return the face finder of that name, ready to run.

    Args:
        mode: One of `FINDERS`.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one; never replaced by another.
        threads: Threads of one run on a CPU, None for as many as there are cores; `facenet` uses torch's.

    Raises:
        UsageError: The mode or the device is unknown.
        MissingError: A package is missing, or CUDA cannot be used, or a network is not there.
        ContractError: A network is not the one that its card names.
    """
    return FINDERS.get(mode)(mode, device, threads)


def describe_finder(mode: str) -> dict[str, Any]:
    """Return what the record of a run says of a finder's networks: name, method, licence and file hashes.

    Raises:
        UsageError: The mode is unknown.
        MissingError: The finder's package is not installed.
    """
    return FINDERS.get(mode).describe()
