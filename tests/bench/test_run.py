"""A run measures what it can, notes what it skips, and loads only what it needs."""

import os

import pytest

from deepscan.bench import accelerator, run
from deepscan.bench.clips import Clip, make_clip
from deepscan.bench.options import BenchOptions
from deepscan.errors import MissingError


class Recorder(run.BenchListener):
    def __init__(self):
        self.notes, self.rows = [], []

    def note(self, line):
        self.notes.append(line)

    def measured(self, row):
        self.rows.append(row)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return os.fsencode(make_clip(Clip(320, 240, frames=4, fps=4), tmp_path_factory.mktemp("clips")))


@pytest.fixture
def loaded_devices(monkeypatch):
    """Devices on which a detector is loaded, in order; CUDA is always missing, whatever the machine has."""
    devices, real = [], run.load_scorer

    def load(options):
        devices.append(options.device)
        if options.device == "cuda":
            raise MissingError("there is no GPU", "use the CPU")
        return real(options)

    monkeypatch.setattr(run, "load_scorer", load)
    monkeypatch.setattr(accelerator, "matmul_rate", lambda *_: "not measured")
    return devices


def run_measured(clip, tmp_path, **options):
    recorder = Recorder()
    run.run_benchmark([clip], BenchOptions(frames=(1,), repeats=1, **options), recorder, tmp_path)
    return recorder


def test_a_missing_device_is_skipped_and_the_others_are_loaded_once(clip, loaded_devices, tmp_path):
    recorder = run_measured(clip, tmp_path, stages=("detector",), devices=("cpu", "cuda"), batches=(1, 2))
    assert loaded_devices == ["cpu", "cuda"]
    assert "skipped: there is no GPU" in recorder.notes
    assert [(row["device"], row["batch"]) for row in recorder.rows] == [("cpu", 1), ("cpu", 2)]


def test_a_run_fails_if_every_device_is_missing(clip, loaded_devices, tmp_path):
    with pytest.raises(MissingError, match="there is no GPU"):
        run_measured(clip, tmp_path, stages=("scan",), devices=("cuda",))


@pytest.mark.slow
def test_stages_without_a_detector_do_not_load_one(clip, loaded_devices, tmp_path):
    recorder = run_measured(clip, tmp_path, stages=("decode", "faces"), devices=("cuda",))
    assert loaded_devices == []
    assert {row["stage"] for row in recorder.rows} == {"decode", "faces"}
