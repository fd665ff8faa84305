"""Options of `bench` are checked before anything runs."""

import pytest

from deepscan.bench.options import BenchOptions
from deepscan.errors import UsageError


def test_every_combination_is_measured_and_no_model_only_once():
    options = BenchOptions(
        frames=(8, 32), models=("none", "convnet"), precisions=("fp32", "int8"), faces=("fast", "exact")
    )
    scans = list(options.scans())
    assert len(scans) == len(set(map(str, scans))) == 2 * 2 * (1 + 2)
    assert {scan.precision for scan in scans if scan.model == "none"} == {"auto"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": ()},
        {"frames": (0,)},
        {"batches": (8, -1)},
        {"faces": ("slow",)},
        {"engines": ("caffe",)},
        {"devices": ("tpu",)},
        {"faces_device": "auto"},
        {"decoder": "opencv"},
        {"stages": ("decoding",)},
    ],
    ids=str,
)
def test_invalid_options_are_rejected(wrong):
    with pytest.raises(UsageError):
        BenchOptions(**wrong)


def test_the_hint_names_the_stage_of_similar_name():
    with pytest.raises(UsageError) as caught:
        BenchOptions(stages=("detektor",))
    assert "'detector'" in caught.value.hint
