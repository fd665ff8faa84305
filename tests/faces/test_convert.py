"""Test that the repository's script makes the shipped nets, with card, hashes and notice."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from facenet_pytorch.models import mtcnn

from deepscan.models.lookup import load_card
from deepscan.onnx_session import open_session

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "convert_mtcnn.py"
SHIPPED = ROOT / "models" / "mtcnn"


def test_the_script_writes_the_shipped_files(tmp_path):
    subprocess.run([sys.executable, str(SCRIPT), "--out", str(tmp_path)], check=True, capture_output=True)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(written) == ["NOTICE", "card.yaml", "onet.onnx", "pnet.onnx", "rnet.onnx"]
    assert {
        name: (SHIPPED / name).read_bytes() == content for name, content in written.items()
    } == dict.fromkeys(written, True)


def test_card_names_the_license_and_the_origin():
    card = load_card("mtcnn")
    assert card.method == "mtcnn" and card.license == "MIT" and set(card.files) == {"pnet", "rnet", "onet"}
    assert "facenet-pytorch 2.5.3" in card.trained["source"]
    notice = (card.folder / "NOTICE").read_text(encoding="utf-8")
    for owner in ("Timothy Esler", "David Sandberg", "Kaipeng Zhang", "Permission is hereby granted"):
        assert owner in notice


@pytest.mark.parametrize(
    ("name", "size", "shapes"),
    [
        ("pnet", (17, 30), {"map": (3, 5, 4, 10)}),
        ("pnet", (12, 12), {"map": (3, 5, 1, 1)}),
        ("rnet", (24, 24), {"score": (3, 2), "offset": (3, 4)}),
        ("onet", (48, 48), {"score": (3, 2), "offset": (3, 4), "points": (3, 10)}),
    ],
)
def test_nets_equal_facenet_pytorch(name, size, shapes):
    pixels = np.random.default_rng(1).uniform(0, 255, (3, *size, 3)).astype(np.float32)
    session = open_session(load_card("mtcnn").path(name), threads=1)
    outputs = dict(zip(shapes, session.run(list(shapes), {"pixels": pixels}), strict=True))
    assert {key: value.shape for key, value in outputs.items()} == shapes
    net = getattr(mtcnn, {"pnet": "PNet", "rnet": "RNet", "onet": "ONet"}[name])()
    with torch.no_grad():
        planes = (torch.from_numpy(pixels).permute(0, 3, 1, 2) - 127.5) * 0.0078125
        *regressions, score = (value.numpy() for value in net.eval()(planes))
    if name == "pnet":
        odds = outputs["map"][:, :1]
        outputs = {"score": 1 / (1 + np.exp(-odds)), "offset": outputs["map"][:, 1:]}
        expected = {"score": score[:, 1:], "offset": regressions[0]}
    else:
        expected = dict(zip(list(shapes)[1:], regressions, strict=True)) | {"score": score}
    for key in expected:
        # The sums are of a few hundred float32 products near 1, in a different order.
        np.testing.assert_allclose(outputs[key], expected[key], atol=2e-5)
