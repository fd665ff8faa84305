"""Folders of generated pictures: which are read, in which order, and the errors of missing ones."""

from collections import Counter

import numpy as np
import pytest
import torch
from torchvision.transforms.v2.functional import center_crop

from deepscan.data.benchmarks.forensynths import GENERATORS, centre_crop, read_generator
from deepscan.errors import MissingError, UsageError
from deepscan.evaluation.protocols import PROTOCOLS


def _touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def _shown(videos):
    return [(video.kind, video.label, video.name) for video in videos]


def test_pictures_below_class_folders_are_read_in_order(tmp_path):
    _touch(
        tmp_path / "test" / "progan",
        *("cat/1_fake/b.png", "cat/1_fake/a.PNG", "cat/0_real/a.jpg", "bird/0_real/more/z.jpeg"),
        *("bird/1_fake/c.bmp", "cat/1_fake/notes.txt", "cat/neither.png", "10_real/x.png"),
        *("cat/1_fake/c.webp", "cat/1_fake/d.TIFF"),
    )
    videos = read_generator(tmp_path, "progan")
    assert _shown(videos) == [
        ("0_real", 0, "bird/0_real/more/z.jpeg"),
        ("0_real", 0, "cat/0_real/a.jpg"),
        ("1_fake", 1, "bird/1_fake/c.bmp"),
        ("1_fake", 1, "cat/1_fake/a.PNG"),
        ("1_fake", 1, "cat/1_fake/b.png"),
        ("1_fake", 1, "cat/1_fake/c.webp"),
        ("1_fake", 1, "cat/1_fake/d.TIFF"),
    ]
    assert {(video.dataset, video.split) for video in videos} == {("progan", "test")}
    assert videos[0].frames == (str(tmp_path / "test/progan/bird/0_real/more/z.jpeg"),)


@pytest.mark.parametrize("parent", ["", "test", "datasets/test", "CNN_synth_testset"])
def test_folders_are_found_in_their_archives_layouts(tmp_path, parent):
    # An empty folder of the same name is skipped.
    (tmp_path / "crn").mkdir(exist_ok=True)
    _touch(tmp_path / parent / "crn", "0_real/a.png", "1_fake/a.png")
    assert _shown(read_generator(tmp_path, "crn")) == [
        ("0_real", 0, "0_real/a.png"),
        ("1_fake", 1, "1_fake/a.png"),
    ]


def test_diffusion_models_share_their_reals(tmp_path):
    models = [name for name, generator in GENERATORS.items() if generator.reals]
    _touch(tmp_path / "diffusion_datasets", "imagenet/0_real/i.png", "laion/0_real/l.png")
    _touch(tmp_path / "diffusion_datasets", *(f"{name}/1_fake/f.png" for name in models))
    real = {name: read_generator(tmp_path, name)[0].frames[0] for name in models}
    folder = f"{tmp_path}/diffusion_datasets"
    assert real.pop("guided") == f"{folder}/imagenet/0_real/i.png"
    assert len(real) == 7
    assert set(real.values()) == {f"{folder}/laion/0_real/l.png"}


def test_a_diffusion_models_own_reals_replace_missing_shared_ones(tmp_path):
    _touch(tmp_path / "dalle", "0_real/own.png", "1_fake/f.png")
    assert read_generator(tmp_path, "dalle")[0].name == "0_real/own.png"
    _touch(tmp_path / "laion", "0_real/shared.png")
    assert read_generator(tmp_path, "dalle")[0].name == "0_real/shared.png"


def test_a_cap_is_spread_evenly_over_each_class(tmp_path):
    folders = [f"{animal}/{kind}" for animal in ("bird", "cat", "dog") for kind in ("0_real", "1_fake")]
    _touch(tmp_path / "progan", *(f"{folder}/{at}.png" for folder in folders for at in range(4)))
    videos = read_generator(tmp_path, "progan", cap=3)
    # 12 pictures sorted by name, linspace(0, 11, 3) = 0, 5.5, 11.
    assert [video.name for video in videos if video.label] == [
        "bird/1_fake/0.png",
        "cat/1_fake/1.png",
        "dog/1_fake/3.png",
    ]
    assert Counter(video.label for video in videos) == {0: 3, 1: 3}
    assert len(read_generator(tmp_path, "progan", cap=100)) == len(read_generator(tmp_path, "progan")) == 24


def test_link_cycles_are_visited_once(tmp_path):
    _touch(tmp_path / "elsewhere", "a.png")
    _touch(tmp_path / "san", "1_fake/a.png")
    (tmp_path / "san" / "0_real").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "san" / "1_fake" / "loop").symlink_to(tmp_path / "san")
    assert _shown(read_generator(tmp_path, "san")) == [
        ("0_real", 0, "0_real/a.png"),
        ("1_fake", 1, "1_fake/a.png"),
    ]


def test_missing_pictures_have_a_hint_with_the_expected_folders(tmp_path):
    _touch(tmp_path / "test", "san/1_fake/a.png", "crn/0_real/a.png")
    _touch(tmp_path / "diffusion_datasets", "guided/1_fake/a.png")
    for name, missing, place, origin in (
        ("san", "0_real", "test/san/0_real", "PeterWang512/CNNDetection"),
        ("crn", "1_fake", "test/crn/1_fake", "PeterWang512/CNNDetection"),
        ("guided", "0_real", "diffusion_datasets/imagenet/0_real", "WisconsinAIVision/UniversalFakeDetect"),
        ("dalle", "0_real", "diffusion_datasets/laion/0_real", "WisconsinAIVision/UniversalFakeDetect"),
    ):
        with pytest.raises(
            MissingError, match=f"no pictures of '{name}' found in a folder {missing}"
        ) as raised:
            read_generator(tmp_path, name)
        assert place in raised.value.hint and origin in raised.value.hint


def test_an_unknown_generator_is_rejected(tmp_path):
    with pytest.raises(UsageError, match="unknown generator 'pro-gan'") as raised:
        read_generator(tmp_path, "pro-gan")
    assert raised.value.hint == "did you mean 'progan'?"


def test_the_protocol_has_these_generators_in_this_order():
    sets = PROTOCOLS.get("universal").sets["corit"]
    assert [test.dataset for test in sets] == list(GENERATORS)
    assert len(GENERATORS) == 19


@pytest.mark.parametrize(
    "shape", [(224, 224), (300, 400), (227, 229), (225, 226), (100, 50), (101, 55), (100, 301), (513, 223)]
)
def test_centre_crop_equals_torchvisions(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = center_crop(tensor, [224, 224]).permute(1, 2, 0).numpy()
    cropped = centre_crop(image)
    assert cropped.shape == (224, 224, 3)
    assert np.array_equal(cropped, expected)


def test_a_small_picture_is_padded_with_black():
    cropped = centre_crop(np.full((2, 3, 3), 255, dtype=np.uint8), side=5)
    # One row above and two below, one column on each side.
    assert cropped[..., 0].tolist() == [
        [0, 0, 0, 0, 0],
        [0, 255, 255, 255, 0],
        [0, 255, 255, 255, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
