"""The recipe: what a file and overrides may change, and how a slip is told."""

from functools import reduce
from operator import getitem

import pytest

from deepscan.data.forgeries import FORGERIES
from deepscan.detectors import DETECTORS
from deepscan.detectors.dfd_hr_settings import settings_of
from deepscan.errors import MissingError, UsageError
from deepscan.training.recipe import load_recipe
from deepscan.training.stated import packaged


@pytest.mark.parametrize("method", DETECTORS.names)
def test_every_method_has_a_recipe_that_is_its_own_round_trip(method, tmp_path):
    import yaml

    recipe = load_recipe(method)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.to_json()))
    assert load_recipe(method, path) == recipe


def test_overrides_keep_the_kind_of_what_they_replace():
    recipe = load_recipe(
        "qtfp",
        overrides=[
            "lr=3e-4",
            "epochs=7",
            "crop.scale=1",
            "sources=[A, B]",
            "loss.max_anchor_tokens=null",
            "ema=0",
            "backbone_lr=1e-6",
        ],
    )
    assert (recipe.lr, recipe.epochs, recipe.crop.scale) == (3e-4, 7, 1.0)
    assert recipe.sources == ("A", "B")
    assert recipe.loss["max_anchor_tokens"] is None
    assert type(recipe.ema) is float
    assert recipe.backbone_lr == 1e-6


def test_a_file_changes_what_it_names(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("lr: 0.01\nloss: {tau: 0.2}\nnetwork: {backbone: {name: compact, depth: 3}}\n")
    recipe, own = load_recipe("qtfp", path, ["loss.tau_w=0.3"]), load_recipe("qtfp")
    assert (recipe.lr, recipe.loss["tau"], recipe.loss["tau_w"]) == (0.01, 0.2, 0.3)
    assert recipe.batch == own.batch
    # Another backbone takes other arguments: nothing of the former one is left.
    assert recipe.network["backbone"] == {"name": "compact", "depth": 3}
    assert recipe.network["queries"] == own.network["queries"]


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("epoch=3", "epochs"),
        ("crop.scael=1", "crop.scale"),
        ("lambda_flcl=1", "loss.lambda_flcl"),
        ("zzz=1", "choose from"),
    ],
)
def test_a_misspelt_key_is_met_with_the_right_one(override, hint):
    with pytest.raises(UsageError) as raised:
        load_recipe("qtfp", overrides=[override])
    assert raised.value.exit_code == 2
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    "override",
    [
        "lr=fast",
        "lr=0",
        "epochs=many",
        "epochs=0",
        "batch=0",
        "ema=1",
        "blend=2",
        "forgeries=[]",
        "forgeries=[swap, morph]",
        "balance=half",
        "pairs_only=[web]",  # the balance is natural
        "labels=none",
        "frames={train: -1}",
        "frames={test: 1}",
        "network.backbone.colour=red",
        "optimiser=rmsprop",
        "schedule=step",
        "precision=float16",
        "augment=none-such",
        "crop.side=4",
        "crop.interpolation=nearest",
        "mean=[1,2]",
        "std=[1,1,0]",
        "method=other",
        "epochs",
        "lr=[1",
        "crop=3",
    ],
)
def test_a_value_that_means_nothing_is_refused(override):
    with pytest.raises(UsageError):
        load_recipe("qtfp", overrides=[override])


def test_a_wrong_file_is_refused(tmp_path):
    with pytest.raises(MissingError):
        load_recipe("qtfp", tmp_path / "none.yaml")
    path = tmp_path / "wrong.yaml"
    for text, message in (("lr: [", "not YAML"), ("- 1", "not a recipe"), ("lrr: 1", "in .*wrong.yaml")):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            load_recipe("qtfp", path)


def test_an_unknown_method_is_met_with_the_right_one():
    with pytest.raises(UsageError, match="unknown method") as raised:
        load_recipe("qtpf")
    assert "'qtfp'" in raised.value.hint


def test_a_packaged_recipe_without_a_base_is_laid_over_any_method():
    for method in DETECTORS.names:
        recipe, own = load_recipe(method, "compact"), load_recipe(method)
        assert recipe.network["backbone"]["name"] == "compact"
        assert (recipe.method, recipe.lr, recipe.loss) == (method, own.lr, own.loss)
    laid = load_recipe(None, "qtfp-compact")
    assert (laid.method, laid.network["backbone"]["side"], laid.lr) == ("qtfp", 160, 0.001)


def test_the_embedded_detector_goes_on_from_its_first_stage():
    start, embedded = load_recipe(None, "convnet-start"), load_recipe(None, "convnet")
    differ = ("blend", "lr", "warmup", "epochs", "quantise")
    alike = {name: value for name, value in embedded.to_json().items() if name not in differ}
    assert alike == {name: value for name, value in start.to_json().items() if name not in differ}
    assert embedded.blend < start.blend
    assert set(start.forgeries) == {"blend", "swap", "warp", "render"}


def test_the_stage_that_redraws_goes_on_from_the_embedded_detector():
    embedded, redraw = load_recipe(None, "convnet"), load_recipe(None, "convnet-redraw")
    differ = ("blend", "epochs", "forgeries", "pairs_only", "terms")
    alike = {name: value for name, value in redraw.to_json().items() if name not in differ}
    assert alike == {name: value for name, value in embedded.to_json().items() if name not in differ}
    counted = {kind: redraw.forgeries.count(kind) for kind in FORGERIES}
    assert counted == {**dict.fromkeys(FORGERIES, 1), "redraw": 2}
    assert redraw.redraws
    assert not embedded.redraws


def test_autoencoders_are_wanted_where_fakes_are_made_by_them():
    kind = "forgeries=[blend,redraw]"
    assert not load_recipe("qtfp", overrides=[kind]).redraws
    assert load_recipe("qtfp", overrides=[kind, "blend=0.1"]).redraws
    assert load_recipe("qtfp", overrides=[kind, "pairs_only=[web]", "balance=paired"]).redraws
    odd = [kind, "blend=0.1", "crop.resize=150"]
    with pytest.raises(UsageError, match="multiple of 8") as raised:
        load_recipe("qtfp", overrides=odd)
    assert raised.value.hint == "add crop.resize=152"
    assert load_recipe("qtfp", overrides=odd[1:]).crop.input_side == 150


def test_another_name_takes_the_arguments_of_the_former_one_away():
    recipe = load_recipe("qtfp", overrides=["network.tuning.type=lora", "network.tuning.rank=8"])
    assert recipe.network["tuning"] == {"type": "lora", "rank": 8}
    assert load_recipe("qtfp", overrides=["network.tuning={rank: 8, type: lora}"]) == recipe
    assert load_recipe("qtfp", overrides=["network.tuning.type=fft"]).network["tuning"] == {"type": "fft"}
    with pytest.raises(UsageError, match=r"network\.tuning\.rank"):
        load_recipe("qtfp", overrides=["network.tuning.type=fft", "network.tuning.rank=8"])


def test_a_backbone_brings_its_own_normalisation_unless_told_otherwise():
    clip, other = (
        load_recipe("qtfp"),
        load_recipe("qtfp", overrides=["network.backbone.name=siglip2-vit-l16"]),
    )
    assert clip.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert other.mean == pytest.approx((0.5, 0.5, 0.5))
    told = load_recipe("qtfp", overrides=["mean=[0.1, 0.2, 0.3]"])
    assert (told.mean, told.std) == ((0.1, 0.2, 0.3), clip.std)


def test_every_recipe_says_what_to_expect():
    from importlib.resources import files

    for name in packaged():
        text = (files("deepscan.training") / "recipes" / f"{name}.yaml").read_text()
        if name != "compact":
            assert "xpected" in text.split("base:")[0], name


#: What the papers and their released code state, or what stands here where they state nothing; a recipe that
#: differs trains another method.
STATED = {
    "qtfp": {
        "network.backbone.name": "clip-vit-l14",
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
        "crop.resize": 224,
        "frames": {"train": 8, "val": 32},
        "augment": "bench",
        "optimiser": "adam",
        "lr": 2e-4,
        "weight_decay": 5e-4,
        "sam_rho": 0.0,
        "schedule": "constant",
        "epochs": 10,
        "batch": 16,
    },
    "dfd-hr": {
        "network.backbone.name": "clip-vit-l14",
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
        "frames": {"train": 8, "val": 32},
        "augment": "effort",
        "optimiser": "adam",
        "lr": 1e-4,
        "weight_decay": 5e-4,
        "sam_rho": 0.0,
        "schedule": "constant",
        "epochs": 20,
        "batch": 16,
    },
    "corit": {
        "network.backbone.name": "clip-vit-l14",
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
        "crop.resize": 224,
        "frames": {"train": 32, "val": 32},
        "augment": "none",
        "optimiser": "sgd",
        "lr": 1e-3,
        "weight_decay": 0.0,
        "momentum": 0.9,
        "sam_rho": 0.05,
        "schedule": "tail",
        "epochs": 20,
        "batch": 20,
    },
    "effort": {
        "network.backbone.name": "clip-vit-l14",
        "network.tuning": {"type": "effort", "rank": 1},
        "network.feature": "cls",
        "loss.lambda_orth": 0.0,
        "loss.lambda_keepsv": 0.0,
        "crop.resize": 224,
        "frames": {"train": 8, "val": 32},
        "augment": "effort",
        "optimiser": "adam",
        "lr": 2e-4,
        "weight_decay": 5e-4,
        "sam_rho": 0.0,
        "schedule": "constant",
        "epochs": 10,
        "batch": 16,
    },
    "gend": {
        "network.backbone.name": "clip-vit-l14",
        "network.tuning": {"type": "norm"},
        "network.feature": "cls",
        "network.normalise": True,
        "loss.lambda_uniformity": 0.5,
        "loss.lambda_alignment": 0.1,
        "crop.resize": 224,
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
        "network.backbone.name": "clip-vit-l14",
        "network.tuning": {"type": "fft"},
        "network.feature": "cls",
        "crop.resize": 224,
        "frames": {"train": 8, "val": 32},
        "augment": "effort",
        "optimiser": "adam",
        "lr": 1e-6,
        "weight_decay": 5e-4,
        "sam_rho": 0.0,
        "schedule": "constant",
        "epochs": 20,
        "batch": 16,
    },
    "unifd": {
        "network.backbone.name": "clip-vit-l14",
        "network.tuning": {"type": "frozen"},
        "network.feature": "projected",
        "crop.resize": 224,
        "frames": {"train": 32, "val": 32},
        "augment": "none",
        "optimiser": "sgd",
        "lr": 1e-3,
        "weight_decay": 0.0,
        "momentum": 0.9,
        "sam_rho": 0.05,
        "schedule": "tail",
        "epochs": 20,
        "batch": 20,
    },
}
#: DeepfakeBench's crop and seed; what nobody states is off.
EVERYWHERE = {
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


@pytest.mark.parametrize("method", STATED)
def test_a_method_is_trained_as_its_sources_say(method):
    recipe, stated = load_recipe(method).to_json(), {**EVERYWHERE, **STATED[method]}
    assert {key: reduce(getitem, key.split("."), recipe) for key in stated} == stated


def test_the_papers_preset_is_the_papers_form():
    stated = dict(load_recipe("dfd-hr").network)
    del stated["backbone"], stated["tuning"]
    settings = settings_of(stated.pop("preset"), stated)
    assert settings.routed_blocks(24) == settings.ranked_blocks(24) == (20, 21, 22, 23)
    assert settings.kept_of(257) == 192
    assert (settings.layer_gate, settings.ranks, settings.gate_noise) == ("blend", "soft", True)
    # The last two are ours: a new network is its tower, and begins deep.
    assert (settings.adapter_init, settings.judge_bias) == ("zero", 1.0)


@pytest.mark.parametrize(
    "override",
    [
        "weights=null",
        "lr=null",
        "batch=null",
        "crop.shift=[a, b]",
        "crop.shift=[0]",
        "mean=[a, b, c]",
        "sources=[1]",
        "sources=DFDC",
        "seed=99999999999999999999999999",
        "clip=.nan",
        "weight_decay=.inf",
        "sam_rho=.nan",
        "lr=.nan",
        "network.backbone.name=null",
        "accumulate=4 batch=4 balance=paired",
    ],
)
def test_what_python_would_stumble_over_is_told_in_our_words(override):
    with pytest.raises(UsageError) as raised:
        load_recipe("qtfp", overrides=override.split(" ") if "balance" in override else [override])
    assert "NoneType" not in raised.value.message


@pytest.mark.parametrize("text", ["base: common\n", "base: common\nmethod: qtfp\n"])
def test_a_recipe_of_no_method_is_told(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match="states no"):
        load_recipe(None, tmp_path / "mine.yaml")


def test_a_file_may_begin_with_any_packaged_recipe(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: compact\nlr: 0.5\n")
    assert load_recipe("effort", tmp_path / "mine.yaml").network["backbone"]["name"] == "compact"
