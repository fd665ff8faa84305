"""Augmentation: what a step may change, and that a variant hangs on its seed alone."""

from itertools import permutations

import cv2
import numpy as np
import pytest

from deepscan.data.augmentation import augment, degrade
from deepscan.data.augmentation.augment import AUGMENTATIONS, Affine, BrightnessContrast, augmented, steps_of
from deepscan.data.augmentation.degrade import Codec, Jpeg, Shrink
from deepscan.errors import UsageError

STEPS = {step for steps in AUGMENTATIONS.values() for _, step in steps}


@pytest.fixture
def image():
    y, x = np.mgrid[:48, :48]
    picture = np.stack((x * 5, y * 5, (x + y) * 2), axis=2).astype(np.uint8)
    picture[10:20, 12:22] = (250, 20, 60)
    return picture


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_variants_keep_shape_and_kind_and_leave_the_picture_alone(image, name):
    before = image.copy()
    for seed in range(40):
        variant, _ = augmented(image, name, (seed,))
        assert variant.shape == image.shape
        assert variant.dtype == np.uint8
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_a_variant_hangs_on_its_seed_alone(image, name):
    first = [augmented(image, name, (1, epoch, 7))[0] for epoch in range(6)]
    again = [augmented(image, name, (1, epoch, 7))[0] for epoch in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({variant.tobytes() for variant in first}) > 3


def test_none_changes_nothing(image):
    assert np.array_equal(augmented(image, "none", (0,))[0], image)


@pytest.mark.parametrize("step", sorted(STEPS, key=str))
def test_each_step_works_on_flat_and_on_extreme_pictures(step):
    rng = np.random.default_rng(0)
    for value in (0, 128, 255):
        flat = np.full((32, 32, 3), value, np.uint8)
        for _ in range(5):
            assert step(flat, rng).shape == flat.shape


def test_flip_mirrors(image):
    assert np.array_equal(augment.flip(image, np.random.default_rng(0))[:, 0], image[:, -1])


def test_an_affine_without_reach_is_the_identity(image):
    still = Affine(degrees=0, scale=(1, 1), shift=0)(image, np.random.default_rng(0))
    assert np.array_equal(still, image)


def test_a_larger_scale_enlarges_about_the_middle(image):
    grown = Affine(degrees=0, scale=(2, 2), shift=0)(image, np.random.default_rng(0))
    # About (23.5, 23.5), the square's left edge goes from 12 to 0.5 and its lower edge from 19.5 to 15.5.
    assert tuple(grown[8, 6]) == (250, 20, 60)
    assert tuple(grown[14, 2]) == (250, 20, 60)
    assert tuple(grown[18, 6]) != (250, 20, 60)


def test_stronger_compression_costs_more(image):
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    error = [
        np.abs(Jpeg(q, q)(noisy, np.random.default_rng(0)).astype(int) - noisy).mean() for q in (95, 70, 30)
    ]
    assert error[0] < error[1] < error[2]


def test_shrinking_takes_fine_detail_out():
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)

    class Half:
        def uniform(self, low, high):
            return 0.5

    assert Shrink(0.5)(checks, Half()).std() < checks.std() / 10


def test_a_small_face_is_compressed_at_the_size_that_it_has_in_its_frame(image, monkeypatch):
    seen = []

    def as_frame(small, *_):
        seen.append(small.shape[0])
        return small

    monkeypatch.setattr(degrade, "_as_frame", as_frame)
    kept, packed = (Shrink(0.25, codec=codec)(image, np.random.default_rng(5)) for codec in (0.0, 1.0))
    assert 0.25 * len(image) <= seen[0] < len(image)
    assert len(seen) == 1
    # What the codec leaves is what is resized back.
    assert np.array_equal(kept, packed)


def test_what_is_too_small_for_a_frame_of_a_video_stays_as_it_is():
    tiny = np.random.default_rng(1).integers(0, 256, (15, 15, 3), np.uint8)
    frame = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    # Each of the three encoders is drawn.
    for seed in range(12):
        assert np.array_equal(Codec()(tiny, np.random.default_rng(seed)), tiny)
        assert not np.array_equal(Codec()(frame, np.random.default_rng(seed)), frame)


def test_fancy_pca_shifts_all_pixels_alike(image):
    grey_image = np.clip(image // 3 + 80, 0, 255).astype(np.uint8)
    shifted = augment.fancy_pca(grey_image, np.random.default_rng(3)).astype(int) - grey_image
    # One shift a channel, but for rounding.
    assert (shifted.reshape(-1, 3).max(0) - shifted.reshape(-1, 3).min(0)).max() <= 1


def test_erasing_hides_between_2_and_15_percent():
    picture = np.full((100, 100, 3), 7, np.uint8)
    for seed in range(30):
        changed = (augment.erase(picture, np.random.default_rng(seed)) != 7).any(axis=2).mean()
        assert 0.015 < changed <= 0.15


def test_an_unknown_set_is_named():
    with pytest.raises(UsageError) as raised:
        steps_of("compct")
    assert "'compact'" in raised.value.hint


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_a_mask_moves_with_what_it_covers(name):
    picture = np.full((64, 64, 3), 40, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    picture[12:40, 8:30], mask[12:40, 8:30] = 220, 255
    for seed in range(30):
        moved, shown = augmented(picture, name, (seed,), mask)
        inside, outside = (moved[part].mean() for part in (shown > 200, shown < 50))
        # Whatever is done to colours, a covered pixel stays the brighter one by far, and only there.
        assert inside > outside + 60
        assert np.array_equal(augmented(picture, name, (seed,))[0], moved)


#: The steps and probabilities of DeepfakeBench's set and of Effort's, as their configurations state them.
PUBLISHED = {
    "bench": [
        (0.5, augment.flip),
        (0.5, Affine(degrees=10.0, scale=(1.0, 1.0), shift=0.0)),
        (0.5, augment.random_blur),
        (0.5, augment.colour),
        (0.5, Jpeg(40, 100)),
    ],
    "effort": [
        (0.5, augment.flip),
        (0.5, BrightnessContrast(0.2)),
        (0.3, augment.hue_saturation_value),
        (0.1, Jpeg(40, 100)),
        (0.1, augment.gauss_noise),
        (0.1, augment.motion_blur),
        (0.1, augment.equalise),
        (0.1, augment.shuffle_channels),
        (0.1, augment.cut_out),
        (0.3, augment.gamma),
        (0.3, augment.glass_blur),
    ],
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_sets_are_as_published(name):
    assert list(steps_of(name)) == PUBLISHED[name]


def _draws(step, picture, count=40):
    """Return a picture as a step changes it, by as many seeds; shape (N, H, W, 3), int."""
    return np.stack([step(picture, np.random.default_rng(seed)) for seed in range(count)]).astype(int)


def _grey(value, side=64):
    return np.full((side, side, 3), value, np.uint8)


def test_gamma_raises_to_a_power_of_08_to_12():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    values = ramp.ravel() / 255
    powers = []
    for variant in _draws(augment.gamma, ramp).reshape(40, -1):
        power = np.log(variant[3 * 64] / 255) / np.log(values[3 * 64])
        # Rounded to a grey level, of 255 after a power that is known to a hundredth.
        np.testing.assert_allclose(variant, 255 * values**power, atol=1.5)
        powers.append(power)
    assert 0.78 < min(powers) < 0.85
    assert 1.15 < max(powers) < 1.22


def test_channels_are_swapped_in_every_order():
    variants = _draws(augment.shuffle_channels, np.full((4, 4, 3), (10, 20, 30), np.uint8))
    assert (variants == variants[:, :1, :1]).all()
    assert {tuple(variant[0, 0]) for variant in variants} == set(permutations((10, 20, 30)))


def test_light_changes_by_a_factor_and_a_shift_within_the_limit():
    for limit in (0.1, 0.2):
        dark, bright = (_draws(BrightnessContrast(limit), _grey(value, 2))[:, 0, 0, 0] for value in (80, 160))
        factors, shifts = (bright - dark) / 80, 2 * dark - bright
        # Each value is rounded to a grey level.
        assert 0.8 * limit < np.abs(factors - 1).max() < limit + 1 / 80
        assert 0.8 * limit * 255 < np.abs(shifts).max() < limit * 255 + 1.5


def test_hue_saturation_and_value_are_shifted_within_their_limits():
    picture = np.full((2, 2, 3), (60, 120, 150), np.uint8)

    def parts(image):
        return cv2.cvtColor(image.astype(np.uint8), cv2.COLOR_RGB2HSV)[0, 0].astype(int)

    moved = np.array([parts(variant) for variant in _draws(augment.hue_saturation_value, picture, 80)])
    reached = np.abs(moved - parts(picture)).max(axis=0)
    # There and back between 8-bit colours costs a step or two.
    for found, limit in zip(reached, (20, 30, 20), strict=True):
        assert 0.8 * limit < found <= limit + 2


def test_gaussian_noise_has_a_variance_of_10_to_50():
    variants = _draws(augment.gauss_noise, _grey(128))
    # Of 12288 values: the mean is known to 0.06, the variance to 1.3 %, and rounding adds 1/12.
    np.testing.assert_allclose(variants.mean(axis=(1, 2, 3)), 128, atol=0.3)
    variances = variants.var(axis=(1, 2, 3))
    assert 9.5 < variances.min() < 15
    assert 45 < variances.max() < 52.5


def test_motion_blurs_a_point_into_a_line():
    point = _grey(0, 21)
    point[10, 10] = 255
    lengths, directions = set(), set()
    for variant in _draws(augment.motion_blur, point, 80)[..., 0]:
        y, x = np.nonzero(variant)
        tall, wide = np.ptp(y) + 1, np.ptp(x) + 1
        lengths.add(max(tall, wide))
        directions.add(int(np.sign(int(wide) - int(tall))))
        # As thin as a line is, centred but for a step of it, and no light is lost but by rounding.
        assert len(y) == max(tall, wide)
        assert max(abs(y.mean() - 10), abs(x.mean() - 10)) < 0.5
        assert abs(variant.sum() - 255) <= len(y) / 2
    assert lengths == {3, 5, 7}
    assert directions == {-1, 0, 1}


def test_a_blur_is_one_of_three_sizes_and_round():
    point = _grey(0, 21)
    point[10, 10] = 255
    reach = set()
    for variant in _draws(augment.random_blur, point)[..., 0]:
        assert np.array_equal(variant, variant.T)
        assert variant.sum() == pytest.approx(255, rel=0.05)
        reach.add(np.ptp(np.nonzero(variant)[0]) + 1)
    assert reach == {3, 5, 7}


def test_equalising_spreads_the_lightness_and_leaves_the_colour(image):
    flat = (100 + image // 12).astype(np.uint8)
    before = cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).astype(int)
    for variant in _draws(augment.equalise, flat, 10):
        after = cv2.cvtColor(variant.astype(np.uint8), cv2.COLOR_RGB2LAB).astype(int)
        assert after[..., 0].std() > 1.2 * before[..., 0].std()
        assert np.abs(after[..., 1:] - before[..., 1:]).mean() < 2


def test_cutting_out_blacks_out_eight_squares_at_most():
    # Of 3 pixels, a 28th of 84; two of them rarely lie upon each other.
    cut = (_draws(augment.cut_out, _grey(200, 84)) != 200).all(axis=-1)
    assert cut.sum(axis=(1, 2)).max() == 8 * 3 * 3
    assert cut.sum(axis=(1, 2)).min() > 5 * 3 * 3
    assert not _draws(augment.cut_out, _grey(200, 84))[cut].any()


def test_glass_moves_pixels_a_little_and_keeps_the_mean():
    edge = _grey(40)
    edge[:, 32:] = 200
    for variant in _draws(augment.glass_blur, edge, 10):
        # Two pixels of swapping and two blurs of sigma 0.7 on either side.
        assert np.array_equal(variant[:, :24], edge[:, :24])
        assert np.array_equal(variant[:, 40:], edge[:, 40:])
        columns = variant[:, 30:34, 0]
        assert columns.std(axis=0).min() > 5, "rows differ: it is no mere blur"
        assert variant.mean() == pytest.approx(120, abs=2)


def test_a_turn_is_of_up_to_ten_degrees_either_way():
    half = _grey(0, 101)
    half[51:] = 200
    # Where the edge is met on a column 40 pixels right of the middle.
    met = (_draws(Affine(), half)[:, :, 90, 0] < 100).sum(axis=1) - 51
    degrees = np.degrees(np.arctan2(met, 40))
    # A pixel at 40 is 1.4 degrees.
    assert 8 < degrees.max() < 11.5
    assert -11.5 < degrees.min() < -8


def test_compression_is_between_its_two_qualities():
    noisy = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    qualities = {}
    for quality in range(1, 101):
        data = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        qualities[cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].tobytes()] = quality
    found = [qualities[Jpeg()(noisy, np.random.default_rng(seed)).tobytes()] for seed in range(80)]
    assert 40 <= min(found) < 45
    assert 95 < max(found) <= 100


def smooth(height, width):
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@pytest.mark.parametrize("seed", range(6))
def test_a_codec_gives_the_same_frame_for_the_same_draw_and_coarser_ones_at_higher_rates(seed):
    image, lost = smooth(65, 64), []
    for rate in (18, 45):
        step = Codec(rate, rate)
        once, again = (step(image, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(once, again)
        assert once.shape == image.shape
        assert np.array_equal(once[64], image[64])
        lost.append(np.abs(once.astype(int) - image).mean())
    # More than rounding to another colour space, and far from another picture.
    assert 0.5 < lost[0] < lost[1] < 25


def test_each_codec_has_its_turn():
    frames = {Codec(30, 30)(smooth(64, 64), np.random.default_rng(seed)).tobytes() for seed in range(12)}
    assert len(frames) == 3


def test_a_stretch_changes_the_width_alone():
    picture = np.zeros((65, 65, 3), np.uint8)
    picture[12:53, 12:53] = 255
    moved = Affine(degrees=0.0, stretch=0.2)(picture, np.random.default_rng(3))
    wide, tall = (int((moved[..., 0] > 127).any(axis=axis).sum()) for axis in (0, 1))
    assert tall == 41
    assert abs(wide - 41) > 2
    assert np.array_equal(Affine(degrees=0.0)(picture, np.random.default_rng(3)), picture)
