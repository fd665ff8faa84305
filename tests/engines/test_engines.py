"""The contract of every engine: equal scores, and no silent replacement of a named device or file."""

from shutil import copytree

import numpy as np
import pytest
import torch

from deepscan import devices
from deepscan.engines import ENGINES
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.models.lookup import load_card
from tests.command import run_python
from tests.engines.running import assert_matches_torch, engine
from tests.tiny import pictures

#: The others need a GPU and have their own tests.
ON_CPU = [name for name in ENGINES.names if name not in ("tensorrt", "torch-compile")]


@pytest.mark.parametrize("name", ON_CPU)
def test_every_engine_matches_torch(published, name):
    assert_matches_torch(engine(published.card, name), published, 4)


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("count", [1, 3, 9])
def test_every_engine_takes_any_batch_and_scores_each_crop_independently(published, name, count):
    crops = pictures(count, published.network.side, seed=count)
    running = engine(published.card, name)
    together = running.run(published.inputs(crops))
    alone = running.run(published.inputs(crops[-1:]))
    assert together["probability"].shape == (count,)
    for output, value in together.items():
        assert value.dtype == np.float32
        assert len(value) == count
        # Blocked kernels sum in an order that depends on the batch size.
        np.testing.assert_allclose(alone[output][0], value[-1], atol=5e-5, err_msg=output)


@pytest.mark.parametrize("name", ON_CPU)
def test_every_engine_reports_what_it_runs_on(published, name):
    running = engine(published.card, name)
    assert (running.name, running.device, running.precision) == (name, "cpu", "fp32")
    assert running.providers
    assert running.file in published.card.files
    assert running.describe()


@pytest.mark.parametrize("name", ON_CPU)
def test_no_engine_replaces_a_device(published, name, monkeypatch):
    with pytest.raises(UsageError, match="tpu"):
        engine(published.card, name, device="tpu")
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    with pytest.raises(MissingError, match="GPU"):
        engine(published.card, name, device="cuda")


def test_a_torch_build_without_the_gpu_is_reported_and_only_auto_uses_the_cpu(published, monkeypatch):
    monkeypatch.setattr(devices, "cuda_devices", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    running = engine(published.card, "torch", device="auto")
    assert running.device == "cpu" and "cannot use it" in running.note
    with pytest.raises(MissingError, match="cannot use it"):
        engine(published.card, "torch", device="cuda")


@pytest.mark.parametrize("name", ON_CPU)
def test_no_engine_loads_a_file_that_the_card_does_not_name(published, name, tmp_path):
    kind = ENGINES.get(name).files["fp32"]
    card = load_card(copytree(published.card.folder, tmp_path, dirs_exist_ok=True))
    damaged = tmp_path / card.files[kind].path
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(ContractError, match="SHA-256"):
        engine(card, name)
    damaged.unlink()
    with pytest.raises(MissingError, match="is missing"):
        engine(card, name)


def test_bf16_is_close_but_coarser(published):
    crops = published.inputs(pictures(4, published.network.side, seed=1))
    exact = engine(published.card, "torch").run(crops)
    coarse = engine(published.card, "torch", precision="bf16").run(crops)
    # bfloat16 has 8 bits of mantissa: logits near 1 are off by a few hundredths.
    assert coarse["probability"] == pytest.approx(exact["probability"], abs=5e-2)
    assert (coarse["probability"] != exact["probability"]).any()
    assert all(value.dtype == np.float32 for value in coarse.values())


@pytest.mark.parametrize("name", ON_CPU)
def test_the_scorer_preprocesses_crops_as_the_card_says(published, name):
    crops = pictures(5, published.network.side, seed=1)
    views = [
        engine(published.card, name).run(published.inputs(crops, view))["probability"]
        for view in range(published.inputs.views)
    ]
    scorer = Scorer(load_card(published.card.folder), engine=name, device="cpu")
    assert scorer.score(crops) == pytest.approx(np.mean(views, axis=0), abs=1e-6)
    assert scorer.facts.to_json()["sha256"] == published.card.files[scorer.engine.file].sha256


def test_every_face_can_be_explained(published):
    crops = pictures(3, published.network.side, seed=1)
    scorer = Scorer(published.card, device="cpu")
    scores, explained = scorer.explain(crops)
    assert scores == pytest.approx(scorer.score(crops), abs=1e-6)
    with torch.no_grad():
        expected = published.network.predict(**published.given(crops))
    assert scorer.explanation_names == tuple(expected)[1:]
    assert all(tuple(explanation) == scorer.explanation_names for explanation in explained)
    for name, quantity in explained[0].items():
        assert quantity is not None, name
        if expected[name].ndim == 3:
            assert np.shape(quantity["maps"]) == expected[name].shape[1:]


def test_auto_uses_the_first_engine_that_the_model_has_a_file_for(published):
    assert Scorer(published.card, device="cpu").engine.name == "onnx"


def test_a_model_with_other_inputs_than_its_card_says_is_refused(published, tmp_path):
    copytree(published.card.folder, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "card.yaml").read_text()
    (tmp_path / "card.yaml").write_text(text.replace(f"side: {published.network.side}\n", "side: 48\n"))
    with pytest.raises(ContractError, match="fails on crops as described by its card"):
        Scorer(load_card(tmp_path), engine="onnx", device="cpu")


def test_scoring_with_the_exported_file_does_not_import_torch(published):
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from deepscan.models.lookup import load_card\n"
        "from deepscan.engines.scorer import Scorer\n"
        "scorer = Scorer(load_card(sys.argv[1]), device='cpu')\n"
        "scores, explained = scorer.explain(np.zeros((2, *[scorer.recipe.input_side] * 2, 3), np.uint8))\n"
        "assert np.isfinite(scores).all() and len(explained) == 2\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    ran = run_python("-c", code, published.card.folder)
    assert ran.code == 0, ran.err
