"""What a run measures, what it leaves out and says so, and that it loads no more than that takes."""

import os

import pytest

from deepscan.bench import accelerator, run
from deepscan.bench.clips import Clip, make_clip
from deepscan.bench.options import BenchOptions
from deepscan.errors import MissingError


class Told(run.BenchListener):
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
def asked(monkeypatch):
    """Devices that a detector is loaded on, in turn; of CUDA there is none, whatever this machine has."""
    devices, real = [], run.load_scorer

    def load(options):
        devices.append(options.device)
        if options.device == "cuda":
            raise MissingError("there is no GPU", "take the CPU")
        return real(options)

    monkeypatch.setattr(run, "load_scorer", load)
    monkeypatch.setattr(accelerator, "matmul_rate", lambda *_: "not asked for")
    return devices


def measured(clip, tmp_path, **options):
    told = Told()
    run.run_benchmark([clip], BenchOptions(frames=(1,), repeats=1, **options), told, tmp_path)
    return told


def test_what_is_missing_here_is_left_out_and_the_rest_is_loaded_once(clip, asked, tmp_path):
    told = measured(clip, tmp_path, stages=("detector",), devices=("cpu", "cuda"), batches=(1, 2))
    assert asked == ["cpu", "cuda"]
    assert "left out: there is no GPU" in told.notes
    assert [(row["device"], row["batch"]) for row in told.rows] == [("cpu", 1), ("cpu", 2)]


def test_where_all_are_missing_it_ends(clip, asked, tmp_path):
    with pytest.raises(MissingError, match="there is no GPU"):
        measured(clip, tmp_path, stages=("scan",), devices=("cuda",))


def test_stages_without_a_detector_load_none(clip, asked, tmp_path):
    told = measured(clip, tmp_path, stages=("decode", "faces"), devices=("cuda",))
    assert asked == []
    assert {row["stage"] for row in told.rows} == {"decode", "faces"}
