"""What `bench` is asked for is checked before anything runs."""

import pytest

from deepscan.bench.options import BenchOptions
from deepscan.errors import UsageError


def test_several_values_give_every_combination_and_no_model_just_one_way_to_run():
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
def test_what_is_wrong_is_refused(wrong):
    with pytest.raises(UsageError):
        BenchOptions(**wrong)


def test_a_stage_that_is_nearly_called_so_is_named():
    with pytest.raises(UsageError) as caught:
        BenchOptions(stages=("detektor",))
    assert "'detector'" in caught.value.hint
