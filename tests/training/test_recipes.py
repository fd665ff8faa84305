"""The packaged recipes: settings of papers and their code, and the stages of the embedded detectors."""

from functools import reduce
from importlib.resources import files
from operator import getitem

import pytest

from deepscan.detectors.dfd_hr_settings import settings_of
from deepscan.training.recipe import load_recipe
from deepscan.training.recipe_files import packaged_recipes

#: CoRIT's settings for heads on a frozen backbone.
FROZEN = {
    "frames": {"train": 32, "val": 32},
    "augment": "none",
    "optimiser": "sgd",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "momentum": 0.9,
    "sam_rho": 0.05,
    "schedule": "wsd",
    "batch": 20,
}
#: Settings from the papers and their released code, or our choice where they have none. A recipe that differs
#: trains another method.
PUBLISHED = {
    "qtfp": {
        "network.tuning": {"type": "effort", "rank": 1},
        "network.queries": 4,
        "network.heads": 8,
        "network.fusion": "global",
        "network.norm": "after",
        "loss.contrast": "flcl",
        "loss.lambda_flcl": 0.14,
        "loss.tau": 0.1,
        "loss.weighting": "sigmoid",
        "loss.tau_w": 0.1,
        "loss.max_anchor_tokens": None,
        "loss.alignment": "attention",
        "loss.alignment_metric": "kl",
        "loss.lambda_raal": 1.0,
        "loss.label_smoothing": 0.0,
        "loss.lambda_orth": 0.0,
        "loss.lambda_keepsv": 0.0,
        "inputs.kind": "crops",
        "augment": "bench",
        "lr": 2e-4,
        "epochs": 10,
    },
    "dfd-hr": {
        "network.tuning": {"type": "frozen"},
        "network.preset": "paper",
        "network.split": True,
        "network.share_branches": True,
        "network.routed": "both",
        "network.pooling": "query",
        "network.heads": 4,
        "network.experts": 4,
        "network.hidden": 256,
        "network.act": "gelu",
        "network.gumbel": "paper",
        "network.gumbel_tau": 1.0,
        "network.judge_hidden": 64,
        "network.keep": 0.75,
        "network.candidates": "all",
        "network.reweight": "post",
        "loss.rank_weight": 0.1,
        "loss.soft_rank_tau": 0.1,
        "inputs.kind": "crops",
        "crop.resize": 448,
        "augment": "effort",
        "lr": 1e-4,
    },
    "corit": {
        "network.tuning": {"type": "frozen"},
        "network.rsi": True,
        "network.rrm": True,
        "network.hri": True,
        "network.regions": ["F", "Bd", "Bg"],
        "network.pooling": "average",
        "network.threshold": "relative",
        "network.tau": 0.1,
        "network.start": "means",
        "network.shared": True,
        "network.layers": None,
        "network.head": "linear",
        "loss.label_smoothing": 0.0,
        "inputs.kind": "contrast",
        "inputs.grid": 16,
        "inputs.views": 1,
        "inputs.face": "canonical",
        "inputs.regions": "face",
        "inputs.overlap": False,
        **FROZEN,
    },
    "effort": {
        "network.tuning": {"type": "effort", "rank": 1},
        "network.feature": "cls",
        "loss.lambda_orth": 0.0,
        "loss.lambda_keepsv": 0.0,
        "augment": "effort",
        "lr": 2e-4,
        "epochs": 10,
    },
    "gend": {
        "network.tuning": {"type": "norm"},
        "network.feature": "cls",
        "network.normalise": True,
        "loss.lambda_uniformity": 0.5,
        "loss.lambda_alignment": 0.1,
        "frames": {"train": 32, "val": 32},
        "augment": "gend",
        "optimiser": "adamw",
        "lr": 3e-4,
        "weight_decay": 0.0,
        "schedule": "cosine",
        "epochs": 10,
        "batch": 512,
    },
    "fft": {
        "network.tuning": {"type": "fft"},
        "network.feature": "cls",
        "augment": "effort",
        "lr": 1e-6,
    },
    "unifd": {
        "network.tuning": {"type": "frozen"},
        "network.feature": "projected",
        **FROZEN,
    },
}
#: Defaults where `PUBLISHED` has no value: DeepfakeBench's crop, seed and training; everything else is off.
DEFAULTS = {
    "network.backbone.name": "clip-vit-l14",
    "crop.resize": 224,
    "frames": {"train": 8, "val": 32},
    "optimiser": "adam",
    "weight_decay": 5e-4,
    "sam_rho": 0.0,
    "schedule": "constant",
    "epochs": 20,
    "batch": 16,
    "seed": 1024,
    "crop.side": 256,
    "crop.scale": 1.3,
    "crop.shift": [0.0, 0.0],
    "sources": [],
    "pairs_only": [],
    "blend": 0.0,
    "forgeries": ["blend"],
    "quantise": False,
    "balance": "natural",
    "labels": "given",
    "backbone_lr": None,
    "decay": "all",
    "warmup": 0,
    "accumulate": 1,
    "clip": 0.0,
    "ema": 0.0,
}


@pytest.mark.parametrize("method", PUBLISHED)
def test_a_methods_recipe_has_the_published_settings(method):
    recipe, expected = load_recipe(method).to_json(), {**DEFAULTS, **PUBLISHED[method]}
    assert {key: reduce(getitem, key.split("."), recipe) for key in expected} == expected


def test_the_preset_paper_has_the_papers_settings():
    choices = dict(load_recipe("dfd-hr").network)
    del choices["backbone"], choices["tuning"]
    settings = settings_of(choices.pop("preset"), choices)
    assert settings.routed_blocks(24) == settings.ranked_blocks(24) == (20, 21, 22, 23)
    assert settings.kept_of(257) == 192
    assert (settings.layer_gate, settings.ranks, settings.gate_noise) == ("blend", "soft", True)
    # These two are our choice: a new network equals its backbone, and starts deep.
    assert (settings.adapter_init, settings.judge_bias) == ("zero", 1.0)


FORGERY_KEYS = {"blend", "forgeries", "pairs_only", "terms"}


@pytest.mark.parametrize(
    ("before", "after", "differ"),
    [
        ("convnet-start", "convnet-middle", FORGERY_KEYS | {"lr", "warmup", "epochs", "ema"}),
        ("convnet-middle", "convnet-late", FORGERY_KEYS | {"lr", "epochs"}),
        ("convnet-late", "convnet", FORGERY_KEYS | {"lr", "epochs", "seed", "quantise"}),
    ],
)
def test_each_stage_of_convnet_differs_from_the_one_before_as_intended(before, after, differ):
    first, second = (load_recipe(None, name).to_json() for name in (before, after))
    assert {name for name in first | second if second.get(name) != first.get(name)} == differ


def test_two_stages_redraw_faces_and_only_the_last_is_quantised():
    stages = [load_recipe(None, f"convnet{stage}") for stage in ("-start", "-middle", "-late", "")]
    for stage in stages:
        redrawn = ["redraw", "redraw"] if stage.redraws else []
        assert sorted(stage.forgeries) == sorted(["blend", "swap", "warp", "render", *redrawn])
    assert [stage.redraws for stage in stages] == [False, True, False, True]
    assert [stage.quantise for stage in stages] == [False, False, False, True]


def test_every_recipe_has_its_expected_results():
    for name in packaged_recipes():
        text = (files("deepscan.training") / "recipes" / f"{name}.yaml").read_text()
        if name != "compact":
            assert "xpected" in text.split("base:")[0], name
