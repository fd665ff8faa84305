"""The order of samples and their batches: balance, pairs, determinism and masks."""

import dataclasses

import numpy as np
import pytest
import torch

from deepscan.data.augmentation.forgeries import FORGERIES
from deepscan.data.crops.crop_cache import PixelLayer
from deepscan.detectors.detector import FAKE, REAL, UNKNOWN
from deepscan.errors import UsageError
from deepscan.training.batches import ALONE, CropSource, arrange, halves, reals
from deepscan.training.recipe import load_recipe
from tests.training.conftest import crop_set


@pytest.fixture
def paired(recipe):
    return dataclasses.replace(recipe, augment="none", blend=0.0)


def _pairs(order):
    assert order[:, 1].tolist() == [0, 1] * (len(order) // 2)
    return order[:, 0].reshape(-1, 2)


def _parts(order, size=8):
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


def _batches(crops, order, recipe, epoch=0, masks=False):
    source = CropSource(crops, recipe, recipe.make_preprocessor(), masks=masks)
    return list(source.batches(_parts(order), epoch))


def test_pairs_share_a_group_if_possible_and_every_crop_is_used(paired):
    crops = crop_set([0, 1, 0, 1, 0, 1, 0], "aabbcde")
    order = arrange(crops, np.arange(7), paired, (1,))
    pairs = _pairs(order)
    assert pairs.shape == (4, 2)
    assert {(0, 1), (2, 3)} <= {tuple(pair) for pair in pairs.tolist()}
    # Four reals and three fakes: a fake is drawn twice.
    assert sorted(pairs[:, 0].tolist()) == [0, 2, 4, 6]
    assert set(pairs[:, 1].tolist()) == {1, 3, 5}
    assert order[1::2, 2].tolist() == pairs[:, 0].tolist()


def test_balance_equal_mixes_groups_and_balances_classes(paired):
    crops = crop_set([0, 1] * 50, [str(row // 2) for row in range(100)])
    pairs = _pairs(arrange(crops, np.arange(100), dataclasses.replace(paired, balance="equal"), (1,)))
    assert sorted(pairs.ravel().tolist()) == list(range(100))
    same = [crops.groups[real] == crops.groups[fake] for real, fake in pairs.tolist()]
    assert np.mean(same) < 0.2


def test_balance_natural_has_every_crop_once_and_a_real_for_each_fake(paired):
    crops = crop_set([0, 1, 1, 1, 1] * 4)
    order = arrange(crops, np.arange(20), dataclasses.replace(paired, balance="natural"), (1,))
    assert sorted(order[:, 0].tolist()) == list(range(20))
    assert (crops.labels[order[:, 0]] == order[:, 1]).all()
    assert (crops.labels[order[order[:, 1] == 1, 2]] == 0).all()
    assert (order[order[:, 1] == 0, 2] == ALONE).all()


def test_without_labels_every_crop_is_paired_with_its_own_fake(paired):
    blind = dataclasses.replace(paired, labels="none", blend=1.0)
    crops = crop_set([1, 1, 0, 1])
    order = arrange(crops, np.arange(4), blind, (1,))
    assert sorted(order[::2, 0].tolist()) == [0, 1, 2, 3]
    assert (order[::2, 0] == order[1::2, 0]).all()
    assert (order[1::2, 2] == order[1::2, 0]).all()
    relabelled = dataclasses.replace(crops, labels=np.array([0, 0, 1, 0]))
    assert np.array_equal(arrange(relabelled, np.arange(4), blind, (1,)), order)


@pytest.mark.parametrize("balance", ["natural", "equal", "paired"])
def test_the_order_depends_on_the_seed(paired, balance):
    recipe = dataclasses.replace(paired, balance=balance)
    crops = crop_set([0, 1] * 20, [str(row // 2) for row in range(40)])
    first, same, other = (arrange(crops, np.arange(40), recipe, (1, epoch)) for epoch in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("label", [0, 1])
def test_training_on_one_class_is_refused(label, paired):
    with pytest.raises(UsageError, match=r"no (real|fake) crops"):
        arrange(crop_set([label] * 4), np.arange(4), paired, (1,))


def test_halves_share_no_group_and_do_not_depend_on_other_groups():
    labels, groups = [0, 1] * 40, [f"g{row // 2}" for row in range(80)]
    first, second = halves(crop_set(labels, groups, splits=("val",) * 80))
    names = [{groups[row] for row in half} for half in (first, second)]
    assert not names[0] & names[1]
    assert len(first) + len(second) == 80
    fewer, _ = halves(crop_set(labels[:60], groups[:60], splits=("val",) * 60))
    assert fewer.tolist() == [row for row in first.tolist() if row < 60]
    with pytest.raises(UsageError, match="without reals or fakes"):
        halves(crop_set([0, 1], splits=("val",) * 2))


def test_batches_are_half_fake_and_deterministic(crops, recipe):
    order = arrange(crops, crops.where("train"), recipe, (0,))
    first, second = (_batches(crops, order, recipe, epoch=2) for _ in range(2))
    assert len(first) == 28 // 4
    for batch, same in zip(first, second, strict=True):
        assert batch.inputs["crops"].shape == (8, 3, 32, 32)
        assert batch.inputs["crops"].dtype == torch.float32
        assert batch.labels.tolist() == [0, 1] * 4
        assert batch.masks is None
        assert torch.equal(batch.inputs["crops"], same.inputs["crops"])
    other = _batches(crops, order, recipe, epoch=3)[0]
    assert not torch.equal(first[0].inputs["crops"], other.inputs["crops"])


def test_batches_have_the_crops_of_the_order(crops, paired):
    order = arrange(crops, crops.where("train"), paired, (0,))
    images = _batches(crops, order, paired)[0].inputs["crops"]
    pixels = (images.permute(0, 2, 3, 1).numpy() * paired.std + paired.mean) * 255
    np.testing.assert_allclose(pixels, crops.crops[order[:8, 0]], atol=0.01)


def test_a_pair_gets_the_same_augmentation(crops, paired):
    varied = dataclasses.replace(paired, augment="compact")
    order = np.array([[0, 0, 0], [1, 1, 0]] * 4)
    same = dataclasses.replace(crops, crops=np.repeat(crops.crops[:1], len(crops.crops), axis=0))
    images = _batches(same, order, varied)[0].inputs["crops"]
    assert torch.equal(images[0], images[1])
    images = _batches(same, order, dataclasses.replace(varied, balance="equal"))[0].inputs["crops"]
    assert not torch.equal(images[0], images[1])


@pytest.fixture
def published(crops):
    """The crops with two origins; fakes have smaller faces."""
    sizes = np.where(crops.labels == REAL, 32, 8)
    origins = tuple(f"origin-{row % 2}" for row in range(96))
    return dataclasses.replace(crops, origins=origins, pairs=("",) * 96, face_px=sizes)


def test_couples_alternate_and_name_each_other_as_partners(published, paired):
    balanced = dataclasses.replace(paired, balance="origins")
    order = arrange(published, published.where("train"), balanced, (0,))
    assert len(order) == 56
    _pairs(order)
    assert order[::2, 2].tolist() == order[1::2, 0].tolist()
    assert order[1::2, 2].tolist() == order[::2, 0].tolist()
    assert np.array_equal(order, arrange(published, published.where("train"), balanced, (0,)))


def test_balance_groups_makes_fakes_only_in_couples_of_the_same_real(published, paired):
    recipe = dataclasses.replace(paired, balance="groups", blend=0.5, augment="none", forgeries=("render",))
    order = arrange(published, published.where("train"), recipe, (0,))
    reals, fakes = order[::2], order[1::2]
    made = reals[:, 0] == fakes[:, 0]
    assert 0.2 < made.mean() < 0.8
    assert set(published.labels[fakes[~made, 0]]) == {FAKE}
    unsized = dataclasses.replace(published, face_px=np.zeros(96, np.int64))
    without_partners = np.column_stack((order[:, :2], np.full(len(order), ALONE)))
    natural = dataclasses.replace(recipe, balance="natural", blend=0.0)
    images, plain = (
        torch.cat([batch.inputs["crops"] for batch in _batches(unsized, rows, settings)])
        for rows, settings in ((order, recipe), (without_partners, natural))
    )
    same = [torch.equal(image, unchanged) for image, unchanged in zip(images, plain, strict=True)]
    assert all(same[::2])
    assert same[1::2] == (~made).tolist()[: len(same) // 2]


def test_balance_origins_needs_origins(crops, paired):
    with pytest.raises(UsageError, match="needs the origin"):
        arrange(crops, crops.where("train"), dataclasses.replace(paired, balance="origins"), (0,))


def test_a_couple_gets_the_same_augmentation_and_its_real_another_in_another_couple(published, paired):
    varied = dataclasses.replace(paired, augment="web", balance="origins")
    same = dataclasses.replace(
        published, crops=np.repeat(published.crops[:1], 96, axis=0), face_px=np.full(96, 20)
    )
    order = np.array([[0, 0, 1], [1, 1, 0], [0, 0, 3], [3, 1, 0]] * 2)
    images = _batches(same, order, varied)[0].inputs["crops"]
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[2], images[3])
    assert not torch.equal(images[0], images[2])


def test_a_large_face_is_coarsened_to_the_size_of_its_partners(published, paired):
    balanced = dataclasses.replace(paired, balance="origins")
    order = np.array([[0, 0, 1], [1, 1, 0]] * 4)
    coarse = _batches(published, order, balanced)[0].inputs["crops"]
    equal = dataclasses.replace(published, face_px=np.full(96, 8))
    sharp = _batches(equal, order, balanced)[0].inputs["crops"]
    assert coarse[0].diff(dim=-1).abs().mean() < 0.5 * sharp[0].diff(dim=-1).abs().mean()
    assert torch.equal(coarse[1], sharp[1])


def test_pairs_only_crops_are_paired_with_a_fake_made_from_them(crops, paired):
    mixed = dataclasses.replace(crops, splits=("pairs",) * 3 + crops.splits[3:])
    mixed = dataclasses.replace(mixed, labels=np.append([0, 0, 0], crops.labels[3:]))
    order = arrange(mixed, np.append(mixed.where("train"), mixed.where("pairs")), paired, (0,))
    rows = order[order[:, 2] < 3].tolist()
    assert sorted(rows) == [[row, label, row] for row in range(3) for label in (0, 1)]
    # Such a fake is made even with blend=0, and its face is not used for other fakes.
    source = CropSource(mixed, dataclasses.replace(paired, blend=0.0), paired.make_preprocessor())
    batch = next(iter(source.batches([np.array([[0, 0, 0], [0, 1, 0]])], 0)))
    assert not torch.equal(*batch.inputs["crops"])
    assert not set(range(3)) & set(source._real.tolist())


def test_blending_replaces_fakes_by_blended_reals_with_masks(crops, paired):
    blended = dataclasses.replace(paired, blend=1.0)
    order = arrange(crops, crops.where("train"), blended, (0,))
    batch = _batches(crops, order, blended, masks=True)[0]
    images, labels = batch.inputs["crops"], batch.labels
    changed = (images[labels == 0] != images[labels == 1]).any(dim=1)
    assert (changed.float().mean(dim=(1, 2)) > 0).all()
    assert (changed.float().mean(dim=(1, 2)) < 1).all()
    assert not batch.masks[labels == 0].any()
    # Pixels outside the mask are the real's, except where the mask rounds to 0 of 255.
    assert not changed[batch.masks[labels == 1] == 0].float().mean() > 0.02
    assert (batch.masks[labels == 1].amax(dim=(1, 2)) > 0.2).all()


def test_a_swapped_face_comes_from_a_real_training_crop(crops, paired, monkeypatch):
    donors = []

    def spy(crop, means, recipe, rng):
        donors.extend(means.donor() for _ in range(8))
        return donors[-1].copy(), np.ones(crop.shape[:2], np.float32)

    monkeypatch.setattr("deepscan.data.augmentation.forgeries.FORGERIES", {**FORGERIES, "swap": spy})
    swapped = dataclasses.replace(paired, blend=1.0, forgeries=("swap",))
    order = arrange(crops, crops.where("train"), swapped, (0, 0))
    _batches(crops, order[: swapped.batch], swapped)
    train = crops.where("train")
    real = {crops.crops[row].tobytes() for row in train[crops.labels[train] == REAL]}
    assert {donor.tobytes() for donor in donors} <= real
    assert len({donor.tobytes() for donor in donors}) > 4


def test_a_redrawn_face_comes_from_the_given_autoencoder(crops, paired):
    redrawn = dataclasses.replace(paired, blend=1.0, forgeries=("redraw",))
    order = arrange(crops, crops.where("train"), redrawn, (0,))[:8]
    flat = np.full((32, 32, 3), 7, np.uint8)
    source = CropSource(crops, redrawn, redrawn.make_preprocessor(), redrawers=[lambda image: flat])
    images = next(source.batches([order], 0)).inputs["crops"].permute(0, 2, 3, 1).numpy()
    pixels = np.rint((images * redrawn.std + redrawn.mean) * 255)
    # Inside the mask the face is redrawn, outside it is the real one.
    assert (pixels[1::2, 12:16, 16] == 7).mean() > 0.5
    assert not (pixels[::2] == 7).all(axis=-1).any()


@pytest.mark.parametrize("labels", ["given", "none"])
def test_fakes_are_made_only_from_real_training_crops(crops, paired, labels):
    mixed = dataclasses.replace(crops, splits=("pairs", *crops.splits[1:]))
    rows = reals(mixed, dataclasses.replace(paired, labels=labels, blend=1.0))
    train = range(1, 56)
    assert rows.tolist() == [row for row in train if labels == "none" or crops.labels[row] == REAL]


def test_masks_are_those_of_the_data_or_unknown(crops, paired):
    masks = np.zeros((96, 32, 32), np.uint8)
    masks[1::4, :16] = 255
    masked = np.zeros(96, bool)
    masked[1::4] = True
    with_masks = dataclasses.replace(crops, layers={"forged": PixelLayer(masks, masked)})
    order = np.array([[0, 0, 0], [1, 1, 0], [2, 0, 2], [3, 1, 2]] * 2)
    batched = _batches(with_masks, order, paired, masks=True)[0].masks
    assert not batched[[0, 2]].any()
    assert batched[1, :16].min() == 1
    assert batched[1, 16:].max() == 0
    assert (batched[3] == UNKNOWN).all()
    with pytest.raises(UsageError, match="needs masks"):
        CropSource(crops, paired, paired.make_preprocessor(), masks=True)


def test_face_masks_of_the_data_define_the_regions_and_are_augmented(crops):
    recipe = load_recipe(
        "corit",
        "compact",
        ["crop.side=32", "inputs={grid: 2, face: given}", "augment=none", "batch=4", "balance=natural"],
    )
    faces = np.zeros((96, 32, 32), np.uint8)
    faces[0, :16, :16] = 255
    with_faces = dataclasses.replace(crops, layers={"face": PixelLayer(faces, np.arange(96) == 0)})
    order = np.array([[0, 0, 0], [1, 1, 0]])

    def regions(recipe, epoch=0):
        source = CropSource(with_faces, recipe, recipe.make_preprocessor())
        return next(source.batches([order], epoch)).inputs["regions"]

    # The face is the first patch, which is too small to erode; the other patches are its boundary.
    assert regions(recipe)[0].tolist() == [[1, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]
    canonical = recipe.make_preprocessor()(crops.crops[:1])["regions"][0]
    assert np.array_equal(regions(recipe)[1], canonical)
    mirrored = dataclasses.replace(recipe, augment="bench")
    foregrounds = {tuple(regions(mirrored, epoch)[0, 0].tolist()) for epoch in range(8)}
    assert foregrounds >= {(1, 0, 0, 0), (0, 1, 0, 0)}


def test_an_error_in_a_thread_is_raised_in_the_loop(crops, paired):
    with pytest.raises(IndexError):
        _batches(crops, np.array([[0, 0, 0], [999, 1, 0]] * 4), paired)
