"""Failures of a run: NaN losses, data of one class, unreadable pictures."""

import dataclasses

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.data.crops.crop_cache import prepare_crops
from deepscan.data.pictures import LabelledPicture
from deepscan.detectors import DETECTORS
from deepscan.detectors.qtfp import Qtfp
from deepscan.errors import ContractError, UsageError
from deepscan.training.loop import train
from tests.detectors.tiny import TINY
from tests.training.conftest import CPU, Interruption, interrupt_at


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda total, output: total * float("nan"), "the loss became nan"),
        # The derivative of the square root at 0 is infinite, and infinity times 0 is NaN.
        (lambda total, output: total + (0 * output.logits.sum()).sqrt(), "the gradient's norm became nan"),
    ],
    ids=["loss", "gradient"],
)
def test_the_last_checkpoint_is_kept_and_the_run_resumes_from_it(
    recipe, crops, tmp_path, monkeypatch, spoil, message
):
    with pytest.raises(Interruption):
        train(recipe, crops, tmp_path, processes=CPU, on_step=interrupt_at(2))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert set(before) == {"last.safetensors", "best.safetensors"}
    steps, loss = [], Qtfp.loss

    def spoil_the_third(detector, output, batch):
        total, parts = loss(detector, output, batch)
        steps.append(total)
        return (spoil(total, output) if len(steps) == 3 else total), parts

    with monkeypatch.context() as patch:
        patch.setattr(Qtfp, "loss", spoil_the_third)
        with pytest.raises(UsageError, match=f"epoch 2, batch 3: {message}") as raised:
            train(recipe, crops, tmp_path, processes=CPU, resume=True)
    assert "--finish" in raised.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")} == before
    assert not list(tmp_path.glob("*.tmp"))
    reports = []
    _, progress = train(recipe, crops, tmp_path, processes=CPU, resume=True, on_step=reports.append)
    assert (reports[0].epoch, reports[0].step) == (2, 1)
    assert len(progress.history) == recipe.epochs


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(
    ("split", "message"), [("train", "there are no {} crops to train on"), ("val", "without reals or fakes")]
)
def test_data_of_one_class_are_refused_before_anything_is_written(
    recipe, crops, tmp_path, label, split, message
):
    labels = crops.labels.copy()
    labels[crops.where(split)] = label
    one_class = dataclasses.replace(crops, labels=labels)
    with pytest.raises(UsageError, match=message.format(("fake", "real")[label])) as raised:
        train(recipe, one_class, tmp_path, processes=CPU)
    assert raised.value.exit_code == 2
    assert raised.value.hint
    assert not list(tmp_path.glob("*.safetensors"))


# 60 bytes contain the picture's header, 5 bytes do not.
@pytest.mark.parametrize(("part", "bytes_left"), [("path", 60), ("path", 5), ("mask", 5)])
def test_an_unreadable_picture_is_refused_and_leaves_no_cache(tmp_path, part, bytes_left):
    sound, broken = tmp_path / "sound.png", tmp_path / "broken.png"
    cv2.imwrite(str(sound), np.full((64, 64, 3), 128, np.uint8))
    broken.write_bytes(sound.read_bytes()[:bytes_left])
    picture = dataclasses.replace(LabelledPicture(sound, 1, "g", "train", "", "v", sound), **{part: broken})
    with pytest.raises(UsageError, match=r"broken\.png is not a readable picture") as raised:
        prepare_crops([picture], CropRecipe(side=32), tmp_path / "cache", workers=0)
    assert "remove it from the index" in raised.value.hint
    assert not list((tmp_path / "cache").iterdir())


def test_resuming_with_another_method_is_refused(recipe, crops, tmp_path):
    train(dataclasses.replace(recipe, epochs=1), crops, tmp_path, processes=CPU)
    before = (tmp_path / "last.safetensors").read_bytes()
    other = dataclasses.replace(
        recipe, epochs=1, method="fft", network=TINY["fft"], loss=dataclasses.asdict(DETECTORS.get("fft")())
    )
    with pytest.raises(ContractError, match="method was 'qtfp', is 'fft'"):
        train(other, crops, tmp_path, resume=True, processes=CPU)
    assert (tmp_path / "last.safetensors").read_bytes() == before
