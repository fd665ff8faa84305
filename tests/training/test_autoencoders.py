"""Autoencoders for fakes: they learn, are kept, look at their rows alone, and draw alike in any thread."""

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

#: As many as the slowest takes to draw crops of 16 px that it has seen.
STEPS = 200
LEARNING = tuple(dataclasses.replace(plan, steps=STEPS) for plan in PLANS)
#: The first, without a critic, and one with it: each takes seconds.
QUICK = LEARNING[:2]
RECIPE = CropRecipe(side=16, scale=0.75, shift=(0.0, -0.16))


@pytest.fixture(scope="module")
def smooth():
    """Crops with a different smooth picture each, of which the first half is to be learnt from."""
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


def _not_called(done, total):
    pytest.fail("an autoencoder was trained")


def _bytes(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.mark.parametrize(
    "plans", [QUICK, pytest.param(LEARNING[2:], marks=pytest.mark.exhaustive)], ids=["some", "others"]
)
def test_each_learns_to_draw_what_it_has_seen(smooth, store, tmp_path, plans):
    folder = store if plans is QUICK else tmp_path
    trained = autoencoders(smooth, smooth.where("train"), folder, seed=3, plans=plans)
    seen = smooth.crops[:16]
    without = np.abs(seen - seen.mean(0)).mean()
    for redraw in trained:
        # 0.20 to 0.35 here; what draws the mean picture has 1.
        assert redraw.error(seen) < 0.5 * without
    drawn = [redraw(smooth.crops[0]) for redraw in trained]
    assert {(image.shape, image.dtype) for image in drawn} == {((16, 16, 3), np.dtype(np.uint8))}
    assert len({image.tobytes() for image in drawn}) == len(plans)


def test_what_was_trained_is_kept_for_the_same_crops_and_seed_alone(smooth, store, trained):
    before = _bytes(store)
    assert len(before) == len(QUICK)
    again = autoencoders(smooth, smooth.where("train"), store, seed=3, plans=QUICK, on_progress=_not_called)
    assert _bytes(store) == before
    for redraw, same in zip(trained, again, strict=True):
        assert np.array_equal(redraw(smooth.crops[0]), same(smooth.crops[0]))

    class Begun(Exception):
        pass

    def stop(done, total):
        raise Begun

    rows = smooth.where("train")
    for changed in (
        {"seed": 4},
        {"half": True},
        {"rows": rows[1:]},
        {"crops": dataclasses.replace(smooth, key="other")},
        {"plans": [dataclasses.replace(QUICK[0], latent=13)]},
    ):
        arguments = {"crops": smooth, "rows": rows, "seed": 3, "plans": QUICK, **changed}
        with pytest.raises(Begun):
            autoencoders(store=store, on_progress=stop, **arguments)
    # What was interrupted has left nothing that could be taken for whole.
    assert _bytes(store) == before


def test_an_interrupted_training_goes_on_with_the_autoencoder_that_it_was_at(smooth, tmp_path):
    plans = [dataclasses.replace(plan, steps=3) for plan in PLANS[:2]]
    rows, told = smooth.where("train"), []

    def stop(done, total):
        told.append((done, total))
        if len(told) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        autoencoders(smooth, rows, tmp_path / "a", seed=1, plans=plans, on_progress=stop)
    assert len(_bytes(tmp_path / "a")) == 1
    resumed = []
    autoencoders(
        smooth, rows, tmp_path / "a", seed=1, plans=plans, on_progress=lambda *given: resumed.append(given)
    )
    assert [done for done, _ in told] == [16, 32, 48, 64]
    assert resumed == [(16, 48), (32, 48), (48, 48)]
    autoencoders(smooth, rows, tmp_path / "b", seed=1, plans=plans)
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")


def test_only_the_rows_that_are_named_are_looked_at(smooth, tmp_path):
    other = smooth.crops.copy()
    other[16:] = 0
    plans = [dataclasses.replace(PLANS[1], steps=8)]
    for name, crops in (("a", smooth), ("b", dataclasses.replace(smooth, crops=other))):
        autoencoders(crops, smooth.where("train"), tmp_path / name, seed=1, plans=plans)
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")
    with pytest.raises(UsageError, match="no real crop"):
        autoencoders(smooth, np.array([], np.int64), tmp_path, seed=1)


def test_a_caller_s_random_numbers_are_left_alone(smooth, tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    autoencoders(
        smooth, smooth.where("train"), tmp_path, seed=1, plans=[dataclasses.replace(PLANS[0], steps=1)]
    )
    assert torch.equal(torch.rand(1), expected)


def test_redrawn_fakes_are_the_same_in_any_thread(smooth, trained):
    def make(seed):
        rng = np.random.default_rng(seed)
        means = Means(lambda: smooth.crops[rng.integers(16)], trained)
        return forged(["redraw"], smooth.crops[seed % 16], means, RECIPE, rng)[0].tobytes()

    alone = [make(seed) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(make, range(64))) == alone
