"""Critical radii and signal-to-noise ratios of known cases, and the analysis of tiny networks."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from deepscan.analyses.collapse.analysis import CollapseAnalysis
from deepscan.analyses.collapse.gradients import Geometry, critical, geometry
from deepscan.analyses.crops import open_network
from deepscan.analyses.features import FOLDS, ForgeryRows, distinct_crops, extract_features, forgeries
from deepscan.analyses.heads import (
    HeadPlan,
    LinearProbe,
    auc_and_loss,
    head_parameters,
    probe_margins,
    train_head,
    train_probes,
)
from deepscan.detectors.detector import FrozenNetwork
from deepscan.errors import MissingError, UsageError
from deepscan.training.sam import SAM
from tests.analyses.datasets import dataset, model, subject
from tests.evaluation.pictures import check_layout

PLAN = HeadPlan(steps=60, batch=8, lr=0.05, momentum=0.9)
QUICK = CollapseAnalysis(radii=(0.0, 0.1), scan=(0.1, 1.0), repeats=2, steps=20, batch=8)


def two_classes(mean, sigma):
    """Return points with the exact moments of two Gaussians at -mean and +mean with variance sigma^2."""
    width = len(mean)
    cross = np.concatenate((np.eye(width), -np.eye(width))) * sigma * np.sqrt(width)
    features = np.concatenate((cross - mean, cross + mean))
    return features, np.repeat([0, 1], len(cross))


def noisy(count=60, width=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = rng.standard_normal((count, width)) + 0.6 * labels[:, None] + 1.0
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


def test_geometry_of_two_gaussian_classes_follows_from_their_moments():
    mean, sigma = np.array([0.6, 0.8, 0.0]), 2.0
    found = geometry(*two_classes(mean, sigma), np.zeros(12))
    # At weights of 0, every error is 1/2 and every p (1 - p) is 1/4. The signal is |mu|^2 / 2, the noise
    # (D sigma^2 + 1) / 2, and the largest eigenvalue of the Hessian, along mu, (sigma^2 + |mu|^2) / 2.
    assert found.signal == pytest.approx(0.5)
    assert found.gsnr == pytest.approx(1 / (3 * 4 + 1))
    assert found.sharpness == pytest.approx(2.5)
    assert found.bound == pytest.approx(math.sqrt(0.5) / 2.5)
    # The trace of the Hessian equals the second moment of the gradients, so nothing is misspecified.
    assert found.residual == pytest.approx(0, abs=1e-12)
    assert found.misspecification == pytest.approx(1)


def test_geometry_equals_autograd():
    features, labels = noisy(count=15, width=3)
    flat = torch.randn(8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(flat, x, y):
        return F.cross_entropy(x.double() @ flat[:6].reshape(2, 3).T + flat[6:], y)

    gradients = torch.stack(
        [
            torch.autograd.functional.jacobian(lambda w, x=x, y=y: loss(w, x[None], y[None]), flat)
            for x, y in zip(features, labels, strict=True)
        ]
    )
    hessian = torch.autograd.functional.hessian(lambda w: loss(w, features, labels), flat)
    mean = gradients.mean(dim=0)
    difference = flat[:6].reshape(2, 3)
    margins = features.double() @ (difference[1] - difference[0]) + flat[7] - flat[6]
    found = geometry(features.double().numpy(), labels.numpy(), margins.numpy())
    assert found.signal == pytest.approx(float(mean @ mean))
    assert found.noise == pytest.approx(float((gradients - mean).square().sum(dim=1).mean()))
    assert found.curvature == pytest.approx(float(hessian.trace()))
    assert found.sharpness == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]))
    # Theorem 1: the three factors of Eq. 13 make the bound of Eq. 10.
    assert found.flatness * found.misspecification * found.fidelity == pytest.approx(found.bound)


def test_the_bottleneck_has_the_smallest_bound():
    # |grad L| / lambda_max: 2, 1 and 3.
    path = [Geometry(4, 1, 9, 1), Geometry(4, 1, 9, 2), Geometry(9, 1, 9, 1)]
    assert critical(path) == 1


def test_a_saturated_head_has_no_curvature_and_no_bound():
    features, labels = two_classes(np.array([1.0]), 0.1)
    found = geometry(features, labels, np.where(labels == 1, 1e4, -1e4))
    assert found.bound == math.inf
    assert found.gsnr == math.inf
    assert found.fidelity == 1.0


def test_the_auc_is_correct_for_saturated_probabilities():
    auc, loss = auc_and_loss(np.array([0, 1, 0, 1]), torch.tensor([500.0, 900.0, 600.0, 550.0]))
    assert auc == 0.75
    assert loss == pytest.approx(275)


@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_parallel_probes_equal_sam_on_a_linear_layer(radius):
    features, labels = noisy()
    samples = np.arange(5, 45)
    torch.manual_seed(7)
    head = nn.Linear(features.shape[1], 2)
    sam = SAM(torch.optim.SGD(head.parameters(), lr=PLAN.lr, momentum=PLAN.momentum), radius)
    for batch in PLAN.batches(len(samples), 7):
        x, y = features[samples[batch]], labels[samples[batch]]
        for turn in range(2):
            if turn:
                sam.ascend()
            sam.base.zero_grad()
            F.cross_entropy(head(x), y).backward()
        sam.descend()
    probes = [LinearProbe(samples, 5.0, 7), LinearProbe(samples, radius, 7)]
    weights = train_probes(features, labels, probes, PLAN)
    with torch.no_grad():
        logits = head(features)
    # Float32 sums in a different order, over 60 steps.
    assert torch.allclose(probe_margins(features, weights)[1], logits[:, 1] - logits[:, 0], atol=1e-4)


def test_on_step_is_called_before_every_step_and_at_the_end():
    features, labels = noisy()
    by_step = {}
    probes = [LinearProbe(np.arange(40), 0.0, 1)]
    plan = dataclasses.replace(PLAN, steps=3)
    weights = train_probes(features, labels, probes, plan, by_step.setdefault)
    assert list(by_step) == [0, 1, 2, 3]
    assert not torch.equal(by_step[0], by_step[1])
    assert torch.equal(by_step[3], weights)


def test_batches_contain_every_sample_once_per_epoch():
    batches = list(HeadPlan(steps=4, batch=3, lr=1, momentum=0).batches(6, 0))
    assert sorted(np.concatenate(batches[:2])) == sorted(np.concatenate(batches[2:])) == list(range(6))


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    """A tiny model of each method."""
    return {method: model(method, tmp_path_factory.mktemp(method)) for method in ("unifd", "corit", "qtfp")}


def test_a_head_is_retrained_and_the_backbone_is_unchanged(cards):
    network = open_network(cards["corit"]).network
    assert isinstance(network, FrozenNetwork)
    backbone = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    features = torch.randn(40, 8, 16, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2
    features = features + labels[:, None, None] * 0.5
    before = [value.detach().clone() for _, value in head_parameters(network)]
    train_head(network, features, labels, 0.05, PLAN, 3)
    logits = network.classify(features).detach()
    assert auc_and_loss(labels.numpy(), logits[:, 1] - logits[:, 0])[0] > 0.95
    trained = [value.detach().clone() for _, value in head_parameters(network)]
    assert all(not torch.equal(old, new) for old, new in zip(before, trained, strict=True))
    # The same seed gives the same head, whatever the previous weights.
    train_head(network, features, labels, 0.05, PLAN, 3)
    assert all(
        torch.equal(old, value) for old, (_, value) in zip(trained, head_parameters(network), strict=True)
    )
    assert all(torch.equal(backbone[name], value) for name, value in network.backbone.state_dict().items())


@pytest.mark.parametrize("method", ["unifd", "corit"])
def test_own_features_are_the_inputs_of_the_head(method, cards):
    opened = open_network(cards[method])
    found = distinct_crops(forgeries(subject([dataset("A", [3] * 4, [3] * 4)])))
    features = extract_features(opened, found)
    inputs = opened.prepare(np.stack([crop.reader(crop.video, crop.number) for crop in found]))
    with torch.no_grad():
        expected = opened.network(**inputs).logits
        logits = opened.network.classify(features.own)
    # Different batch sizes may change the order of sums.
    assert torch.allclose(logits, expected, atol=1e-4)
    assert features.layers.shape[:2] == (24, 2)


def test_the_last_layers_token_is_the_backbones_output(cards):
    opened = open_network(cards["qtfp"])
    found = distinct_crops(forgeries(subject([dataset("A", [2] * 3, [2] * 3)])))
    features = extract_features(opened, found)
    inputs = opened.prepare(np.stack([crop.reader(crop.video, crop.number) for crop in found]))
    with torch.no_grad():
        tokens = opened.network.backbone(inputs["crops"])
    assert torch.allclose(features.layers[:, -1], tokens.cls, atol=1e-5)
    assert torch.equal(features.own, features.layers[:, -1])


def test_a_convolutional_network_has_one_layer(tmp_path):
    backbone = {"name": "convnet", "side": 32, "channels": [4, 8], "pairs": [0, 1]}
    card = model("fft", tmp_path, backbone=backbone)
    found = QUICK.run(subject([dataset("A", [2] * 12, [2] * 12)], card))
    assert {row["layer"] for row in found.rows} == {"", 1}


def test_a_kind_of_fake_has_as_many_reals_which_are_extracted_once():
    two = dataset("A", [4] * 6, [4] * 3)
    other = dataclasses.replace(dataset("B", [], [2] * 3), groups={("B-fake", "fake-0"): "person"})
    found = forgeries(subject([two, other], max_crops=10))
    assert [(forgery.data, forgery.kind, len(forgery.crops)) for forgery in found] == [
        ("A", "A-fake", 20),
        ("B", "B-fake", 12),
    ]
    assert all(crop.label == index % 2 for forgery in found for index, crop in enumerate(forgery.crops))
    # B has no reals, so those of A are used for both.
    assert len(distinct_crops(found)) == 10 + 10 + 6
    assert [crop.group for crop in found[1].crops if crop.video.name == "fake-0"] == ["person"] * 2


def test_groups_are_not_shared_by_training_and_held_out_parts():
    data = dataclasses.replace(
        dataset("A", [2] * 9, [2] * 9),
        groups={
            (f"A-{kind}", f"{kind}-{row}"): f"{row // 2}" for kind in ("real", "fake") for row in range(9)
        },
    )
    (found,) = forgeries(subject([data]))
    crops = found.crops
    labels = np.array([crop.label for crop in crops])
    groups = tuple(crop.group for crop in crops)
    case = ForgeryRows(found.data, found.kind, np.arange(len(crops)), groups)
    held_out = set()
    for seed in range(8):
        trained, left_out = case.split(labels, seed)
        assert sorted([*trained, *left_out]) == list(range(36))
        assert not {groups[row] for row in trained} & {groups[row] for row in left_out}
        held_out |= set(left_out.tolist())
    assert len(held_out) > 36 / FOLDS


@pytest.mark.slow
@pytest.mark.parametrize("method", ["corit", "qtfp"])
def test_the_analysis_has_radii_layers_and_steps(method, cards):
    progress = []
    data = [dataset("A", [2] * 12, [2] * 12)]
    findings = QUICK.run(subject(data, cards[method], on_progress=lambda *pieces: progress.append(pieces)))
    rows = {}
    for row in findings.rows:
        rows.setdefault(row["what"], []).append(row)
    assert [row["radius"] for row in rows["radius"]] == [0.0, 0.1]
    assert [row["layer"] for row in rows["layer"]] == [1, 2]
    assert len(rows["layer radius"]) == 2 * 3
    steps = [row["step"] for row in rows["step"] if row["layer"] == 1]
    assert steps[:4] == [0, 1, 2, 3]
    assert steps[-1] == 20
    assert steps == sorted(steps)
    for row in rows["layer"]:
        of_layer = [step for step in rows["step"] if step["layer"] == row["layer"]]
        assert row["cor_theory"] == min(step["bound"] for step in of_layer)
        assert row["cor_theory"] == pytest.approx(row["flatness"] * row["misspecification"] * row["fidelity"])
    assert progress[-1] == (48 + 2 * 2 + 2, 48 + 2 * 2 + 2)
    assert progress == sorted(progress)
    assert "UniFD 0.57 0.49 0.04 0.03 0.01" in findings.lines[-1]
    by_radius, by_layer = findings.figure.axes[:2]
    assert [line.get_ydata().tolist() for line in by_radius.lines[:1]] == [
        [row["auc"] for row in rows["radius"]]
    ]
    assert [list(line.get_ydata()) for line in by_layer.lines[:2]] == [
        [row[name] for row in rows["layer"]] for name in ("cor", "cor_theory")
    ]
    check_layout(findings.figure)
    assert QUICK.run(subject(data, cards[method])).rows == findings.rows


def test_the_critical_radius_is_the_last_before_the_first_collapse():
    analysis = CollapseAnalysis(scan=(0.1, 0.2, 0.4), collapsed=0.6)
    assert analysis._radius([0.9, 0.8, 0.55, 0.9]) == {"cor": 0.1, "reached": "yes"}
    assert analysis._radius([0.9, 0.8, 0.8, 0.7]) == {"cor": 0.4, "reached": "no"}
    assert analysis._radius([0.5, 0.5, 0.5, 0.5]) == {"cor": 0.0, "reached": "without SAM"}


def test_too_few_data_are_rejected_or_skipped(cards):
    few = dataset("B", [1, 1], [1])
    with pytest.raises(UsageError, match="B, B-fake: 2 crops in 2 groups are too few"):
        QUICK.run(subject([few], cards["unifd"]))
    enough = dataset("A", [2] * 12, [2] * 12)
    progress = []
    findings = QUICK.run(
        subject([enough, few], cards["unifd"], on_progress=lambda *pieces: progress.append(pieces))
    )
    # The crops, and for each kind two radii with two repeats and two layers.
    assert progress[-1] == (50 + 2 * 6, 50 + 2 * 6)
    assert {row["data"] for row in findings.rows} == {"A"}
    assert any(line.startswith("skipped: B, B-fake") for line in findings.lines)
    with pytest.raises(MissingError, match="no crops"):
        QUICK.run(subject([], cards["unifd"]))


@pytest.mark.parametrize(
    "wrong", [{"radii": ()}, {"radii": (0.2, 0.1)}, {"scan": (0.0, 0.1)}, {"steps": 0}, {"momentum": 1.0}]
)
def test_options_out_of_range_are_rejected(wrong):
    with pytest.raises(UsageError):
        CollapseAnalysis(**wrong)
