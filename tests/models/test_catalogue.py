"""The catalogue against the layouts: what it counts is what a file of the full size holds."""

import re
from importlib.resources import files

import pytest
import torch

from deepscan.backbones.published import PUBLISHED
from deepscan.cards import embedded_folder
from deepscan.errors import UsageError
from deepscan.models.catalogue import PublishedFile, catalogue, known
from deepscan.models.layouts import WEIGHT_LAYOUTS
from tests.models import replicas
from tests.models.test_importing import LAYOUT_FILES


@pytest.fixture
def full_size(monkeypatch):
    """ViT-L in every replica, of tensors that have a shape alone."""
    sizes = {"WIDTH": 1024, "DEPTH": 24, "HIDDEN": 4096, "PROJECTED": 768, "GRID": 16}
    for name, value in {**sizes, "_ROUTED_DEPTH": 24, "_EXPERT": 256, "_JUDGE": 64}.items():
        monkeypatch.setattr(replicas, name, value)
    monkeypatch.setattr(
        replicas.Drawn, "__call__", lambda new, *shape, **how: torch.empty(shape, device="meta")
    )


@pytest.mark.parametrize(
    "name", [name for name, each in catalogue().items() if each.tensors and not each.refused]
)
def test_counts_are_those_of_the_full_size(name, full_size):
    wanted = catalogue()[name]
    weights = WEIGHT_LAYOUTS.get(wanted.layout)().needed(LAYOUT_FILES[wanted.layout]())
    elements = sum(value.numel() for value in weights.values())
    assert (len(weights), elements) == (wanted.tensors, wanted.elements)


@pytest.mark.parametrize("name", catalogue())
def test_what_is_known_of_a_model_is_whole(name):
    wanted = known(name)
    assert wanted.layout in WEIGHT_LAYOUTS.names
    assert not (embedded_folder() / name).exists()
    assert not (wanted.refused and wanted.rank)
    assert wanted.terms and wanted.not_for and wanted.trained["data"]


@pytest.mark.parametrize("name", [name for name, each in catalogue().items() if each.rank])
def test_a_scan_takes_by_itself_what_was_trained_on_faces_and_may_be_used_for_money(name):
    assert "FaceForensics" in known(name).trained["data"]
    assert not any("commercial" in use for use in known(name).not_for)
    assert "-NC" not in known(name).license


def test_what_its_licence_keeps_from_commercial_use_says_so():
    for each in catalogue().values():
        assert ("-NC" in each.license) == any("commercial" in use for use in each.not_for), each.name


@pytest.mark.parametrize("name", catalogue())
def test_what_is_done_otherwise_is_told_to_the_end(name):
    """And where frames are left out, which."""
    wanted = known(name)
    last = wanted.deviates.split()[-1]
    assert last not in ("its", "and", "the", "where", "of", "a"), wanted.deviates
    assert "over 8 frames" not in wanted.video_rule


def test_every_anchor_of_the_catalogue_is_used():
    text = files("deepscan.models").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    anchors = set(re.findall(r"&(\w+)", text))
    assert anchors == set(re.findall(r"\*(\w+)", text))


def test_ranks_are_an_order():
    ranks = [each.rank for each in catalogue().values() if each.rank]
    assert sorted(ranks) == list(range(1, len(ranks) + 1))


@pytest.mark.parametrize("layout", WEIGHT_LAYOUTS.names)
def test_every_layout_has_a_known_model_whose_preprocessing_its_files_take(layout):
    like = known(WEIGHT_LAYOUTS.get(layout).like)
    assert like.layout == layout
    backbone = {"gend-dinov3": "dinov3-vit-l16", "gend-pe": "pe-core-vit-l14"}.get(layout, "clip-vit-l14")
    if not like.refused:
        assert (like.mean, like.std) == PUBLISHED[backbone].normalisation


def test_a_name_that_is_not_known_is_refused_with_the_nearest():
    with pytest.raises(UsageError) as raised:
        known("effort-f")
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
    with pytest.raises(ValueError, match=r"a hub has|a file lies"):
        PublishedFile(publisher="p", file="f", **wrong)
