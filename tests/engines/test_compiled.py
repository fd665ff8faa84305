"""The torch-compile engine, with a compiler that only traces and a CPU in place of the GPU."""

import pytest
import torch

from deepscan import devices
from deepscan.detectors import DETECTORS
from deepscan.engines import ENGINES, compiled
from deepscan.engines.scorer import Scorer
from deepscan.errors import MissingError, UsageError
from tests import tiny
from tests.engines.running import assert_matches_torch, engine

NAME = "torch-compile"


@pytest.fixture
def traced(monkeypatch):
    """Collect the traced graphs, which run uncompiled."""
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "DEVICE", "cpu")
    monkeypatch.setattr(compiled, "BACKEND", compiler)
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    torch._dynamo.reset()
    return graphs


#: One that compiles and one that cannot; tracing each of the others takes seconds.
QUICK = ("unifd", "dfd-hr")


@pytest.mark.parametrize(
    "published",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive) for name in DETECTORS.names],
    indirect=True,
)
def test_it_matches_torch_and_does_not_recompile_for_other_batch_sizes(published, traced):
    if published.card.method == "dfd-hr":
        with pytest.raises(UsageError, match="control flow"):
            engine(published.card, NAME)
        return
    running = engine(published.card, NAME)
    assert len(traced) == 1, "it must compile before the first batch"
    for count in (3, 9, 8):
        assert_matches_torch(running, published, count)
    # On a CPU a convolution of few crops may take another path than one of many, which is a second graph.
    assert len(traced) <= 2


@pytest.fixture(scope="module")
def card(published_folder):
    return tiny.published("unifd", published_folder / "unifd").card


@pytest.mark.slow
def test_the_golden_score_is_checked_and_the_compiler_recorded(card, traced):
    scorer = Scorer(card, engine=NAME, device="cpu")
    described = scorer.describe()
    details = described["details"]
    assert (described["name"], details["mode"], details["dynamic"]) == (NAME, "default", "batch")
    assert traced and scorer.facts.to_json()["sha256"] == card.files["torch"].sha256


@pytest.mark.slow
def test_a_network_that_cannot_be_compiled_is_an_error(card, monkeypatch):
    def compiler(graph, inputs):
        raise RuntimeError("no working C compiler\nand more lines")

    monkeypatch.setattr(compiled, "DEVICE", "cpu")
    monkeypatch.setattr(compiled, "BACKEND", compiler)
    torch._dynamo.reset()
    with pytest.raises(MissingError, match="no working C compiler") as raised:
        engine(card, NAME)
    assert "--engine torch" in raised.value.hint


def test_it_needs_a_gpu(card, monkeypatch):
    with pytest.raises(UsageError, match="GPU"):
        engine(card, NAME)
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    for device in ("auto", "cuda"):
        with pytest.raises(MissingError, match="reports no GPU"):
            engine(card, NAME, device=device)
    with pytest.raises(MissingError, match="reports no GPU"):
        ENGINES.get(NAME).describe()
    monkeypatch.setattr(devices, "cuda_devices", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("auto", "cuda"):
        with pytest.raises(MissingError, match="this build of torch cannot use it"):
            engine(card, NAME, device=device)
