"""Provide two portraits from the development packages, and face finders that are opened once per session."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import skimage.data

from deepscan.faces.face import Detection
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.frames import Image


@pytest.fixture(scope="session")
def astronaut() -> Image:
    return skimage.data.astronaut()


@pytest.fixture(scope="session")
def hopper() -> Image:
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@pytest.fixture(scope="session")
def exact() -> Mtcnn:
    return Mtcnn("exact", threads=1)


@pytest.fixture(scope="session")
def fast() -> Mtcnn:
    return Mtcnn("fast", threads=1)


@pytest.fixture(scope="session")
def portraits(astronaut: Image, hopper: Image, exact: Mtcnn) -> dict[str, tuple[Image, Detection]]:
    """Return name -> a picture and the one face in it."""
    found = exact.detect([astronaut, hopper])
    return {"astronaut": (astronaut, found[0][0]), "hopper": (hopper, found[1][0])}
