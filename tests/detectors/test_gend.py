"""GenD: its head's input, its losses on the sphere, and which parameters train."""

import pytest
import torch
import torch.nn.functional as F

from deepscan.detectors.detector import Batch
from deepscan.detectors.gend import GenD, GenDNetwork, alignment, uniformity
from deepscan.errors import UsageError
from tests.detectors.tiny import BACKBONE, LABELS, small_backbone


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("feature", ["cls", "projected"])
def test_the_head_gets_the_token_at_length_one_if_normalise_is_on(feature, normalise, prefix, crops):
    network = GenDNetwork(small_backbone(prefix), feature, normalise=normalise).eval()
    output = network(crops)
    token = output.tokens.cls
    if feature == "projected":
        token = network.backbone.projection(token)
    unit = token / token.square().sum(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(output.embedding, unit)
    torch.testing.assert_close(output.logits, network.head(unit if normalise else token))
    assert not torch.allclose(network.head(unit), network.head(token))


def test_the_losses_match_wang_and_isolas_means_over_pairs():
    x = F.normalize(torch.randn(5, 3, dtype=torch.float64), dim=1)
    labels = torch.tensor([0, 1, 0, 0, 1])
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    distances = {(i, j): float((x[i] - x[j]).norm()) ** 2 for i, j in pairs}
    mean = sum(torch.tensor(-2 * value).exp() for value in distances.values()) / len(pairs)
    same_label = [value for (i, j), value in distances.items() if labels[i] == labels[j]]
    assert len(same_label) == 4
    # The expected values pass through float32.
    torch.testing.assert_close(uniformity(x), mean.log().double(), rtol=1e-5, atol=0)
    assert float(alignment(x, labels)) == pytest.approx(sum(same_label) / 4)


def test_uniformity_of_equal_points_has_a_finite_gradient():
    x = torch.nn.Parameter(torch.ones(3, 4))
    uniformity(F.normalize(x, dim=1)).backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(("count", "labels"), [(1, [0]), (2, [0, 1])])
def test_without_a_pair_the_losses_and_gradients_are_zero(count, labels):
    x = F.normalize(torch.randn(count, 4), dim=1).requires_grad_()
    total = alignment(x, torch.tensor(labels)) + (uniformity(x) if count == 1 else 0)
    total.backward()
    assert float(total.detach()) == 0
    assert not x.grad.any()


def test_the_total_is_the_weighted_sum_of_its_parts(crops):
    output = GenDNetwork(small_backbone())(crops)
    total, parts = GenD(lambda_uniformity=0.3, lambda_alignment=0.7).loss(output, Batch({}, LABELS))
    assert min(-parts["uniformity"], parts["alignment"]) > 0
    torch.testing.assert_close(total, parts["cls"] + 0.3 * parts["uniformity"] + 0.7 * parts["alignment"])


def test_the_embedding_is_float32_under_autocast(crops):
    with torch.autocast("cpu", torch.bfloat16):
        output = GenDNetwork(small_backbone())(crops)
        total, _ = GenD().loss(output, Batch({}, LABELS))
    assert total.dtype == output.embedding.dtype == torch.float32
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(4))


def test_the_norms_train_by_default():
    network = GenD().build({"backbone": BACKBONE})
    trained = {name for name, value in network.backbone.named_parameters() if value.requires_grad}
    assert trained
    assert all("ln_" in name for name in trained)


def test_a_negative_weight_is_refused():
    with pytest.raises(UsageError, match="at least 0"):
        GenD(lambda_alignment=-0.1)
