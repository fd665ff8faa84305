"""Autoencoders for fakes: training, caching, the rows they use, and determinism across threads."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch

from deepscan.crop_recipe import CropRecipe
from deepscan.data.augmentation.forgeries import Means, forged
from deepscan.data.crops.crop_cache import CropSet
from deepscan.errors import UsageError
from deepscan.training.autoencoders import PLANS, autoencoders

pytestmark = pytest.mark.slow

#: Enough steps for the slowest to reconstruct its 16 px training crops.
STEPS = 200
LEARNING = tuple(dataclasses.replace(plan, steps=STEPS) for plan in PLANS)
#: The first, without a critic, and one with it: each takes seconds.
QUICK = LEARNING[:2]
RECIPE = CropRecipe(side=16, scale=0.75, shift=(0.0, -0.16))


@pytest.fixture(scope="module")
def smooth():
    """Crops with different smooth pictures; the first half is the training split."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(30, 226, (32, 4, 4, 3)).astype(np.uint8)
    crops = np.stack([cv2.resize(image, (16, 16), interpolation=cv2.INTER_CUBIC) for image in coarse])
    names = tuple(map(str, range(32)))
    splits = ("train",) * 16 + ("val",) * 16
    return CropSet(crops, np.zeros(32, np.int64), names, names, splits, 0, "smooth")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(smooth, store):
    return autoencoders(smooth, smooth.where("train"), store, seed=3, plans=QUICK)


def _fail_if_trained(done, total):
    pytest.fail("an autoencoder was trained")


def _contents(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.mark.parametrize(
    "plans", [QUICK, pytest.param(LEARNING[2:], marks=pytest.mark.exhaustive)], ids=["some", "others"]
)
def test_each_learns_to_reconstruct_its_training_crops(smooth, store, tmp_path, plans):
    folder = store if plans is QUICK else tmp_path
    trained = autoencoders(smooth, smooth.where("train"), folder, seed=3, plans=plans)
    crops = smooth.crops[:16]
    baseline = np.abs(crops - crops.mean(0)).mean()
    for redraw in trained:
        # 0.20 to 0.35 of the error of drawing the mean picture.
        assert redraw.error(crops) < 0.5 * baseline
    drawn = [redraw(smooth.crops[0]) for redraw in trained]
    assert {(image.shape, image.dtype) for image in drawn} == {((16, 16, 3), np.dtype(np.uint8))}
    assert len({image.tobytes() for image in drawn}) == len(plans)


def test_autoencoders_are_cached_for_the_same_crops_settings_and_seed(smooth, store, trained):
    before = _contents(store)
    assert len(before) == len(QUICK)
    rows = smooth.where("train")
    cached = autoencoders(smooth, rows, store, seed=3, plans=QUICK, on_progress=_fail_if_trained)
    assert _contents(store) == before
    for redraw, same in zip(trained, cached, strict=True):
        assert np.array_equal(redraw(smooth.crops[0]), same(smooth.crops[0]))

    class TrainingStarted(Exception):
        pass

    def stop(done, total):
        raise TrainingStarted

    for changed in (
        {"seed": 4},
        {"half": True},
        {"rows": rows[1:]},
        {"crops": dataclasses.replace(smooth, key="other")},
        {"plans": [dataclasses.replace(QUICK[0], latent=13)]},
    ):
        arguments = {"crops": smooth, "rows": rows, "seed": 3, "plans": QUICK, **changed}
        with pytest.raises(TrainingStarted):
            autoencoders(store=store, on_progress=stop, **arguments)
    # Interrupted trainings leave no files.
    assert _contents(store) == before


def test_an_interrupted_training_resumes_at_the_unfinished_autoencoder(smooth, tmp_path):
    plans = [dataclasses.replace(plan, steps=3) for plan in PLANS[:2]]
    rows, progress = smooth.where("train"), []

    def stop(done, total):
        progress.append((done, total))
        if len(progress) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        autoencoders(smooth, rows, tmp_path / "a", seed=1, plans=plans, on_progress=stop)
    assert len(_contents(tmp_path / "a")) == 1
    resumed = []
    autoencoders(
        smooth, rows, tmp_path / "a", seed=1, plans=plans, on_progress=lambda *args: resumed.append(args)
    )
    assert [done for done, _ in progress] == [16, 32, 48, 64]
    assert resumed == [(16, 48), (32, 48), (48, 48)]
    autoencoders(smooth, rows, tmp_path / "b", seed=1, plans=plans)
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")


def test_only_the_given_rows_are_used(smooth, tmp_path):
    other = smooth.crops.copy()
    other[16:] = 0
    plans = [dataclasses.replace(PLANS[1], steps=8)]
    for name, crops in (("a", smooth), ("b", dataclasses.replace(smooth, crops=other))):
        autoencoders(crops, smooth.where("train"), tmp_path / name, seed=1, plans=plans)
    assert _contents(tmp_path / "a") == _contents(tmp_path / "b")
    with pytest.raises(UsageError, match="no real crops"):
        autoencoders(smooth, np.array([], np.int64), tmp_path, seed=1)


def test_the_callers_random_state_is_unchanged(smooth, tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    autoencoders(
        smooth, smooth.where("train"), tmp_path, seed=1, plans=[dataclasses.replace(PLANS[0], steps=1)]
    )
    assert torch.equal(torch.rand(1), expected)


def test_redrawn_fakes_are_equal_in_any_thread(smooth, trained):
    def make(seed):
        rng = np.random.default_rng(seed)
        means = Means(lambda: smooth.crops[rng.integers(16)], trained)
        return forged(["redraw"], smooth.crops[seed % 16], means, RECIPE, rng)[0].tobytes()

    expected = [make(seed) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(64))) == expected
