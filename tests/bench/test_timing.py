"""Cases take turns after one untimed run each, and a row tells the median and the extremes."""

import subprocess
import sys
import time

import pytest

from deepscan.bench.timing import Sample, TimedCase, Timing, cpu_seconds, measure_cases, timed


def test_cases_take_turns_and_the_first_turn_is_not_timed():
    order, told = [], []

    def case(name):
        def run():
            order.append(name)
            return Sample(float(len(order)))

        return TimedCase({"part": name}, 1, "runs", run)

    first, second = measure_cases([case("a"), case("b")], 3, lambda done, of: told.append((done, of)))
    assert order == ["a", "b"] * 4
    assert [sample.seconds for sample in first.samples] == [3, 5, 7]
    assert [sample.seconds for sample in second.samples] == [4, 6, 8]
    assert told == [(done, 8) for done in range(9)]


def test_a_row_tells_the_median_the_extremes_and_the_rate():
    case = TimedCase({"stage": "scan", "frames": 8}, 6, "videos", lambda: Sample(0))
    samples = [Sample(2.0, 1.0), Sample(9.0, 3.0, busy=80.0), Sample(3.0, 2.0)]
    assert Timing(case, samples).row() == {
        "stage": "scan",
        "frames": 8,
        "count": 6,
        "unit": "videos",
        "per_second": 2.0,
        "seconds": 3.0,
        "low": 2.0,
        "high": 9.0,
        "cpu_seconds": 2.0,
        "repeats": 3,
        "gpu_busy": 80.0,
    }


def test_what_was_not_measured_is_left_out():
    row = Timing(TimedCase({}, 1, "runs", lambda: Sample(0)), [Sample(1.0)]).row()
    assert "cpu_seconds" not in row
    assert "gpu_busy" not in row


def test_the_clock_runs_while_one_sleeps_and_the_cores_do_not():
    sample = timed(lambda: time.sleep(0.3))
    assert sample.seconds >= 0.3
    assert sample.cpu < 0.2


def test_the_work_of_children_that_have_ended_is_counted():
    work = "import time\nwhile time.process_time() < 0.3: pass"
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", work], check=True)
    assert cpu_seconds() - before >= 0.3


def test_something_is_timed_at_least_once():
    with pytest.raises(ValueError, match="at least once"):
        measure_cases([], 0, lambda *_: None)
