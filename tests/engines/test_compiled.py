"""torch.compile as an engine, with what traces a network as its compiler and a CPU as its GPU."""

import pytest
import torch

from deepscan import devices
from deepscan.engines import ENGINES, compiled
from deepscan.engines.scorer import Scorer
from deepscan.errors import MissingError, UsageError
from tests import tiny
from tests.engines.running import engine, gives_what_the_network_gives

NAME = "torch-compile"


@pytest.fixture
def traced(monkeypatch):
    """Counts what is compiled: the graphs are real, and run as they are."""
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "DEVICE", "cpu")
    monkeypatch.setattr(compiled, "BACKEND", compiler)
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    torch._dynamo.reset()
    return graphs


def test_it_gives_what_the_network_gives_and_compiles_for_no_batch_anew(published, traced):
    if published.card.method == "dfd-hr":
        with pytest.raises(UsageError, match="chooses its way"):
            engine(published.card, NAME)
        return
    running = engine(published.card, NAME)
    assert len(traced) == 1, "compiled before the first batch"
    for count in (3, 9, 8):
        gives_what_the_network_gives(running, published, count)
    # On a CPU a convolution of few crops and one of many may go different ways, each a graph.
    assert len(traced) <= 2


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return tiny.published("unifd", tmp_path_factory.mktemp("compiled") / "unifd").card


def test_its_golden_score_is_checked_and_the_record_says_how_it_compiles(card, traced):
    scorer = Scorer(card, engine=NAME, device="cpu")
    told = scorer.describe()
    details = told["details"]
    assert (told["name"], details["mode"], details["dynamic"]) == (NAME, "default", "batch")
    assert traced and scorer.to_json()["sha256"] == card.files["torch"].sha256


def test_what_cannot_be_compiled_is_an_error_and_nothing_runs_in_its_place(card, monkeypatch):
    def compiler(graph, inputs):
        raise RuntimeError("no working C compiler\nand more of it")

    monkeypatch.setattr(compiled, "DEVICE", "cpu")
    monkeypatch.setattr(compiled, "BACKEND", compiler)
    torch._dynamo.reset()
    with pytest.raises(MissingError, match="no working C compiler") as raised:
        engine(card, NAME)
    assert "--engine torch" in raised.value.hint


def test_it_is_for_a_gpu_alone(card, monkeypatch):
    with pytest.raises(UsageError, match="GPU"):
        engine(card, NAME)
    monkeypatch.setattr(devices, "cuda_devices", lambda: 0)
    for asked in ("auto", "cuda"):
        with pytest.raises(MissingError, match="shows no"):
            engine(card, NAME, device=asked)
    with pytest.raises(MissingError, match="shows none"):
        ENGINES.get(NAME).describe()
    monkeypatch.setattr(devices, "cuda_devices", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for asked in ("auto", "cuda"):
        with pytest.raises(MissingError, match="this build of torch cannot use it"):
            engine(card, NAME, device=asked)
