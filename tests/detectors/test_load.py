"""Loading a published network from its file: nothing is initialised, decomposed or left out."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from deepscan.detectors import DETECTORS, load_network
from deepscan.errors import ContractError
from tests.detectors.tiny import BACKBONE, card

NETWORK = {"backbone": BACKBONE, "queries": 2, "heads": 2}


@pytest.fixture
def path(tmp_path):
    torch.manual_seed(0)
    network = DETECTORS.get("qtfp")().build(NETWORK)
    network.train()(torch.randn(4, 3, 32, 32))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def loaded(path, **network):
    return load_network(card(path.parent, "qtfp", NETWORK | network))


def changed(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_nothing_is_initialised_at_random(path):
    before = torch.get_rng_state()
    network = loaded(path)
    assert torch.equal(torch.get_rng_state(), before)
    state, stored = network.state_dict(), load_file(path)
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], value) for name, value in stored.items())


def test_nothing_is_decomposed_even_with_a_tuning(path, monkeypatch):
    def decompose(*args, **kwargs):
        raise AssertionError("a decomposition of weights that will be overwritten")

    tuned = NETWORK | {"tuning": {"type": "effort", "rank": 1}}
    network = DETECTORS.get("qtfp")().build(tuned)
    save_file(network.state_dict(), path)
    monkeypatch.setattr(torch.linalg, "svd", decompose)
    restored = loaded(path, tuning=tuned["tuning"])
    crops = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = network.eval().predict(crops=crops)["probability"]
        assert torch.equal(restored.predict(crops=crops)["probability"], expected)


def test_half_precision_weights_become_float32_and_counters_stay_integers(path):
    def halve(tensors):
        for name, value in tensors.items():
            if value.is_floating_point():
                tensors[name] = value.half()

    changed(path, halve)
    state = loaded(path).state_dict()
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}


def test_only_batch_norm_counters_may_be_missing(path):
    def drop(suffix):
        def change(tensors):
            for name in [name for name in tensors if name.endswith(suffix)]:
                del tensors[name]

        return change

    changed(path, drop("num_batches_tracked"))
    network = loaded(path)
    assert not any(value.is_meta for value in (*network.parameters(), *network.buffers()))
    assert torch.isfinite(network.predict(crops=torch.randn(2, 3, 32, 32))["probability"]).all()
    changed(path, drop("running_mean"))
    with pytest.raises(ContractError, match="do not match its network: Missing key"):
        loaded(path)


def test_a_loaded_backbone_is_frozen(path):
    network = loaded(path)
    assert not any(value.requires_grad for value in network.backbone.parameters())
