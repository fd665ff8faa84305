"""The contract of every registered detection method."""

import dataclasses
from dataclasses import is_dataclass

import pytest
import torch
import torch.nn.functional as F

from deepscan.backbones.effort import EffortLinear
from deepscan.detectors import DETECTORS, load_network
from deepscan.detectors.detector import Batch, DetectionMethod
from deepscan.detectors.weights import save_weights
from deepscan.errors import ContractError, UsageError
from deepscan.training.recipe import load_recipe
from tests.backbones.tiny import count, without_gradient
from tests.detectors.tiny import BACKBONE, LABELS, TINY, card


def random_inputs(network, count):
    """Return random inputs of a network, by name."""
    crops, regions = (3, network.side, network.side), (3, network.backbone.grid**2)
    shapes = {"crops": crops, "counterparts": crops, "regions": regions}
    values = {name: torch.randn(count, *shapes[name]) for name in network.inputs}
    return {name: (value > 0).float() if name == "regions" else value for name, value in values.items()}


@pytest.fixture(params=DETECTORS.names)
def method(request):
    return request.param


@pytest.fixture
def detector(method):
    return DETECTORS.get(method)()


@pytest.fixture
def network(method, detector):
    return detector.build(TINY[method])


def test_a_method_is_a_frozen_dataclass(detector):
    assert isinstance(detector, DetectionMethod)
    assert is_dataclass(detector)
    with pytest.raises(AttributeError):
        detector.something_new = 1


def test_its_own_recipe_builds_it(method):
    recipe = load_recipe(method)
    # A ViT-L without values: only construction is tested.
    with torch.device("meta"):
        assert DETECTORS.get(method)(**recipe.loss).build(recipe.network)


def test_outputs_are_probabilities_and_distributions(network):
    inputs = random_inputs(network, 5)
    output = network.eval()(**inputs)
    predicted = network.predict(**inputs)
    assert output.logits.shape == (5, 2)
    assert predicted["probability"].shape == (5,)
    assert ((predicted["probability"] > 0) & (predicted["probability"] < 1)).all()
    for values in output.explanation.values():
        assert values.shape == (5,) or values.shape[::2] == (5, 4)
    if "attention" in predicted:
        torch.testing.assert_close(
            predicted["attention"].sum(dim=2), torch.ones(predicted["attention"].shape[:2])
        )


def test_a_higher_fake_logit_gives_a_higher_probability(network):
    output = network.eval()(**random_inputs(network, 1))
    higher = dataclasses.replace(output, logits=output.logits + torch.tensor([0.0, 1.0]))
    assert higher.probability > output.probability


def test_the_loss_trains_every_parameter_and_decreases(detector, network):
    torch.manual_seed(1)
    inputs, labels = random_inputs(network, 8), torch.tensor([0, 1] * 4)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    losses = []
    for _ in range(20):
        total, parts = detector.loss(network(**inputs), Batch(inputs, labels))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(float(total.detach()))
    assert not without_gradient(network)
    assert losses[-1] < losses[0]
    assert all(not part.requires_grad for part in parts.values())


@pytest.mark.parametrize("label", [0, 1])
def test_a_batch_of_one_class_has_a_finite_loss(detector, network, label):
    total, _ = detector.loss(network(**random_inputs(network, 2)), Batch({}, torch.full((2,), label)))
    assert torch.isfinite(total)


def test_the_loss_is_float32_under_autocast(detector, network):
    output, batch = network(**random_inputs(network, 4)), Batch({}, LABELS)
    plain, _ = detector.loss(output, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(detector.loss(output, batch)[0], plain)


@pytest.mark.parametrize("method", [name for name in DETECTORS.names if name != "dfd-hr"])
def test_label_smoothing_is_applied_and_checked(method):
    kind, network = DETECTORS.get(method), DETECTORS.get(method)().build(TINY[method])
    output, batch = network(**random_inputs(network, 4)), Batch({}, LABELS)
    expected = F.cross_entropy(output.logits, batch.labels, label_smoothing=0.1)
    torch.testing.assert_close(kind(label_smoothing=0.1).loss(output, batch)[1]["cls"], expected.detach())
    with pytest.raises(UsageError, match="label_smoothing"):
        kind(label_smoothing=1.5)


@pytest.mark.parametrize(
    ("method", "tuning", "parameters"),
    [
        # UniFD's head: 768 to 2. The others have a head of 1024 to 2 and the tuned parameters.
        ("unifd", "frozen", 1_538),
        # Printed in QTFP's Table 5 as 0.19 M and 1.77 M.
        ("effort", "effort", 196_704 + 2_050),
        ("lora", "lora", 1_769_472 + 2_050),
        ("fft", "fft", 303_179_776 + 2_050),
        # 50 norms of 1024 weights and biases: the tensors of the released checkpoint that differ from CLIP's.
        ("gend", "norm", 50 * 2 * 1024 + 2_050),
        # Four queries and their attention add 4.20 M: printed as 4.39 M and 5.97 M, without the head.
        ("qtfp", "effort", 4_198_400 + 4 * 1024 + 196_704 + 2_050),
        ("qtfp", "lora", 4_198_400 + 4 * 1024 + 1_769_472 + 2_050),
    ],
)
def test_a_recipe_trains_the_published_number_of_parameters(method, tuning, parameters):
    recipe = load_recipe(method, overrides=[f"network.tuning.type={tuning}"] if method == "qtfp" else [])
    assert recipe.network["tuning"]["type"] == tuning
    with torch.device("meta"):
        network = DETECTORS.get(method)().build(recipe.network)
    assert count(network, trained=True) == parameters


@pytest.mark.parametrize("method", ["effort", "qtfp"])
def test_efforts_penalties_are_added_if_on(method):
    kind = DETECTORS.get(method)
    network = kind().build({**TINY[method], "tuning": {"type": "effort"}})
    for module in network.backbone.modules():
        if isinstance(module, EffortLinear):
            module.s.data *= 2
            module.u.data += 0.1
    output, batch = network(**random_inputs(network, 4)), Batch({}, LABELS)
    without, fewer = kind().loss(output, batch)
    total, parts = kind(lambda_orth=0.5, lambda_keepsv=0.25).loss(output, batch)
    assert parts.keys() - fewer.keys() == {"orth", "keepsv"}
    assert min(parts["orth"], parts["keepsv"]) > 0
    torch.testing.assert_close(total, without + 0.5 * parts["orth"] + 0.25 * parts["keepsv"])
    untuned = kind().build({**TINY[method], "tuning": {"type": "fft"}})
    with pytest.raises(UsageError, match="Effort"):
        kind(lambda_keepsv=1.0).loss(untuned(**random_inputs(untuned, 4)), batch)


def test_a_seed_determines_the_network(method, detector):
    built = []
    for _ in range(2):
        torch.manual_seed(3)
        built.append(detector.build(TINY[method]).state_dict())
    assert all(torch.equal(built[0][name], built[1][name]) for name in built[0])


def test_a_wrong_key_of_the_network_is_a_usage_error(method, detector):
    with pytest.raises(UsageError, match="no_such_key"):
        detector.build({**TINY[method], "no_such_key": 1})
    with pytest.raises(UsageError, match="no_such_key"):
        detector.build({**TINY[method], "backbone": {**BACKBONE, "no_such_key": 1}})


def test_a_card_restores_the_network(method, network, tmp_path):
    inputs = random_inputs(network, 4)
    network.train()(**inputs)  # changes the batch norms' statistics from their defaults
    save_weights(tmp_path / "model.safetensors", network)
    loaded = load_network(card(tmp_path, method, TINY[method]))
    assert not loaded.training
    assert torch.equal(
        loaded.predict(**inputs)["probability"], network.eval().predict(**inputs)["probability"]
    )


def test_weights_of_another_network_are_refused(method, network, tmp_path):
    save_weights(tmp_path / "model.safetensors", network)
    other = {**TINY[method], "backbone": {**BACKBONE, "width": 32}}
    with pytest.raises(ContractError, match="do not match"):
        load_network(card(tmp_path, method, other))
