"""Augmentation steps stay within their ranges, and a variant depends only on its seed."""

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
def test_variants_keep_shape_and_dtype_and_do_not_modify_the_input(image, name):
    before = image.copy()
    for seed in range(40):
        variant, _ = augmented(image, name, (seed,))
        assert variant.shape == image.shape
        assert variant.dtype == np.uint8
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_a_variant_depends_only_on_its_seed(image, name):
    first = [augmented(image, name, (1, epoch, 7))[0] for epoch in range(6)]
    again = [augmented(image, name, (1, epoch, 7))[0] for epoch in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({variant.tobytes() for variant in first}) > 3


def test_none_changes_nothing(image):
    assert np.array_equal(augmented(image, "none", (0,))[0], image)


@pytest.mark.parametrize("step", sorted(STEPS, key=str))
def test_each_step_accepts_uniform_and_extreme_pictures(step):
    rng = np.random.default_rng(0)
    for value in (0, 128, 255):
        flat = np.full((32, 32, 3), value, np.uint8)
        for _ in range(5):
            assert step(flat, rng).shape == flat.shape


def test_flip_mirrors(image):
    assert np.array_equal(augment.flip(image, np.random.default_rng(0))[:, 0], image[:, -1])


def test_an_affine_step_with_zero_ranges_is_the_identity(image):
    unchanged = Affine(degrees=0, scale=(1, 1), shift=0)(image, np.random.default_rng(0))
    assert np.array_equal(unchanged, image)


def test_a_scale_above_one_enlarges_around_the_centre(image):
    enlarged = Affine(degrees=0, scale=(2, 2), shift=0)(image, np.random.default_rng(0))
    # About (23.5, 23.5), the square's left edge goes from 12 to 0.5 and its lower edge from 19.5 to 15.5.
    assert tuple(enlarged[8, 6]) == (250, 20, 60)
    assert tuple(enlarged[14, 2]) == (250, 20, 60)
    assert tuple(enlarged[18, 6]) != (250, 20, 60)


def test_stronger_compression_has_a_larger_error(image):
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    error = [
        np.abs(Jpeg(q, q)(noisy, np.random.default_rng(0)).astype(int) - noisy).mean() for q in (95, 70, 30)
    ]
    assert error[0] < error[1] < error[2]


def test_shrinking_removes_fine_detail():
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)

    class Half:
        def uniform(self, low, high):
            return 0.5

    assert Shrink(0.5)(checks, Half()).std() < checks.std() / 10


def test_a_shrunken_face_is_compressed_at_its_small_size(image, monkeypatch):
    seen = []

    def as_frame(small, *_):
        seen.append(small.shape[0])
        return small

    monkeypatch.setattr(degrade, "_as_frame", as_frame)
    kept, packed = (Shrink(0.25, codec=codec)(image, np.random.default_rng(5)) for codec in (0.0, 1.0))
    assert 0.25 * len(image) <= seen[0] < len(image)
    assert len(seen) == 1
    # The output of the codec is what is upscaled.
    assert np.array_equal(kept, packed)


def test_an_image_too_small_to_encode_is_unchanged():
    tiny = np.random.default_rng(1).integers(0, 256, (15, 15, 3), np.uint8)
    frame = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    # Each of the three encoders is drawn.
    for seed in range(12):
        assert np.array_equal(Codec()(tiny, np.random.default_rng(seed)), tiny)
        assert not np.array_equal(Codec()(frame, np.random.default_rng(seed)), frame)


def test_fancy_pca_shifts_all_pixels_equally(image):
    grey_image = np.clip(image // 3 + 80, 0, 255).astype(np.uint8)
    shifted = augment.fancy_pca(grey_image, np.random.default_rng(3)).astype(int) - grey_image
    # One shift per channel, up to rounding.
    assert (shifted.reshape(-1, 3).max(0) - shifted.reshape(-1, 3).min(0)).max() <= 1


def test_erasing_covers_2_to_15_percent():
    picture = np.full((100, 100, 3), 7, np.uint8)
    for seed in range(30):
        changed = (augment.erase(picture, np.random.default_rng(seed)) != 7).any(axis=2).mean()
        assert 0.015 < changed <= 0.15


def test_an_unknown_set_is_named():
    with pytest.raises(UsageError) as raised:
        steps_of("compct")
    assert "'compact'" in raised.value.hint


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_a_mask_moves_with_its_pixels(name):
    picture = np.full((64, 64, 3), 40, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    picture[12:40, 8:30], mask[12:40, 8:30] = 220, 255
    for seed in range(30):
        moved, shown = augmented(picture, name, (seed,), mask)
        inside, outside = (moved[part].mean() for part in (shown > 200, shown < 50))
        # Under any change of colours, pixels under the mask stay much brighter than the others.
        assert inside > outside + 60
        assert np.array_equal(augmented(picture, name, (seed,))[0], moved)


#: Steps and probabilities in the configurations of DeepfakeBench and Effort.
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
def test_published_sets_match_their_configurations(name):
    assert list(steps_of(name)) == PUBLISHED[name]


def _draws(step, picture, count=40):
    """Return the results of a step on a picture for several seeds, shape (N, H, W, 3), int."""
    return np.stack([step(picture, np.random.default_rng(seed)) for seed in range(count)]).astype(int)


def _grey(value, side=64):
    return np.full((side, side, 3), value, np.uint8)


def test_gamma_has_an_exponent_of_08_to_12():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    values = ramp.ravel() / 255
    exponents = []
    for variant in _draws(augment.gamma, ramp).reshape(40, -1):
        exponent = np.log(variant[3 * 64] / 255) / np.log(values[3 * 64])
        # Rounded to a grey level, with an exponent that is accurate to a hundredth.
        np.testing.assert_allclose(variant, 255 * values**exponent, atol=1.5)
        exponents.append(exponent)
    assert 0.78 < min(exponents) < 0.85
    assert 1.15 < max(exponents) < 1.22


def test_channels_are_permuted_in_every_order():
    variants = _draws(augment.shuffle_channels, np.full((4, 4, 3), (10, 20, 30), np.uint8))
    assert (variants == variants[:, :1, :1]).all()
    assert {tuple(variant[0, 0]) for variant in variants} == set(permutations((10, 20, 30)))


def test_brightness_and_contrast_stay_within_the_limit():
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
    largest = np.abs(moved - parts(picture)).max(axis=0)
    # The conversion between 8-bit colour spaces and back is off by a step or two.
    for observed, limit in zip(largest, (20, 30, 20), strict=True):
        assert 0.8 * limit < observed <= limit + 2


def test_gaussian_noise_has_a_variance_of_10_to_50():
    variants = _draws(augment.gauss_noise, _grey(128))
    # With 12288 values, the mean has an error of 0.06 and the variance of 1.3 %; rounding adds 1/12.
    np.testing.assert_allclose(variants.mean(axis=(1, 2, 3)), 128, atol=0.3)
    variances = variants.var(axis=(1, 2, 3))
    assert 9.5 < variances.min() < 15
    assert 45 < variances.max() < 52.5


def test_motion_blur_turns_a_point_into_a_line():
    point = _grey(0, 21)
    point[10, 10] = 255
    lengths, directions = set(), set()
    for variant in _draws(augment.motion_blur, point, 80)[..., 0]:
        y, x = np.nonzero(variant)
        tall, wide = np.ptp(y) + 1, np.ptp(x) + 1
        lengths.add(max(tall, wide))
        directions.add(int(np.sign(int(wide) - int(tall))))
        # One pixel wide, centred to within half a step, with the same sum up to rounding.
        assert len(y) == max(tall, wide)
        assert max(abs(y.mean() - 10), abs(x.mean() - 10)) < 0.5
        assert abs(variant.sum() - 255) <= len(y) / 2
    assert lengths == {3, 5, 7}
    assert directions == {-1, 0, 1}


def test_random_blur_is_symmetric_with_one_of_three_sizes():
    point = _grey(0, 21)
    point[10, 10] = 255
    widths = set()
    for variant in _draws(augment.random_blur, point)[..., 0]:
        assert np.array_equal(variant, variant.T)
        assert variant.sum() == pytest.approx(255, rel=0.05)
        widths.add(np.ptp(np.nonzero(variant)[0]) + 1)
    assert widths == {3, 5, 7}


def test_equalising_spreads_lightness_and_keeps_colour(image):
    flat = (100 + image // 12).astype(np.uint8)
    before = cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).astype(int)
    for variant in _draws(augment.equalise, flat, 10):
        after = cv2.cvtColor(variant.astype(np.uint8), cv2.COLOR_RGB2LAB).astype(int)
        assert after[..., 0].std() > 1.2 * before[..., 0].std()
        assert np.abs(after[..., 1:] - before[..., 1:]).mean() < 2


def test_cut_out_blacks_out_at_most_eight_squares():
    # Squares of 3 pixels, a 28th of 84, which rarely overlap.
    cut = (_draws(augment.cut_out, _grey(200, 84)) != 200).all(axis=-1)
    assert cut.sum(axis=(1, 2)).max() == 8 * 3 * 3
    assert cut.sum(axis=(1, 2)).min() > 5 * 3 * 3
    assert not _draws(augment.cut_out, _grey(200, 84))[cut].any()


def test_glass_blur_moves_pixels_slightly_and_keeps_the_mean():
    edge = _grey(40)
    edge[:, 32:] = 200
    for variant in _draws(augment.glass_blur, edge, 10):
        # Two pixels of displacement and two blurs of sigma 0.7 on either side.
        assert np.array_equal(variant[:, :24], edge[:, :24])
        assert np.array_equal(variant[:, 40:], edge[:, 40:])
        columns = variant[:, 30:34, 0]
        assert columns.std(axis=0).min() > 5, "rows differ, unlike after a plain blur"
        assert variant.mean() == pytest.approx(120, abs=2)


def test_rotation_is_at_most_ten_degrees_in_either_direction():
    half = _grey(0, 101)
    half[51:] = 200
    # Where the edge crosses a column 40 pixels to the right of the centre.
    crossing = (_draws(Affine(), half)[:, :, 90, 0] < 100).sum(axis=1) - 51
    degrees = np.degrees(np.arctan2(crossing, 40))
    # One pixel at a distance of 40 is 1.4 degrees.
    assert 8 < degrees.max() < 11.5
    assert -11.5 < degrees.min() < -8


def test_jpeg_quality_is_within_its_range():
    noisy = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    qualities = {}
    for quality in range(1, 101):
        data = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        qualities[cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].tobytes()] = quality
    observed = [qualities[Jpeg()(noisy, np.random.default_rng(seed)).tobytes()] for seed in range(80)]
    assert 40 <= min(observed) < 45
    assert 95 < max(observed) <= 100


def smooth(height, width):
    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@pytest.mark.parametrize("seed", range(6))
def test_a_codec_is_deterministic_and_loses_more_at_higher_rates(seed):
    image, errors = smooth(65, 64), []
    for rate in (18, 45):
        step = Codec(rate, rate)
        once, again = (step(image, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(once, again)
        assert once.shape == image.shape
        assert np.array_equal(once[64], image[64])
        errors.append(np.abs(once.astype(int) - image).mean())
    # More than the rounding of a colour space conversion, less than a different picture.
    assert 0.5 < errors[0] < errors[1] < 25


def test_each_codec_is_used():
    frames = {Codec(30, 30)(smooth(64, 64), np.random.default_rng(seed)).tobytes() for seed in range(12)}
    assert len(frames) == 3


def test_stretch_changes_the_width_only():
    picture = np.zeros((65, 65, 3), np.uint8)
    picture[12:53, 12:53] = 255
    moved = Affine(degrees=0.0, stretch=0.2)(picture, np.random.default_rng(3))
    wide, tall = (int((moved[..., 0] > 127).any(axis=axis).sum()) for axis in (0, 1))
    assert tall == 41
    assert abs(wide - 41) > 2
    assert np.array_equal(Affine(degrees=0.0)(picture, np.random.default_rng(3)), picture)
