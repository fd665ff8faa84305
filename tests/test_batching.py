"""Batches that fail: each item gets its own error, and batches shrink while memory is short."""

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
    """A stage that doubles at most `room` numbers at once, and fails on a negative one."""

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
def test_out_of_memory_errors_are_recognised(error, short):
    assert is_short(error) is short


def test_the_errors_of_real_libraries_are_recognised():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_short(raised.value)
    with pytest.raises(MemoryError) as raised:
        np.empty(1 << 60, np.uint8)
    assert is_short(raised.value)


@pytest.mark.parametrize("room", [1, 3, 5, 16])
def test_all_items_are_processed_in_order_for_any_room(room):
    stage, batcher = Stage(room), AdaptiveBatcher(16)
    assert batcher.run(stage, list(range(50))) == [2 * item for item in range(50)]
    assert batcher.size <= room
    assert bool(batcher.warning) is (room < 16)


def test_the_batch_size_that_fits_is_kept_for_the_next_batches():
    stage, batcher = Stage(5), AdaptiveBatcher(16)
    batcher.run(stage, list(range(16)))
    assert stage.sizes == [16, 8, 4, 4, 4, 4]
    stage.sizes.clear()
    batcher.run(stage, list(range(16)))
    assert stage.sizes == [4, 4, 4, 4]


def test_batches_grow_back_to_the_initial_size_when_there_is_room():
    stage, batcher = Stage(4), AdaptiveBatcher(16)
    batcher.run(stage, [1] * 16)
    stage.room = 100
    sizes = []
    for _ in range(4 * PASSED):
        batcher.run(stage, [1] * 16)
        sizes.append(batcher.size)
    assert sorted(set(sizes)) == [4, 8, 16] and sizes == sorted(sizes)
    assert sizes.count(4) >= PASSED // 4 - 2, "the size must not grow before some batches have passed"


def test_small_batches_do_not_make_the_size_grow():
    stage, batcher = Stage(4), AdaptiveBatcher(16)
    batcher.run(stage, [1] * 16)
    for _ in range(2 * PASSED):
        batcher.run(stage, [1])
    assert batcher.size == 4


def test_the_user_is_warned_once():
    stage, batcher = Stage(1), AdaptiveBatcher(16)
    batcher.run(stage, [1] * 16)
    assert "with a batch of 16" in batcher.warning
    assert "no room for 16" in batcher.warning
    batcher.warning = ""
    batcher.run(stage, [1] * 16)
    for _ in range(PASSED):
        batcher.run(stage, [1] * 16)
    assert stage.sizes.count(2) > 1, "larger batches were tried in between"
    assert batcher.warning == ""


def test_an_item_that_never_fits_fails_alone():
    found = AdaptiveBatcher(4).run(Stage(0), [1, 2])
    assert [type(result) for result in found] == [MemoryError] * 2


def test_another_failure_splits_the_batch_but_keeps_the_size():
    batcher = AdaptiveBatcher(4)
    found = batcher.run(Stage(4), [1, -1, 3, 4, 5])
    assert [result if isinstance(result, int) else type(result) for result in found] == [
        2,
        ValueError,
        6,
        8,
        10,
    ]
    assert (batcher.size, batcher.warning) == (4, "")


def test_missing_results_are_not_replaced_by_those_of_other_items():
    assert AdaptiveBatcher(2).run(lambda batch: batch[:1], [1, 2, 3, 4]) == [1, 3], (
        "the caller can see that results are missing"
    )


@pytest.mark.parametrize("run", [run_isolating_failures, AdaptiveBatcher(4).run])
def test_errors_that_concern_all_items_are_raised(run):
    def fail(batch):
        raise ContractError("the weights changed: out of memory", "restore them")

    with pytest.raises(ContractError):
        run(fail, [1, 2])


def test_a_failed_batch_frees_its_memory_before_the_next_attempt():
    alive = []

    def stage(batch):
        assert not any(reference() for reference in alive), "the previous batch has not freed its memory"
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
