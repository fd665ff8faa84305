"""Code that does not need a heavy package does not import it."""

import pytest

from tests.command import run_python

#: Code -> the packages that it must not import.
LIGHT = {
    "import deepscan.backbones": ("torch",),
    "import deepscan.detectors.corit_inputs": ("torch",),
    "from deepscan.evaluation import plots; plots.bars_figure([plots.PaperBar('a', 0.9, 0.9)], 'AUC')": (
        "matplotlib.pyplot",
    ),
    "from deepscan import calibration; from deepscan.cards import Calibration; "
    "calibration_of_card = Calibration('frame', '', 1, '', 1.0, 0.5, 0.5, 'isotonic', ((0.1, 0.2),)); "
    "calibration.calibrate(0.5, calibration_of_card)": ("torch", "sklearn", "scipy"),
    "import deepscan.faces.mtcnn": ("onnxruntime", "torch"),
    "import numpy; from deepscan.faces import align, mtcnn, quality, tracks; "
    "mtcnn.Mtcnn(threads=1).detect([numpy.zeros((64, 64, 3), numpy.uint8)])": ("torch", "facenet_pytorch"),
}


@pytest.mark.parametrize(("code", "without"), LIGHT.items())
def test_heavy_packages_are_not_imported(code, without):
    ran = run_python("-c", f"{code}; import sys; print(*set({without}) & sys.modules.keys())")
    assert (ran.code, ran.out.strip()) == (0, ""), ran.err
