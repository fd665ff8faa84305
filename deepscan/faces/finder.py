"""Define the interface of face finders and their registry."""

from collections.abc import Sequence
from typing import Any, Protocol

from deepscan.faces.face import Detection
from deepscan.media.frames import Image
from deepscan.registry import Registry


class FaceFinder(Protocol):
    """Finder of faces and their five landmarks.

    Args:
        mode: The name under which it is registered; a class may have several.
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one. No other device is used instead.
        threads: Threads for a run on a CPU, None for one per core.

    Attributes:
        device: `cpu` or `cuda`.
        every: Every how many frames of a video a full search is made; in between, `redetect_near` is called.
    """

    device: str
    every: int

    def __init__(self, mode: str, device: str, threads: int | None) -> None: ...

    @property
    def mode(self) -> str:
        """The name under which it is registered."""

    @staticmethod
    def describe() -> dict[str, Any]:
        """Describe its networks for the record of a run: name, method, license and file hashes.

        Raises:
            MissingError: Its package is not installed.
        """

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the faces of each image, the largest box first.

        Args:
            images: RGB, shape (h, w, 3), uint8, of any sizes.

        Returns:
            One list per image, empty if no face was found. Boxes may extend past the edge.
        """

    def redetect_near(
        self, images: Sequence[Image], known: Sequence[Sequence[Detection]]
    ) -> list[list[Detection] | None]:
        """Return the faces of images near their positions in an earlier frame.

        Args:
            images: As for `detect`.
            known: The faces of an earlier frame of the same video, at least one per image.

        Returns:
            One list per image, the largest box first; None if not every known face was found again.
        """


#: `fast` and `exact` run MTCNN in ONNX Runtime; `facenet` runs facenet-pytorch's own, as the reference.
FINDERS: Registry[type[FaceFinder]] = Registry(
    "face finder",
    {
        "fast": "deepscan.faces.mtcnn",
        "exact": "deepscan.faces.mtcnn",
        "facenet": "deepscan.faces.facenet",
    },
)


def open_finder(mode: str = "fast", device: str = "cpu", threads: int | None = None) -> FaceFinder:
    """Open a face finder by its name.

    Args:
        mode: One of `FINDERS`.
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one. No other device is used instead.
        threads: Threads for a run on a CPU, None for one per core; `facenet` uses torch's setting.

    Raises:
        UsageError: The mode or the device is unknown.
        MissingError: A package is missing, CUDA cannot be used, or a network's file is missing.
        ContractError: A network's file does not match its card.
    """
    return FINDERS.get(mode)(mode, device, threads)


def describe_finder(mode: str) -> dict[str, Any]:
    """Describe a finder's networks for the record of a run: name, method, license and file hashes.

    Raises:
        UsageError: The mode is unknown.
        MissingError: The finder's package is not installed.
    """
    return FINDERS.get(mode).describe()
