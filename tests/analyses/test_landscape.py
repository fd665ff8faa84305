"""Surfaces and ascents of a known quadratic loss, and the analysis of tiny networks."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from deepscan.analyses.crops import open_network
from deepscan.analyses.heads import head_parameters
from deepscan.analyses.landscape.analysis import LandscapeAnalysis
from deepscan.analyses.landscape.figure import draw_landscape
from deepscan.analyses.landscape.loss import WeightLoss, climb, direction, surface
from deepscan.detectors import DETECTORS
from deepscan.errors import ContractError, UsageError
from deepscan.training.run_files import save_best
from tests.analyses.datasets import dataset, kept, model, subject
from tests.detectors.tiny import TINY
from tests.evaluation.pictures import check_layout

QUICK = LandscapeAnalysis(points=3, radii=(0.05, 0.1), ascents=2, steps=2, crops=4)
DATA = [dataset("A", [2] * 4, [2] * 4)]


def quadratic(point, curvatures):
    """Return the loss 1/2 sum of c (w - 1)^2, in two parts, at given weights."""
    weights = torch.tensor(point, dtype=torch.float64, requires_grad=True)
    scales = torch.tensor(curvatures, dtype=torch.float64)

    def parts():
        for part in (slice(1), slice(1, None)):
            yield (scales[part] * (weights[part] - 1) ** 2 / 2).sum()

    return WeightLoss((weights,), parts), weights


def test_the_surface_of_a_quadratic_is_exact():
    loss, weights = quadratic([1.0, 1.0, 1.0], [1.0, 4.0, 9.0])
    first = [torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)]
    second = [torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)]
    steps = [-1.0, 0.0, 2.0]
    found = surface(loss, first, second, steps)
    assert found == pytest.approx(np.array([[a * a / 2 + b * b * 13 / 2 for b in steps] for a in steps]))
    assert weights.tolist() == [1.0, 1.0, 1.0]


def test_ascents_converge_to_the_sharpest_direction():
    loss, weights = quadratic([1.0, 1.0, 1.0], [1.0, 4.0, 9.0])
    start = [torch.tensor([1.0, 0.5, 0.5], dtype=torch.float64)]
    # At a minimum, the rise is 1/2 lambda_max rho^2, to which the power method converges.
    assert climb(loss, 0.2, start, 30) == pytest.approx(9 * 0.2**2 / 2)
    assert climb(loss, 0.2, start, 1) < 9 * 0.2**2 / 2
    assert weights.tolist() == [1.0, 1.0, 1.0]


def test_the_first_ascent_equals_sams():
    loss, weights = quadratic([2.0, 1.0, 1.0], [3.0, 4.0, 9.0])
    # The gradient points along the first axis: the loss there is 3/2 (1 + rho)^2.
    assert climb(loss, 0.1, None, 1) == pytest.approx(1.5 * 1.1**2)
    assert weights.tolist() == [2.0, 1.0, 1.0]


def test_without_a_gradient_there_is_no_ascent():
    loss, _ = quadratic([1.0, 1.0], [1.0, 1.0])
    assert climb(loss, 0.1, None, 3) == -np.inf


def test_a_direction_has_the_norms_of_the_filters():
    rng = torch.Generator().manual_seed(0)
    kernel, bias = torch.randn(4, 3, 2, 2, generator=rng), torch.randn(4, generator=rng)
    kernel[2] = 0
    found = direction([kernel, bias], (1, 0))
    assert torch.allclose(found[0].flatten(1).norm(dim=1), kernel.flatten(1).norm(dim=1))
    assert not found[1].any()
    assert not torch.allclose(found[0][0], kernel[0])
    whole = direction([kernel, bias], (1, 0), "tensor")
    assert whole[0].norm() == pytest.approx(float(kernel.norm()), rel=1e-5)
    assert whole[0][2].any()
    assert not torch.equal(direction([kernel], (2, 0))[0], direction([kernel], (1, 0))[0])


@pytest.mark.parametrize("method", ["unifd", "corit", "qtfp", "dfd-hr"])
def test_the_analysis_has_the_loss_of_the_model_and_of_all_points(method, tmp_path):
    card = model(method, tmp_path)
    progress = []
    data = dataset("A", [2] * 4, [2] * 4, side=card.crop.input_side)
    inputs = subject([data], card, on_progress=lambda *pieces: progress.append(pieces))
    found = QUICK.run(inputs)
    plane = [row for row in found.rows if row["what"] == "surface"]
    centre = [row for row in plane if row["a"] == row["b"] == 0]
    assert len(plane) == 9
    assert len(centre) == 1
    # The same sums, computed again.
    assert centre[0]["rise"] == pytest.approx(0, abs=1e-6)
    assert len({round(row["loss"], 6) for row in plane}) > 4
    ascents = [(row["radius"], row["start"]) for row in found.rows if row["what"] == "ascent"]
    assert ascents == [(radius, start) for radius in (0.05, 0.1) for start in ("gradient", "random 1")]
    # Up to eight crops of a label, or four if the backbone is moved; points; two steps of each ascent.
    total = (16 if method in ("unifd", "corit") else 8) + 9 + 2 * 4
    assert progress[-1] == (total, total)
    assert progress == sorted(set(progress))
    assert found.rows == QUICK.run(inputs).rows


def test_sam_climbs_from_the_head(tmp_path):
    card = model("unifd", tmp_path)
    found = dataclasses.replace(QUICK, steps=1).run(subject(DATA, card))
    rises = [row["rise"] for row in found.rows if row["start"] == "gradient"]
    # A convex loss rises along its gradient, more than proportionally.
    assert 0 < 2 * rises[0] < rises[1]
    assert "of 16 crops; moved: the head, 34 numbers" in found.lines[0]


def test_points_of_the_plane_have_their_distance_from_the_weights(tmp_path):
    card = model("unifd", tmp_path)
    found = dataclasses.replace(QUICK, reach=2.0).run(subject(DATA, card))
    distances = {(row["a"], row["b"]): row["radius"] for row in found.rows if row["what"] == "surface"}
    weights = [value for _, value in head_parameters(open_network(card).network) if value.ndim > 1]
    length = float(torch.cat([value.detach().flatten() for value in weights]).norm())
    # Each direction has the norm of the weights; biases do not move.
    assert distances[0, 0] == 0
    assert [distances[point] for point in ((2, 0), (0, 2), (-2, 0))] == pytest.approx([2 * length] * 3)
    # The directions are not quite orthogonal, so use the parallelogram law.
    assert distances[2, 2] ** 2 + distances[2, -2] ** 2 == pytest.approx(4 * (2 * length) ** 2)
    check_layout(found.figure)
    assert f"a step of 1 is a distance of {length:.3g}" in found.lines[2]


def test_all_landscapes_have_the_same_colour_scale(tmp_path):
    def drawn(scale):
        rows = [
            {"what": "surface", "a": a, "b": b, "radius": abs(a) + abs(b), "rise": scale * (a * a + b)}
            for a in (-1.0, 0.0, 1.0)
            for b in (-1.0, 0.0, 1.0)
        ]
        rows += [{"what": "ascent", "radius": 0.1, "start": "gradient", "rise": scale}]
        plane = draw_landscape(rows).axes[0]
        (filled,) = [collection for collection in plane.collections if getattr(collection, "filled", False)]
        return filled

    flat, steep = drawn(0.003), drawn(3.0)
    rises = [-2, -0.3, -0.004, 0, 0.004, 0.7, 30]
    assert flat.to_rgba(rises).tolist() == steep.to_rgba(rises).tolist()
    assert len({tuple(colour) for colour in flat.to_rgba(rises).tolist()}) == len(rises)


def tuned(tmp_path):
    """Return the card of a model with a training folder, and the network before its tuning was merged."""
    torch.manual_seed(0)
    network = DETECTORS.get("effort")().build(TINY["effort"])
    with torch.no_grad():
        for value in network.parameters():
            if value.requires_grad:
                value.add_(0.05 * torch.randn_like(value))
    as_trained = copy.deepcopy(network).eval()
    card = kept(network, "effort", tmp_path)
    save_best(tmp_path / "run" / "best.safetensors", as_trained)
    return card, as_trained


def test_the_trained_weights_are_moved_if_the_checkpoint_exists(tmp_path):
    card, as_trained = tuned(tmp_path)
    trained = sum(value.numel() for value in as_trained.parameters() if value.requires_grad)
    found = QUICK.run(subject(DATA, card))
    assert f"the trained weights, {trained:,} numbers" in found.lines[0]
    (tmp_path / "run" / "best.safetensors").unlink()
    whole = QUICK.run(subject(DATA, card))
    assert "all weights, as there is no training checkpoint" in whole.lines[0]
    # Merging the tuning does not change the model.
    losses = [
        row["loss"] for findings in (found, whole) for row in findings.rows if row["a"] == row["b"] == 0
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_checkpoint_of_another_network_is_rejected(tmp_path):
    card, _ = tuned(tmp_path)
    torch.manual_seed(0)
    other = DETECTORS.get("fft")().build(TINY["fft"])
    save_best(tmp_path / "run" / "best.safetensors", other)
    with pytest.raises(ContractError, match="belongs to a different network"):
        QUICK.run(subject(DATA, card))


@pytest.mark.parametrize(
    "wrong", [{"points": 4}, {"reach": 0.0}, {"norm": "layer"}, {"radii": (0.0,)}, {"ascents": 0}]
)
def test_options_out_of_range_are_rejected(wrong):
    with pytest.raises(UsageError):
        LandscapeAnalysis(**wrong)
