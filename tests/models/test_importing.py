"""Files are recognised, held to what is known of them, or refused with the reason; nothing half stays."""

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
#: Layout -> what makes a small file of it.
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
    """Return what is said of a file that is refused; nothing of it is left."""
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
    """Under a name that is known it carries what is known; the counts are those of this small file."""
    weights = replicas.effort()
    counts = {"tensors": len(weights), "elements": sum(value.numel() for value in weights.values())}
    small = {**catalogue(), "effort-ff": dataclasses.replace(catalogue()["effort-ff"], **counts)}
    monkeypatch.setattr(importing, "catalogue", lambda: small)
    path = saved(weights, tmp_path)
    said = []
    card = import_model(Origin(path, accepted=True), "effort-ff", store, on_progress=said.append)
    assert card == load_card(store / "effort-ff")
    assert (card.license, card.calibration) == ("CC-BY-NC-4.0", None)
    assert card.source["sha256"] == sha256_of(path) == hashes(store)["effort-ff"]
    assert card.source["threshold"] == 0.5 and card.source["terms_accepted"]
    assert {"value": 0.917}.items() <= card.source["published"][0].items()
    assert card.golden is not None and "commercial" in card.not_for[-1]
    assert (card.crop.side, card.crop.scale, card.crop.resize) == (256, 1.3, 42)
    assert any("reading" in line for line in said)
    card.verify()


def test_a_file_under_a_name_of_ones_own_claims_nothing(tmp_path, store):
    card = import_model(Origin(saved(replicas.effort(), tmp_path)), "mine", store, license="MIT")
    assert (card.license, card.trained, card.summary) == (
        "MIT",
        {"data": "not stated"},
        "effort, a file of the layout of effort-ff",
    )
    assert not {"threshold", "published", "terms"} & set(card.source)


#: Layout, the shape that some of its weights are given (None takes them away), and what is said of it.
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
    ("gend", {f"{_CLIP}embeddings.class_embedding": (100,)}, "100 wide, not a multiple of 64"),
    ("gend", {f"{_CLIP}embeddings.class_embedding": (0,)}, "0 wide"),
    ("gend", {"model.linear.weight": (2, 64)}, "mis-shaped head.0.weight (2, 64) for (2, 128)"),
    ("gend", {"model.linear.weight": (1, 128), "model.linear.bias": (1,)}, "mis-shaped head.0"),
    *(("gend", {_POSITIONS: (count, 128)}, f"{count} positions") for count in (0, 1, 11)),
    # As many numbers as are wanted, in a table where a vector is.
    *(
        (
            "gend",
            {f"{_CLIP}pre_layrnorm.weight": shape},
            f"mis-shaped backbone.ln_pre.weight {shape} for (128,)",
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
    ("dfd-hr", {"adapters_attn.1.experts.2.0.bias": (3,)}, "cannot be put together"),
]


@pytest.mark.parametrize(("layout", "shapes", "word"), MISFITS)
def test_weights_that_are_missing_left_over_or_of_another_size_are_named(
    layout, shapes, word, tmp_path, store
):
    weights = LAYOUT_FILES[layout]()
    for name, shape in shapes.items():
        if shape is None:
            del weights[name]
        else:
            weights[name] = torch.zeros(shape)
    assert word in refusal(saved(weights, tmp_path), store).message


def test_an_expert_that_is_not_there_shows(tmp_path, store):
    weights = {
        name: value
        for name, value in replicas.dfd_hr().items()
        if ".experts.2." not in name or ".1." not in name
    }
    assert "mis-shaped branch.adapters.1.0.down.weight" in refusal(saved(weights, tmp_path), store).message


def test_a_head_that_is_not_known_is_refused(tmp_path, store):
    wrapped = {"state_dict": replicas.predecessor(), "hyper_parameters": {"head": "MLP"}}
    assert "head is 'MLP'" in refusal(saved(wrapped, tmp_path), store).message


def test_what_cannot_be_taken_is_refused_with_the_reason(tmp_path, store):
    assert "not deterministic" in refusal(saved(ADAPTER, tmp_path), store).message


def test_a_known_name_is_held_to_its_counts_layout_and_hash(tmp_path, store):
    small = saved(replicas.effort(), tmp_path)
    assert "681 of 303,378,530" in refusal(small, store, "effort-ff").message
    gend = saved(replicas.gend(), tmp_path, "gend.pth")
    assert "has the layout gend, and effort-ff has effort" in refusal(gend, store, "effort-ff").message
    assert (
        "not the file that is known as gend-predecessor" in refusal(gend, store, "gend-predecessor").message
    )
    assert "cut short" in refusal(gend, store, "gend").message


def test_another_file_under_the_name_of_an_earlier_one_is_refused(tmp_path, store):
    from deepscan.models.store import remove_model

    import_model(Origin(saved(replicas.effort(0), tmp_path, "one.pth")), "mine", store)
    two = saved(replicas.effort(1), tmp_path, "two.pth")
    with pytest.raises(UsageError, match="installed already"):
        import_model(Origin(two), "mine", store)
    remove_model("mine", store)
    with pytest.raises(ContractError, match="not the file that was mine at first"):
        import_model(Origin(two), "mine", store)
    remove_model("mine", store, forget=True)
    assert import_model(Origin(two), "mine", store).source["file"] == "two.pth"


@pytest.mark.parametrize("name", ["convnet", "Mine", "../mine", ""])
def test_a_name_must_be_free_and_a_folders(name, tmp_path, store):
    refusal(saved(replicas.effort(), tmp_path), store, name, kind=UsageError)


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a weights file was unpickled",))


def test_a_file_that_would_run_code_is_refused_by_its_name(tmp_path, store):
    path = saved({"state_dict": replicas.gend(), "callbacks": Payload()}, tmp_path)
    error = refusal(path, store)
    assert "would run code: _pytest.outcomes" in error.message
    assert "never runs" in error.hint


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
@pytest.mark.parametrize("left", [0, 40, 0.9])
def test_a_file_that_is_cut_short_is_refused(kind, left, tmp_path, store):
    whole = tmp_path / f"whole.{kind}"
    (save_file if kind == "safetensors" else torch.save)(replicas.gend(), whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(content[: int(left * len(content)) if isinstance(left, float) else left])
    assert "cannot be read as weights" in refusal(cut, store).message


@pytest.mark.parametrize("content", [b"<html>Sign in to continue</html>", b"\x00" * 200])
def test_what_is_no_weights_file_is_refused(content, tmp_path, store):
    (tmp_path / "page.pth").write_bytes(content)
    assert "cannot be read as weights" in refusal(tmp_path / "page.pth", store).message


@pytest.mark.parametrize("content", [torch.zeros(3), {"a": 1}, {"state_dict": {}}, [torch.zeros(1)]])
def test_a_file_without_named_tensors_holds_no_weights(content, tmp_path, store):
    assert "holds no weights" in refusal(saved(content, tmp_path), store).message


def test_weights_that_are_no_numbers_are_refused(tmp_path, store):
    weights = replicas.gend()
    weights["model.linear.bias"][0] = float("nan")
    assert "give no score" in refusal(saved(weights, tmp_path), store).message


def test_names_that_nobody_uses_are_shown(tmp_path, store):
    error = refusal(saved({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path), store)
    assert "layer1.0.conv1.weight" in error.message and "effort" in error.hint


def test_a_file_that_is_not_there_is_told(tmp_path, store):
    assert "no file" in refusal(tmp_path / "none.pth", store, kind=UsageError).message


def test_a_head_alone_needs_its_backbone(tmp_path, store):
    head = saved(replicas.unifd(), tmp_path)
    assert "--backbone hub" in refusal(head, store, kind=MissingError).hint
    gone = tmp_path / "none.safetensors"
    assert str(gone) in refusal(head, store, kind=UsageError, backbone=gone).message
    wrong = saved(replicas.gend(), tmp_path, "gend.pth")
    assert "no vision backbone" in refusal(head, store, backbone=wrong).message
    clip = replicas.open_clip()
    del clip["visual.conv1.weight"]
    broken = saved(clip, tmp_path, "clip.pth")
    assert "backbone.stem.weight" in refusal(head, store, backbone=broken).message
    assert "own backbone" in refusal(wrong, store, kind=UsageError, backbone=broken).message


def test_a_config_that_cannot_be_read_is_no_config_that_is_not_there(tmp_path, store):
    (tmp_path / "config.json").write_text("{head")
    assert "config.json" in refusal(saved(replicas.gend(), tmp_path), store).message


def test_a_config_is_read_only_where_the_layout_has_one(tmp_path, store):
    """A folder of downloads may hold anybody's config.json."""
    (tmp_path / "config.json").write_text("{head")
    assert import_model(Origin(saved(replicas.effort(), tmp_path)), "mine", store).method == "effort"
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text("{head")
    (tmp_path / "config.json").unlink()
    backbone = saved(replicas.open_clip(), tmp_path / "clip")
    assert import_model(Origin(saved(replicas.unifd(), tmp_path), backbone=backbone), "head", store)


@pytest.mark.parametrize("head", [{"name": "linear"}, ["linear"], 3, "mlp"], ids=str)
def test_a_config_that_names_no_known_head_is_refused(head, tmp_path, store):
    (tmp_path / "config.json").write_text(json.dumps({"head": head}))
    assert f"head is {head!r}" in refusal(saved(replicas.gend(), tmp_path), store).message
