"""`deepscan export`: makes a model folder that scans without torch."""

import numpy as np
import pytest

from deepscan.engines.scorer import Scorer
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from tests.command import deepscan as run


def test_an_exported_model_gives_the_same_scores(tmp_path):
    out = tmp_path / "light"
    done = run("export", "--model", DEFAULT_MODEL, "--out", out)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{out}  within ")
    card, own = load_card(out), load_card(DEFAULT_MODEL)
    assert set(card.files) == {"onnx"}
    assert (card.name, card.calibration, card.golden) == ("light", own.calibration, own.golden)
    side = card.crop.input_side
    crops = np.random.default_rng(0).integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    expected = Scorer(own, engine="torch", device="cpu").score(crops)
    # Two runtimes in float32; export allows a difference of 1e-3.
    np.testing.assert_allclose(Scorer(card, device="cpu").score(crops), expected, atol=1e-4)
    assert Scorer(card, device="cpu").engine.precision == "fp32", "the file in 8 bits stayed behind"
    again = run("export", "--model", DEFAULT_MODEL, "--out", out)
    assert again.code == 2
    assert "already contains a model" in again.err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--model", DEFAULT_MODEL, "--to", "pickle"), "--to cannot be 'pickle'"),
        (("--model", "mtcnn"), "not a detector"),
        (("--model", DEFAULT_MODEL, "--precision", "int8"), "needs crops"),
        (("--model", DEFAULT_MODEL, "--precision", "int3"), "did you mean 'int8'?"),
        (("--model", DEFAULT_MODEL, "--data", "x"), "needs --precision int8"),
        (("--model", "convne"), "did you mean"),
    ],
)
def test_wrong_options_are_usage_errors(arguments, word, tmp_path):
    done = run("export", *arguments, "--out", tmp_path / "x")
    assert done.code == 2
    assert word in done.err
    assert not (tmp_path / "x").exists()
