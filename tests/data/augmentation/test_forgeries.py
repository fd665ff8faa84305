"""Synthetic fakes: changed only inside the mask, each kind with its typical traces."""

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.data.augmentation.forgeries import FORGERIES, Means, forged

RECIPE = CropRecipe(side=96, scale=0.75, shift=(0.0, -0.16), interpolation="area", border="reflect")


def picture(seed, mean=120):
    """A smooth picture with fine grain, like skin."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.normal(mean, 30, (6, 6, 3)), (96, 96), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 6, (96, 96, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def crop():
    return picture(5)


def inverted(image):
    """Replacement of an autoencoder, with an unmistakable output."""
    return 255 - image


def make(kind, crop, seed, donor=lambda: picture(9), redrawers=(inverted,)):
    return forged([kind], crop, Means(donor, redrawers), RECIPE, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forgery_changes_only_the_pixels_in_its_mask(kind, crop):
    before = crop.copy()
    for seed in range(12):
        fake, mask = make(kind, crop, seed)
        assert fake.shape == crop.shape
        assert fake.dtype == np.uint8
        assert mask.dtype == np.float32
        assert 0 <= mask.min() <= mask.max() <= 1
        change = np.abs(fake.astype(int) - crop).max(-1)
        assert not change[mask == 0].any()
        assert change[mask > 0.5 * mask.max()].mean() > 0.5
    assert (crop == before).all()


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forgery_depends_only_on_its_seed(kind, crop):
    (first, mask), (again, same) = make(kind, crop, 3), make(kind, crop, 3)
    assert (first == again).all()
    assert (mask == same).all()
    assert (make(kind, crop, 4)[0] != first).any()


def test_a_swap_uses_the_most_similar_donor_with_matched_colours(crop):
    donors = iter([picture(2, mean=20), picture(7, mean=125), picture(3, mean=240), picture(4, mean=230)] * 8)
    similar = picture(7, mean=125)
    for seed in range(8):
        fake, mask = make("swap", crop, seed, lambda: next(donors))
        inside = mask > 0.95
        of_donor = np.corrcoef(fake[inside].ravel(), similar[inside].ravel())[0, 1]
        of_crop = np.corrcoef(fake[inside].ravel(), crop[inside].ravel())[0, 1]
        assert of_donor > 0.7 > of_crop
        # The colours are at least 70 % of the way to those of the face.
        assert np.abs(fake[inside].mean(0) - crop[inside].mean(0)).max() < 12


def test_rendering_removes_the_grain(crop):
    def grain(image, where):
        fine = image.astype(np.float32) - cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5)
        return float(fine[where].std())

    ratios = []
    for seed in range(12):
        fake, mask = make("render", crop, seed)
        where = mask > 0.95
        ratios.append(grain(fake, where) / grain(crop, where))
    assert np.median(ratios) < 0.7


def test_redraw_passes_the_crop_a_warp_or_a_similar_donor_through_an_autoencoder(crop):
    sources, whole = [], 0

    def redraw(image):
        sources.append(image)
        return inverted(image)

    dissimilar, similar = picture(2, mean=240), picture(7, mean=125)
    donors = iter([dissimilar, similar, dissimilar, dissimilar] * 60)
    for seed in range(60):
        fake, mask = make("redraw", crop, seed, lambda: next(donors), [redraw])
        whole += bool((mask == 1).all())
        inside = mask > 0.95
        assert np.corrcoef(fake[inside].ravel(), sources[-1][inside].ravel())[0, 1] < -0.8
    same = sum(np.array_equal(source, crop) for source in sources)
    correlations = [
        [np.corrcoef(source.ravel(), other.ravel())[0, 1] for other in (crop, similar, dissimilar)]
        for source in sources
    ]
    nearest = np.argmax(correlations, axis=1)
    # Expected of 60: 36 whole crops, 12 donors, and 14 of the other 48 warped; tolerance of three standard
    # deviations.
    assert 36 - 12 < whole < 36 + 12
    assert 12 - 10 < (nearest == 1).sum() < 12 + 10
    assert not (nearest == 2).any()
    assert 34 - 12 < same < 34 + 12


def test_redraw_uses_every_autoencoder_and_needs_at_least_one(crop):
    seen = set()
    used = [lambda image, index=index: seen.add(index) or inverted(image) for index in range(3)]
    for seed in range(20):
        make("redraw", crop, seed, redrawers=used)
    assert seen == {0, 1, 2}
    with pytest.raises(ValueError, match="autoencoders"):
        make("redraw", crop, 0, redrawers=())


@pytest.mark.parametrize(
    ("kinds", "share"), [(["render", "warp"], 0.2), (["render", "render", "warp"], 4 / 15)]
)
def test_kinds_are_drawn_in_proportion_to_their_count(crop, kinds, share):
    rng, means, count = np.random.default_rng(0), Means(lambda: crop), 400
    whole = sum(bool((forged(kinds, crop, means, RECIPE, rng)[1] == 1).all()) for _ in range(count))
    # `render` covers everything in 40 % of cases, `warp` never. Two standard deviations are less than the
    # difference between the two shares.
    assert abs(whole - share * count) < 2 * np.sqrt(count * share * (1 - share))
