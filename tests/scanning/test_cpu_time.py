"""Test how the CPU time of a process is divided among the stages that run in it."""

import threading
import time

import pytest

from deepscan.scanning.cpu_time import CpuClock


class Meter:
    """Stub of the process's CPU time."""

    def __init__(self):
        self.now = 5.0

    def __call__(self):
        return self.now


def test_a_stage_that_runs_alone_is_given_all_and_time_between_stages_belongs_to_none():
    meter = Meter()
    clock = CpuClock(meter)
    meter.now += 1
    with clock.lap() as first:
        meter.now += 2
    meter.now += 4
    with clock.lap() as second:
        meter.now += 8
    assert (first.cpu, second.cpu) == (2, 8)


def test_stages_that_run_at_once_are_given_equal_shares_of_that_time():
    meter = Meter()
    clock = CpuClock(meter)
    with clock.lap() as outer:
        meter.now += 1
        with clock.lap() as inner:
            meter.now += 4
        meter.now += 1
    assert (outer.cpu, inner.cpu) == (4, 2)


def test_a_stage_that_fails_no_longer_takes_a_share():
    meter = Meter()
    clock = CpuClock(meter)
    with pytest.raises(RuntimeError), clock.lap():
        raise RuntimeError
    with clock.lap() as lap:
        meter.now += 3
    assert lap.cpu == 3


def test_work_in_other_threads_counts_and_sleep_does_not():
    def work():
        end = time.thread_time() + 0.2
        while time.thread_time() < end:
            pass

    with CpuClock().lap() as lap:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        time.sleep(0.2)
    assert 0.19 < lap.cpu < 0.35
    assert lap.seconds > 0.39
