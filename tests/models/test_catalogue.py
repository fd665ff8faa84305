"""The catalogue is complete and consistent with the layouts and the full-size files."""

import re
from importlib.resources import files

import pytest
import torch

from deepscan.backbones.published import PUBLISHED
from deepscan.cards import embedded_folder
from deepscan.errors import UsageError
from deepscan.models.catalogue import PublishedFile, catalogue, published_model
from deepscan.models.layouts import WEIGHT_LAYOUTS
from tests.models import replicas
from tests.models.test_importing import LAYOUT_FILES


@pytest.fixture
def full_size(monkeypatch):
    """Make every replica a ViT-L of meta tensors."""
    sizes = {"WIDTH": 1024, "DEPTH": 24, "HIDDEN": 4096, "PROJECTED": 768, "GRID": 16}
    for name, value in {**sizes, "_ROUTED_DEPTH": 24, "_EXPERT": 256, "_JUDGE": 64}.items():
        monkeypatch.setattr(replicas, name, value)
    monkeypatch.setattr(
        replicas.Drawn, "__call__", lambda new, *shape, **options: torch.empty(shape, device="meta")
    )


@pytest.mark.parametrize(
    "name", [name for name, model in catalogue().items() if model.tensors and not model.refused]
)
def test_counts_match_full_size_files(name, full_size):
    model = catalogue()[name]
    weights = WEIGHT_LAYOUTS.get(model.layout)().needed(LAYOUT_FILES[model.layout]())
    elements = sum(value.numel() for value in weights.values())
    assert (len(weights), elements) == (model.tensors, model.elements)


@pytest.mark.parametrize("name", catalogue())
def test_an_entry_is_complete(name):
    model = published_model(name)
    assert model.layout in WEIGHT_LAYOUTS.names
    assert not (embedded_folder() / name).exists()
    assert not (model.refused and model.rank)
    assert model.terms and model.not_for and model.trained["data"]


@pytest.mark.parametrize("name", [name for name, model in catalogue().items() if model.rank])
def test_default_models_were_trained_on_faces_and_allow_commercial_use(name):
    model = published_model(name)
    assert "FaceForensics" in model.trained["data"]
    assert not any("commercial" in use for use in model.not_for)
    assert "-NC" not in model.license


def test_non_commercial_licenses_are_mentioned_in_not_for():
    for model in catalogue().values():
        assert ("-NC" in model.license) == any("commercial" in use for use in model.not_for), model.name


@pytest.mark.parametrize("name", catalogue())
def test_deviations_are_complete_sentences_and_video_rules_name_the_frames(name):
    model = published_model(name)
    last = model.deviates.split()[-1]
    assert last not in ("its", "and", "the", "where", "of", "a"), model.deviates
    assert "over 8 frames" not in model.video_rule


def test_every_anchor_of_the_catalogue_is_used():
    text = files("deepscan.models").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    anchors = set(re.findall(r"&(\w+)", text))
    assert anchors == set(re.findall(r"\*(\w+)", text))


def test_ranks_count_from_one_without_gaps():
    ranks = [model.rank for model in catalogue().values() if model.rank]
    assert sorted(ranks) == list(range(1, len(ranks) + 1))


@pytest.mark.parametrize("layout", WEIGHT_LAYOUTS.names)
def test_every_layouts_reference_model_has_the_backbones_normalisation(layout):
    reference = published_model(WEIGHT_LAYOUTS.get(layout).reference)
    assert reference.layout == layout
    backbone = {"gend-dinov3": "dinov3-vit-l16", "gend-pe": "pe-core-vit-l14"}.get(layout, "clip-vit-l14")
    if not reference.refused:
        assert (reference.mean, reference.std) == PUBLISHED[backbone].normalisation


def test_an_unknown_name_is_refused_with_the_closest():
    with pytest.raises(UsageError) as raised:
        published_model("effort-f")
    assert "effort-ff" in raised.value.hint


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"hub": "a/b", "revision": "main", "url": "https://x"},
        {"hub": "a/b"},
        {"page": "https://x", "sha256": "00"},
    ],
)
def test_a_source_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ValueError, match=r"hub needs|exactly one"):
        PublishedFile(publisher="p", file="f", **wrong)
