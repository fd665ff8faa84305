"""The recipe: files, overrides, and errors for mistakes."""

import pytest

from deepscan.detectors import DETECTORS
from deepscan.errors import MissingError, UsageError
from deepscan.training.recipe import load_recipe


@pytest.mark.parametrize("method", DETECTORS.names)
def test_every_methods_recipe_survives_a_round_trip(method, tmp_path):
    import yaml

    recipe = load_recipe(method)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.to_json()))
    assert load_recipe(method, path) == recipe


def test_overrides_keep_the_type_of_the_value_they_replace():
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


def test_a_file_changes_only_the_keys_it_has(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("lr: 0.01\nloss: {tau: 0.2}\nnetwork: {backbone: {name: compact, depth: 3}}\n")
    recipe, default = load_recipe("qtfp", path, ["loss.tau_w=0.3"]), load_recipe("qtfp")
    assert (recipe.lr, recipe.loss["tau"], recipe.loss["tau_w"]) == (0.01, 0.2, 0.3)
    assert recipe.batch == default.batch
    # Another backbone has other arguments, so those of the former one are removed.
    assert recipe.network["backbone"] == {"name": "compact", "depth": 3}
    assert recipe.network["queries"] == default.network["queries"]


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("epoch=3", "epochs"),
        ("crop.scael=1", "crop.scale"),
        ("lambda_flcl=1", "loss.lambda_flcl"),
        ("zzz=1", "names, such as epochs, lr, batch, seed, augment"),
    ],
)
def test_a_misspelt_key_is_answered_with_the_right_one(override, hint):
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
        "pairs_only=[web]",  # with balance=natural
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
def test_an_invalid_value_is_a_usage_error(override):
    with pytest.raises(UsageError) as raised:
        load_recipe("qtfp", overrides=override.split(" ") if "balance" in override else [override])
    assert "NoneType" not in raised.value.message


def test_a_wrong_file_is_refused(tmp_path):
    with pytest.raises(MissingError):
        load_recipe("qtfp", tmp_path / "none.yaml")
    path = tmp_path / "wrong.yaml"
    for text, message in (
        ("lr: [", "not valid YAML"),
        ("- 1", "not a recipe"),
        ("lrr: 1", "in .*wrong.yaml"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            load_recipe("qtfp", path)


def test_an_unknown_method_is_answered_with_the_right_one():
    with pytest.raises(UsageError, match="unknown method") as raised:
        load_recipe("qtpf")
    assert "'qtfp'" in raised.value.hint


def test_a_packaged_recipe_without_a_base_is_merged_over_any_methods_default():
    for method in DETECTORS.names:
        recipe, default = load_recipe(method, "compact"), load_recipe(method)
        assert recipe.network["backbone"]["name"] == "compact"
        assert (recipe.method, recipe.lr, recipe.loss) == (method, default.lr, default.loss)
    merged = load_recipe(None, "qtfp-compact")
    assert (merged.method, merged.network["backbone"]["side"], merged.lr) == ("qtfp", 160, 0.001)


def test_autoencoders_are_needed_only_if_fakes_are_redrawn():
    kind = "forgeries=[blend,redraw]"
    assert not load_recipe("qtfp", overrides=[kind]).redraws
    assert load_recipe("qtfp", overrides=[kind, "blend=0.1"]).redraws
    assert load_recipe("qtfp", overrides=[kind, "pairs_only=[web]", "balance=paired"]).redraws
    odd = [kind, "blend=0.1", "crop.resize=150"]
    with pytest.raises(UsageError, match="multiple of 8") as raised:
        load_recipe("qtfp", overrides=odd)
    assert raised.value.hint == "set crop.resize=152"
    assert load_recipe("qtfp", overrides=odd[1:]).crop.input_side == 150


def test_changing_a_name_removes_the_former_arguments():
    recipe = load_recipe("qtfp", overrides=["network.tuning.type=lora", "network.tuning.rank=8"])
    assert recipe.network["tuning"] == {"type": "lora", "rank": 8}
    assert load_recipe("qtfp", overrides=["network.tuning={rank: 8, type: lora}"]) == recipe
    assert load_recipe("qtfp", overrides=["network.tuning.type=fft"]).network["tuning"] == {"type": "fft"}
    with pytest.raises(UsageError, match=r"network\.tuning\.rank"):
        load_recipe("qtfp", overrides=["network.tuning.type=fft", "network.tuning.rank=8"])


def test_a_backbones_normalisation_is_the_default():
    clip, other = (
        load_recipe("qtfp"),
        load_recipe("qtfp", overrides=["network.backbone.name=siglip2-vit-l16"]),
    )
    assert clip.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert other.mean == pytest.approx((0.5, 0.5, 0.5))
    overridden = load_recipe("qtfp", overrides=["mean=[0.1, 0.2, 0.3]"])
    assert (overridden.mean, overridden.std) == ((0.1, 0.2, 0.3), clip.std)


@pytest.mark.parametrize("text", ["base: common\n", "base: common\nmethod: qtfp\n"])
def test_a_recipe_without_a_method_is_refused(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match="the recipe has no"):
        load_recipe(None, tmp_path / "mine.yaml")


def test_a_file_can_be_based_on_any_packaged_recipe(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: compact\nlr: 0.5\n")
    assert load_recipe("effort", tmp_path / "mine.yaml").network["backbone"]["name"] == "compact"
