"""Contract of every engine: the same network gives the same scores, and nothing asked for is replaced."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepscan import cards
from deepscan.cards import ModelCard, ModelFile, sha256_of
from deepscan.detectors import DETECTORS
from deepscan.engines import ENGINES, device
from deepscan.engines.export import export_onnx
from deepscan.engines.golden import golden_crops, normalised
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.faces.recipe import CropRecipe
from deepscan.scan.scorer import Scorer
from tests.detectors.test_contract import TINY

SIDE = 32
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
NETWORK = TINY["qtfp"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with a file for every engine, all of one random network."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    torch.manual_seed(0)
    network = DETECTORS.get("qtfp")().build(NETWORK).eval()
    save_file(network.state_dict(), folder / "model.safetensors")
    export_onnx(network, folder / "model.onnx", side=SIDE, mean=MEAN, std=STD, metadata={})
    card = ModelCard(
        folder=folder,
        name="tiny",
        method="qtfp",
        summary="random",
        license="Apache-2.0",
        files={
            kind: ModelFile(name, sha256_of(folder / name))
            for kind, name in (("onnx", "model.onnx"), ("torch", "model.safetensors"))
        },
        network=NETWORK,
        crop=CropRecipe(side=SIDE),
        mean=MEAN,
        std=STD,
    )
    (folder / "card.yaml").write_text(card.to_yaml(), encoding="utf-8")
    return folder


def engine(folder, name, **options):
    asked = {"device": "cpu", "precision": "auto", "threads": 1} | options
    return ENGINES.get(name)(cards.load(folder), **asked)


@pytest.mark.parametrize("name", ENGINES.names)
def test_every_engine_gives_the_scores_of_the_network(folder, name):
    crops = golden_crops(SIDE)
    torch.manual_seed(0)
    network = DETECTORS.get("qtfp")().build(NETWORK).eval()
    pixels = torch.from_numpy(crops).float() / 255
    batch = ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = torch.softmax(network(batch).logits, dim=1)[:, 1].numpy()
    found = engine(folder, name).run({"crops": normalised(crops, MEAN, STD)})["probability"]
    # float32 sums in another order differ in the last digits; the export's own gate is 1e-3
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ENGINES.names)
@pytest.mark.parametrize("count", [1, 3, 33])
def test_every_engine_takes_any_batch_and_scores_each_crop_by_itself(folder, name, count):
    crops = np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    running = engine(folder, name)
    together = running.run({"crops": normalised(crops, MEAN, STD)})
    assert together["probability"].shape == (count,)
    assert together["probability"].dtype == np.float32
    assert together["attention"].shape[0] == count
    alone = running.run({"crops": normalised(crops[-1:], MEAN, STD)})
    # blocked kernels sum in an order that depends on the batch
    assert alone["probability"][0] == pytest.approx(together["probability"][-1], abs=1e-5)


@pytest.mark.parametrize("name", ENGINES.names)
def test_every_engine_says_what_it_runs_on(folder, name):
    running = engine(folder, name)
    assert (running.name, running.device, running.precision) == (name, "cpu", "fp32")
    assert running.providers
    assert running.file in cards.load(folder).files
    assert running.describe()


@pytest.mark.parametrize("name", ENGINES.names)
def test_no_engine_replaces_a_precision_or_a_device(folder, name, monkeypatch):
    with pytest.raises(UsageError, match="int3"):
        engine(folder, name, precision="int3")
    with pytest.raises(UsageError, match="tpu"):
        engine(folder, name, device="tpu")
    monkeypatch.setattr(device, "cuda_devices", lambda: 0)
    with pytest.raises(MissingError, match="GPU"):
        engine(folder, name, device="cuda")


@pytest.mark.parametrize("name", ENGINES.names)
def test_no_engine_loads_a_file_that_the_card_does_not_name(folder, name, tmp_path):
    card = cards.load(folder)
    kind = ENGINES.get(name).file
    (tmp_path / "copy").mkdir()
    for file in folder.iterdir():
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    damaged = tmp_path / "copy" / card.files[kind].path
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(ContractError, match="SHA-256"):
        engine(tmp_path / "copy", name)
    damaged.unlink()
    with pytest.raises(MissingError, match="is not there"):
        engine(tmp_path / "copy", name)


def test_bf16_is_close_but_coarser(folder):
    crops = normalised(golden_crops(SIDE), MEAN, STD)
    exact = engine(folder, "torch").run({"crops": crops})["probability"]
    coarse = engine(folder, "torch", precision="bf16").run({"crops": crops})["probability"]
    # bfloat16 has 8 bits of mantissa: logits near 1 are off by some hundredths
    assert coarse == pytest.approx(exact, abs=3e-2)
    assert (coarse != exact).any()


@pytest.mark.parametrize("name", ENGINES.names)
def test_the_scorer_prepares_crops_as_the_card_says(folder, name):
    crops = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    expected = engine(folder, name).run({"crops": normalised(crops, MEAN, STD)})["probability"]
    scorer = Scorer(cards.load(folder), engine=name, device="cpu")
    assert scorer.score(crops) == pytest.approx(expected, abs=1e-6)
    assert scorer.to_json()["sha256"] == cards.load(folder).files[scorer.engine.file].sha256


def test_auto_takes_the_first_engine_that_the_model_has_a_file_for(folder):
    card = cards.load(folder)
    assert Scorer(card, device="cpu").engine.name == "onnx"
