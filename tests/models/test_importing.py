"""Importing files: recognised, checked against the catalogue, or refused without leaving anything behind."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save_file

from deepscan.cards import sha256_of
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.models import importing
from deepscan.models.catalogue import catalogue
from deepscan.models.importing import Origin, import_model
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.lookup import load_card
from deepscan.models.store import hashes
from tests.models import replicas, rotary_replicas

ADAPTER = {"clip_post_process.0.weight": torch.zeros(2), "adapter.query_embed": torch.zeros(1)}
#: Layout -> function that makes a small file's weights.
LAYOUT_FILES = {
    "gend": replicas.gend,
    "gend-dinov3": rotary_replicas.gend_dinov3,
    "gend-pe": rotary_replicas.gend_pe,
    "gend-predecessor": replicas.predecessor,
    "effort": replicas.effort,
    "dfd-hr": replicas.dfd_hr,
    "unifd": replicas.unifd,
    "forensics-adapter": lambda: ADAPTER,
}


def saved(weights, folder, name="published.pth"):
    torch.save(weights, folder / name)
    return folder / name


def refusal(path, store, name="mine", kind=ContractError, **origin):
    """Return the error for a refused file, and check that nothing is left in the store."""
    with pytest.raises(kind) as raised:
        import_model(Origin(path, **origin), name, store)
    assert "\n" not in raised.value.message
    assert not list(store.glob("*")) and not list(store.glob(".*"))
    return raised.value


@pytest.mark.parametrize("layout", WEIGHT_LAYOUTS.names)
def test_each_layout_is_recognised_and_no_other(layout):
    weights = LAYOUT_FILES[layout]()
    assert [name for name in WEIGHT_LAYOUTS.names if WEIGHT_LAYOUTS.get(name)().recognises(weights)] == [
        layout
    ]


def test_the_card_is_complete(tmp_path, store, monkeypatch):
    """A name from the catalogue gets the catalogue's data; the counts are replaced by this small file's."""
    weights = replicas.effort()
    counts = {"tensors": len(weights), "elements": sum(value.numel() for value in weights.values())}
    small = {**catalogue(), "effort-ff": dataclasses.replace(catalogue()["effort-ff"], **counts)}
    monkeypatch.setattr(importing, "catalogue", lambda: small)
    path = saved(weights, tmp_path)
    lines = []
    card = import_model(Origin(path, accepted=True), "effort-ff", store, on_progress=lines.append)
    assert card == load_card(store / "effort-ff")
    assert (card.license, card.calibration) == ("CC-BY-NC-4.0", None)
    assert card.source["sha256"] == sha256_of(path) == hashes(store)["effort-ff"]
    assert card.source["threshold"] == 0.5 and card.source["terms_accepted"]
    assert {"value": 0.917}.items() <= card.source["published"][0].items()
    assert card.golden is not None and "commercial" in card.not_for[-1]
    assert (card.crop.side, card.crop.scale, card.crop.resize) == (256, 1.3, 42)
    assert any("reading" in line for line in lines)
    card.verify()


def test_a_file_under_a_new_name_gets_no_claims_of_its_publisher(tmp_path, store):
    card = import_model(Origin(saved(replicas.effort(), tmp_path)), "mine", store, license="MIT")
    assert (card.license, card.trained, card.summary) == (
        "MIT",
        {"data": "unknown"},
        "effort, a file in effort-ff's layout",
    )
    assert not {"threshold", "published", "terms"} & set(card.source)


#: Layout, changed shapes of some weights (None removes them), and a part of the error message.
_CLIP, _ATTENTION = "feature_extractor.vision_model.", "encoder.layers.1.self_attn."
_POSITIONS = _CLIP + "embeddings.position_embedding.weight"
_PE_POSITIONS = "feature_extractor.backbone.pos_embed"
MISFITS = [
    (
        "gend",
        {
            f"{_CLIP}{_ATTENTION}q_proj.weight": None,
            f"{_CLIP}{_ATTENTION}out_proj.bias": None,
            "surprise.weight": (2,),
        },
        "missing backbone.blocks.1.attention.q.weight, backbone.blocks.1.attention.out.bias; "
        "left over surprise.weight",
    ),
    ("gend", {f"{_CLIP}embeddings.patch_embedding.weight": (128, 3, 32, 32)}, "patches of 32 px"),
    ("gend", {f"{_CLIP}embeddings.class_embedding": (100,)}, "a width of 100, not a multiple of 64"),
    ("gend", {f"{_CLIP}embeddings.class_embedding": (0,)}, "a width of 0,"),
    ("gend", {"model.linear.weight": (2, 64)}, "wrong shape head.0.weight (2, 64) instead of (2, 128)"),
    ("gend", {"model.linear.weight": (1, 128), "model.linear.bias": (1,)}, "wrong shape head.0"),
    *(("gend", {_POSITIONS: (count, 128)}, f"{count} positions") for count in (0, 1, 11)),
    # The right number of elements, but a matrix instead of a vector.
    *(
        (
            "gend",
            {f"{_CLIP}pre_layrnorm.weight": shape},
            f"wrong shape backbone.ln_pre.weight {shape} instead of (128,)",
        )
        for shape in ((2, 64), (1, 128))
    ),
    *(
        ("gend-pe", {_PE_POSITIONS: (1, count, 128)}, f"backbone.position (1, {count}, 128)")
        for count in (0, 1, 500)
    ),
    (
        "effort",
        {"backbone.encoder.layers.2.self_attn.k_proj.U_residual": None},
        "backbone.encoder.layers.2.self_attn.k_proj.U_residual",
    ),
    ("dfd-hr", {"adapters_attn.1.experts.2.0.bias": (3,)}, "cannot be combined"),
]


@pytest.mark.parametrize(("layout", "shapes", "word"), MISFITS)
def test_weights_that_are_missing_left_over_or_of_the_wrong_shape_are_named(
    layout, shapes, word, tmp_path, store
):
    weights = LAYOUT_FILES[layout]()
    for name, shape in shapes.items():
        if shape is None:
            del weights[name]
        else:
            weights[name] = torch.zeros(shape)
    assert word in refusal(saved(weights, tmp_path), store).message


def test_a_missing_expert_is_refused(tmp_path, store):
    weights = {
        name: value
        for name, value in replicas.dfd_hr().items()
        if ".experts.2." not in name or ".1." not in name
    }
    assert "wrong shape branch.adapters.1.0.down.weight" in refusal(saved(weights, tmp_path), store).message


def test_an_unknown_head_is_refused(tmp_path, store):
    wrapped = {"state_dict": replicas.predecessor(), "hyper_parameters": {"head": "MLP"}}
    assert "head 'MLP' is not supported" in refusal(saved(wrapped, tmp_path), store).message


def test_an_unsupported_layout_is_refused_with_the_reason(tmp_path, store):
    assert "not deterministic" in refusal(saved(ADAPTER, tmp_path), store).message


def test_a_published_name_requires_its_counts_layout_size_and_hash(tmp_path, store):
    small = saved(replicas.effort(), tmp_path)
    assert "681 with 303,378,530" in refusal(small, store, "effort-ff").message
    gend = saved(replicas.gend(), tmp_path, "gend.pth")
    assert "has the layout gend, but effort-ff has effort" in refusal(gend, store, "effort-ff").message
    assert "not the published file of gend-predecessor" in refusal(gend, store, "gend-predecessor").message
    assert "truncated" in refusal(gend, store, "gend").message


def test_another_file_under_an_earlier_models_name_is_refused(tmp_path, store):
    from deepscan.models.store import remove_model

    import_model(Origin(saved(replicas.effort(0), tmp_path, "one.pth")), "mine", store)
    two = saved(replicas.effort(1), tmp_path, "two.pth")
    with pytest.raises(UsageError, match="already installed"):
        import_model(Origin(two), "mine", store)
    remove_model("mine", store)
    with pytest.raises(ContractError, match="not the file first installed as mine"):
        import_model(Origin(two), "mine", store)
    remove_model("mine", store, forget=True)
    assert import_model(Origin(two), "mine", store).source["file"] == "two.pth"


@pytest.mark.parametrize("name", ["convnet", "Mine", "../mine", ""])
def test_a_taken_or_invalid_name_is_refused(name, tmp_path, store):
    refusal(saved(replicas.effort(), tmp_path), store, name, kind=UsageError)


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a weights file was unpickled",))


def test_a_file_that_would_run_code_is_refused(tmp_path, store):
    path = saved({"state_dict": replicas.gend(), "callbacks": Payload()}, tmp_path)
    error = refusal(path, store)
    assert "would run code: _pytest.outcomes" in error.message
    assert "never runs" in error.hint


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
@pytest.mark.parametrize("size", [0, 40, 0.9])
def test_a_truncated_file_is_refused(kind, size, tmp_path, store):
    complete = tmp_path / f"complete.{kind}"
    (save_file if kind == "safetensors" else torch.save)(replicas.gend(), complete)
    content = complete.read_bytes()
    truncated = tmp_path / f"truncated.{kind}"
    truncated.write_bytes(content[: int(size * len(content)) if isinstance(size, float) else size])
    assert "cannot be read as weights" in refusal(truncated, store).message


@pytest.mark.parametrize("content", [b"<html>Sign in to continue</html>", b"\x00" * 200])
def test_other_files_are_refused(content, tmp_path, store):
    (tmp_path / "page.pth").write_bytes(content)
    assert "cannot be read as weights" in refusal(tmp_path / "page.pth", store).message


@pytest.mark.parametrize("content", [torch.zeros(3), {"a": 1}, {"state_dict": {}}, [torch.zeros(1)]])
def test_a_file_without_named_tensors_is_refused(content, tmp_path, store):
    assert "has no weights" in refusal(saved(content, tmp_path), store).message


def test_nan_weights_are_refused(tmp_path, store):
    weights = replicas.gend()
    weights["model.linear.bias"][0] = float("nan")
    assert "gives an invalid score" in refusal(saved(weights, tmp_path), store).message


def test_unknown_weight_names_are_listed(tmp_path, store):
    error = refusal(saved({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path), store)
    assert "layer1.0.conv1.weight" in error.message and "effort" in error.hint


def test_a_missing_file_is_refused(tmp_path, store):
    assert "does not exist" in refusal(tmp_path / "none.pth", store, kind=UsageError).message


def test_a_file_with_only_a_head_needs_a_backbone(tmp_path, store):
    head = saved(replicas.unifd(), tmp_path)
    assert "--backbone hub" in refusal(head, store, kind=MissingError).hint
    missing = tmp_path / "none.safetensors"
    assert str(missing) in refusal(head, store, kind=UsageError, backbone=missing).message
    wrong = saved(replicas.gend(), tmp_path, "gend.pth")
    assert "no vision backbone" in refusal(head, store, backbone=wrong).message
    clip = replicas.open_clip()
    del clip["visual.conv1.weight"]
    broken = saved(clip, tmp_path, "clip.pth")
    assert "backbone.stem.weight" in refusal(head, store, backbone=broken).message
    assert "includes its backbone" in refusal(wrong, store, kind=UsageError, backbone=broken).message


def test_an_unreadable_config_is_an_error(tmp_path, store):
    (tmp_path / "config.json").write_text("{head")
    assert "config.json" in refusal(saved(replicas.gend(), tmp_path), store).message


def test_a_config_is_read_only_if_the_layout_has_one(tmp_path, store):
    """A folder of downloads may contain an unrelated config.json."""
    (tmp_path / "config.json").write_text("{head")
    assert import_model(Origin(saved(replicas.effort(), tmp_path)), "mine", store).method == "effort"
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text("{head")
    (tmp_path / "config.json").unlink()
    backbone = saved(replicas.open_clip(), tmp_path / "clip")
    assert import_model(Origin(saved(replicas.unifd(), tmp_path), backbone=backbone), "head", store)


@pytest.mark.parametrize("head", [{"name": "linear"}, ["linear"], 3, "mlp"], ids=str)
def test_a_config_with_an_unknown_head_is_refused(head, tmp_path, store):
    (tmp_path / "config.json").write_text(json.dumps({"head": head}))
    assert f"head {head!r} is not supported" in refusal(saved(replicas.gend(), tmp_path), store).message
