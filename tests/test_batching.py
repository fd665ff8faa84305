"""Batches that fail: each item its own failure, and smaller portions while memory is short."""

import weakref

import numpy as np
import pytest
import torch

from deepscan.batching import PASSED, AdaptiveBatcher, is_short, run_isolating_failures
from deepscan.errors import ContractError
from deepscan.offline import import_onnxruntime

RuntimeException = import_onnxruntime("capi.onnxruntime_pybind11_state").RuntimeException

ARENA = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running MatMul node. "
    "Status Message: bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 8388608000"
)


class Stage:
    """Doubles numbers, as many at once as it has room for; chokes on a negative one."""

    def __init__(self, room):
        self.room, self.sizes = room, []

    def __call__(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise MemoryError(f"no room for {len(batch)}")
        if min(batch) < 0:
            raise ValueError("negative")
        return [2 * item for item in batch]


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), True),
        (RuntimeException(ARENA), True),
        (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), True),
        (RuntimeError("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("Got invalid dimensions for input: pixels"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
    ],
)
def test_memory_that_runs_out_is_told_from_other_failures(error, short):
    assert is_short(error) is short


def test_real_runtimes_say_so_in_these_words():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_short(raised.value)
    with pytest.raises(MemoryError) as raised:
        np.empty(1 << 60, np.uint8)
    assert is_short(raised.value)


@pytest.mark.parametrize("room", [1, 3, 5, 16])
def test_all_items_come_through_in_their_order_whatever_the_room(room):
    stage, portions = Stage(room), AdaptiveBatcher(16)
    assert portions.run(stage, list(range(50))) == [2 * item for item in range(50)]
    assert portions.size <= room
    assert bool(portions.warning) is (room < 16)


def test_what_fits_is_remembered_for_the_next_batches():
    stage, portions = Stage(5), AdaptiveBatcher(16)
    portions.run(stage, list(range(16)))
    assert stage.sizes == [16, 8, 4, 4, 4, 4]
    stage.sizes.clear()
    portions.run(stage, list(range(16)))
    assert stage.sizes == [4, 4, 4, 4]


def test_portions_grow_back_when_there_is_room_again_and_no_further():
    stage, portions = Stage(4), AdaptiveBatcher(16)
    portions.run(stage, [1] * 16)
    stage.room = 100
    seen = []
    for _ in range(4 * PASSED):
        portions.run(stage, [1] * 16)
        seen.append(portions.size)
    assert sorted(set(seen)) == [4, 8, 16] and seen == sorted(seen)
    assert seen.count(4) >= PASSED // 4 - 2, "not before some have passed"


def test_a_short_batch_that_passes_says_nothing_of_a_larger_one():
    stage, portions = Stage(4), AdaptiveBatcher(16)
    portions.run(stage, [1] * 16)
    for _ in range(2 * PASSED):
        portions.run(stage, [1])
    assert portions.size == 4


def test_a_user_is_told_once():
    stage, portions = Stage(1), AdaptiveBatcher(16)
    portions.run(stage, [1] * 16)
    assert "with a batch of 16" in portions.warning
    assert "no room for 16" in portions.warning
    portions.warning = ""
    portions.run(stage, [1] * 16)
    for _ in range(PASSED):
        portions.run(stage, [1] * 16)
    assert stage.sizes.count(2) > 1, "it has tried more in between"
    assert portions.warning == ""


def test_an_item_that_never_fits_is_its_own_failure():
    found = AdaptiveBatcher(4).run(Stage(0), [1, 2])
    assert [type(one) for one in found] == [MemoryError] * 2


def test_a_failure_of_another_kind_takes_the_batch_apart_and_leaves_its_size():
    portions = AdaptiveBatcher(4)
    found = portions.run(Stage(4), [1, -1, 3, 4, 5])
    assert [one if isinstance(one, int) else type(one) for one in found] == [2, ValueError, 6, 8, 10]
    assert (portions.size, portions.warning) == (4, "")


def test_results_that_are_missing_are_not_made_up_by_those_of_other_items():
    assert AdaptiveBatcher(2).run(lambda batch: batch[:1], [1, 2, 3, 4]) == [1, 3], (
        "whoever pairs them is told"
    )


@pytest.mark.parametrize("through", [run_isolating_failures, AdaptiveBatcher(4).run])
def test_what_is_no_fault_of_an_item_is_raised(through):
    def broken(batch):
        raise ContractError("the weights changed: out of memory", "restore them")

    with pytest.raises(ContractError):
        through(broken, [1, 2])


def test_what_a_failed_batch_held_is_given_back_before_the_next_try():
    alive = []

    def stage(batch):
        assert not any(reference() for reference in alive), "the batch before still holds its memory"
        block = np.zeros(10)
        alive.append(weakref.ref(block))
        if len(batch) > 2:
            raise MemoryError
        return batch

    assert AdaptiveBatcher(8).run(stage, [1] * 8) == [1] * 8
    assert len(alive) > 3


def test_a_larger_portion_is_tried_after_64_that_passed():
    stage, portions = Stage(4), AdaptiveBatcher(16)
    # Four portions of 4 have passed when this one has.
    portions.run(stage, [1] * 16)
    stage.room = 100
    for passed in range(5, 64):
        portions.run(stage, [1] * 4)
        assert portions.size == 4, f"after {passed}"
    portions.run(stage, [1] * 4)
    assert portions.size == 8
    for _ in range(63):
        portions.run(stage, [1] * 8)
    assert portions.size == 8
    portions.run(stage, [1] * 8)
    assert portions.size == 16
