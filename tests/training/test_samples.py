"""The order of samples and their batches: balanced, paired, repeatable."""

import dataclasses

import numpy as np
import pytest
import torch

from deepscan.data.crops import CropSet
from deepscan.errors import UsageError
from deepscan.training.samples import batches, halves, pairs


def _crops(labels, groups, split="train"):
    count = len(labels)
    return CropSet(
        np.zeros((count, 8, 8, 3), np.uint8), np.array(labels), tuple(groups), (split,) * count, 0, ""
    )


def test_pairs_are_of_one_group_where_there_are_both_and_everyone_is_drawn():
    crops = _crops([0, 1, 0, 1, 0, 1, 0], "aabbcde")
    order = pairs(crops, np.arange(7), (1,), by_group=True)
    assert order.shape == (4, 2)
    assert {(0, 1), (2, 3)} <= {tuple(pair) for pair in order.tolist()}
    # Four reals and three fakes: a fake is drawn twice.
    assert sorted(order[:, 0].tolist()) == [0, 2, 4, 6]
    assert set(order[:, 1].tolist()) == {1, 3, 5}


def test_without_pairing_groups_are_mixed_and_classes_still_balanced():
    crops = _crops([0, 1] * 50, [str(at // 2) for at in range(100)])
    order = pairs(crops, np.arange(100), (1,), by_group=False)
    assert sorted(order.ravel().tolist()) == list(range(100))
    same = [crops.groups[real] == crops.groups[fake] for real, fake in order.tolist()]
    assert np.mean(same) < 0.2


def test_an_order_hangs_on_its_seed():
    crops = _crops([0, 1] * 20, [str(at // 2) for at in range(40)])
    one, same, other = (pairs(crops, np.arange(40), (1, epoch), by_group=True) for epoch in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_cannot_be_trained_on(label):
    with pytest.raises(UsageError, match=r"no (real|fake) crop"):
        pairs(_crops([label] * 4, "abcd"), np.arange(4), (1,), by_group=True)


def test_halves_share_no_group_and_do_not_move():
    labels, groups = [0, 1] * 40, [f"g{at // 2}" for at in range(80)]
    first, second = halves(_crops(labels, groups, "val"))
    names = [{groups[at] for at in half} for half in (first, second)]
    assert not names[0] & names[1]
    assert len(first) + len(second) == 80
    fewer, _ = halves(_crops(labels[:60], groups[:60], "val"))
    assert fewer.tolist() == [at for at in first.tolist() if at < 60]
    with pytest.raises(UsageError, match="lacks real or fake"):
        halves(_crops([0, 1], "ab", "val"))


def test_batches_are_half_fake_and_repeat(crops, recipe):
    order = pairs(crops, crops.where("train"), (0,), by_group=True)
    once, again = (list(batches(crops, order, recipe, epoch=2)) for _ in range(2))
    assert len(once) == 28 // 4
    for (images, labels), (same, _) in zip(once, again, strict=True):
        assert images.shape == (8, 3, 32, 32)
        assert images.dtype == torch.float32
        assert labels.tolist() == [0, 1] * 4
        assert torch.equal(images, same)
    other = next(iter(batches(crops, order, recipe, epoch=3)))[0]
    assert not torch.equal(once[0][0], other)


def test_batches_hold_the_crops_that_the_order_names(crops, recipe):
    plain = dataclasses.replace(recipe, augment="none", blend=0.0)
    order = pairs(crops, crops.where("train"), (0,), by_group=True)
    images, _ = next(iter(batches(crops, order, plain, epoch=0)))
    pixels = (images.permute(0, 2, 3, 1).numpy() * recipe.std + recipe.mean) * 255
    np.testing.assert_allclose(pixels, crops.crops[order[:4].ravel()], atol=0.01)


def test_a_pair_is_varied_alike(crops, recipe):
    order = np.array([[0, 0]] * 4)  # the same crop as real and as fake
    plain = dataclasses.replace(recipe, augment="compact", blend=0.0)
    images, _ = next(iter(batches(crops, order, plain, epoch=0)))
    assert torch.equal(images[0], images[1])
    order = np.array([[0, 1], [2, 3], [4, 5], [6, 7]])
    same = dataclasses.replace(crops, crops=np.repeat(crops.crops[:1], len(crops.crops), axis=0))
    images, _ = next(iter(batches(same, order, dataclasses.replace(plain, paired=False), epoch=0)))
    assert not torch.equal(images[0], images[1])


def test_blending_replaces_fakes_by_their_reals(crops, recipe):
    blended = dataclasses.replace(recipe, augment="none", blend=1.0)
    order = pairs(crops, crops.where("train"), (0,), by_group=True)
    images, labels = next(iter(batches(crops, order, blended, epoch=0)))
    real, fake = images[labels == 0], images[labels == 1]
    changed = (real != fake).any(dim=1).float().mean(dim=(1, 2))
    assert (changed > 0).all()
    assert (changed < 1).all()


def test_an_error_in_the_thread_reaches_the_loop(crops, recipe):
    with pytest.raises(IndexError):
        list(batches(crops, np.array([[0, 999]] * 4), dataclasses.replace(recipe, blend=0.0), epoch=0))
