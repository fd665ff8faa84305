"""Cases run in turn after a warm-up each; a row has the median and the extremes."""

import subprocess
import sys
import time

import pytest

from deepscan.bench.timing import Sample, TimedCase, Timing, cpu_seconds, measure_cases, timed


def test_cases_run_in_turn_and_the_first_turn_is_not_timed():
    order, progress = [], []

    def case(name):
        def run():
            order.append(name)
            return Sample(float(len(order)))

        return TimedCase({"part": name}, 1, "runs", run)

    first, second = measure_cases(
        [case("a"), case("b")], 3, lambda done, total: progress.append((done, total))
    )
    assert order == ["a", "b"] * 4
    assert [sample.seconds for sample in first.samples] == [3, 5, 7]
    assert [sample.seconds for sample in second.samples] == [4, 6, 8]
    assert progress == [(done, 8) for done in range(9)]


def test_a_row_has_the_median_the_extremes_and_the_rate():
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


def test_a_row_leaves_out_unmeasured_values():
    row = Timing(TimedCase({}, 1, "runs", lambda: Sample(0)), [Sample(1.0)]).row()
    assert "cpu_seconds" not in row
    assert "gpu_busy" not in row


def test_sleeping_takes_wall_clock_time_but_no_cpu_time():
    sample = timed(lambda: time.sleep(0.3))
    assert sample.seconds >= 0.3
    assert sample.cpu < 0.2


def test_cpu_time_of_ended_children_is_counted():
    work = "import time\nwhile time.process_time() < 0.3: pass"
    before = cpu_seconds()
    subprocess.run([sys.executable, "-c", work], check=True)
    assert cpu_seconds() - before >= 0.3


def test_repeats_must_be_at_least_one():
    with pytest.raises(ValueError, match="at least 1"):
        measure_cases([], 0, lambda *_: None)
