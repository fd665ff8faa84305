"""What can befall a run: a loss that is no number, data of one class, a picture that cannot be read."""

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
    ("spoilt", "told"),
    [
        (lambda total, output: total * float("nan"), "the loss became nan"),
        # The root's slope at 0 is infinite, and infinity times nothing is no number.
        (lambda total, output: total + (0 * output.logits.sum()).sqrt(), "the gradient's norm became nan"),
    ],
    ids=["loss", "gradient"],
)
def test_the_last_checkpoint_stays_and_the_run_goes_on_from_it(
    recipe, crops, tmp_path, monkeypatch, spoilt, told
):
    with pytest.raises(Interruption):
        train(recipe, crops, tmp_path, processes=CPU, on_step=interrupt_at(2))
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    assert set(before) == {"last.safetensors", "best.safetensors"}
    steps, loss = [], Qtfp.loss

    def third_is_none(detector, output, batch):
        total, parts = loss(detector, output, batch)
        steps.append(total)
        return (spoilt(total, output) if len(steps) == 3 else total), parts

    with monkeypatch.context() as patch:
        patch.setattr(Qtfp, "loss", third_is_none)
        with pytest.raises(UsageError, match=f"epoch 2, batch 3: {told}") as raised:
            train(recipe, crops, tmp_path, processes=CPU, resume=True)
    assert "--finish" in raised.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")} == before
    assert not list(tmp_path.glob("*.tmp"))
    first = []
    _, progress = train(recipe, crops, tmp_path, processes=CPU, resume=True, on_step=first.append)
    assert (first[0].epoch, first[0].step) == (2, 1)
    assert len(progress.history) == recipe.epochs


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(
    ("split", "told"), [("train", "there is no {} crop to train on"), ("val", "lacks real or fake")]
)
def test_data_of_one_class_are_told_before_anything_is_written(recipe, crops, tmp_path, label, split, told):
    labels = crops.labels.copy()
    labels[crops.where(split)] = label
    alone = dataclasses.replace(crops, labels=labels)
    with pytest.raises(UsageError, match=told.format(("fake", "real")[label])) as raised:
        train(recipe, alone, tmp_path, processes=CPU)
    assert raised.value.exit_code == 2
    assert raised.value.hint
    assert not list(tmp_path.glob("*.safetensors"))


# Of the first the head of a picture has arrived, of the others not even that.
@pytest.mark.parametrize(("part", "bytes_left"), [("path", 60), ("path", 5), ("mask", 5)])
def test_a_picture_that_cannot_be_read_is_told_and_leaves_no_cache(tmp_path, part, bytes_left):
    whole, cut = tmp_path / "whole.png", tmp_path / "cut.png"
    cv2.imwrite(str(whole), np.full((64, 64, 3), 128, np.uint8))
    cut.write_bytes(whole.read_bytes()[:bytes_left])
    picture = dataclasses.replace(LabelledPicture(whole, 1, "g", "train", "", "v", whole), **{part: cut})
    with pytest.raises(UsageError, match=r"cut\.png is not a picture that can be read") as raised:
        prepare_crops([picture], CropRecipe(side=32), tmp_path / "cache", workers=0)
    assert "take it out of the index" in raised.value.hint
    assert not list((tmp_path / "cache").iterdir())


def test_a_run_of_another_method_is_not_gone_on_with(recipe, crops, tmp_path):
    train(dataclasses.replace(recipe, epochs=1), crops, tmp_path, processes=CPU)
    before = (tmp_path / "last.safetensors").read_bytes()
    other = dataclasses.replace(
        recipe, epochs=1, method="fft", network=TINY["fft"], loss=dataclasses.asdict(DETECTORS.get("fft")())
    )
    with pytest.raises(ContractError, match="method was 'qtfp', is 'fft'"):
        train(other, crops, tmp_path, resume=True, processes=CPU)
    assert (tmp_path / "last.safetensors").read_bytes() == before
