"""Test that a scan takes decoders and threads as its budget allows."""

import os
from types import SimpleNamespace

import pytest

from deepscan.devices import Budget
from deepscan.scanning import loading, run, worker
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput

OPTIONS = ScanOptions(model="stub", device="cpu")


class Captured(Exception):
    """Ends a scan where a stub has seen what it is given."""


@pytest.fixture
def host(monkeypatch):
    """A host with 64 cores, of which this process may use 4."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr("deepscan.devices.usable_cpus", lambda: 4)


def test_the_threads_reach_the_face_finder_and_each_detector(monkeypatch):
    taken = []

    def opened(*arguments, threads, **others):
        taken.append(threads)
        return SimpleNamespace(device="cpu")

    for name in ("open_finder", "Scorer"):
        monkeypatch.setattr(loading, name, opened)
    monkeypatch.setattr(loading, "load_card", lambda name: SimpleNamespace(name=name, folder=""))
    loading.load_models(ScanOptions(model="one", also=("two",)), threads=5)
    assert taken == [5, 5, 5]


@pytest.mark.parametrize(("budget", "threads"), [(None, 4), (Budget(2), 2), (Budget(64), None)])
def test_a_scan_loads_with_the_threads_of_its_budget(monkeypatch, host, budget, threads):
    def load(options, earlier=None, *, threads):
        raise Captured(threads)

    monkeypatch.setattr(worker, "load_models", load)
    with pytest.raises(Captured) as caught:
        run.run_scan([b"/a.mp4"], OPTIONS, ScanOutput(None), budget=budget)
    assert caught.value.args == (threads,)


@pytest.mark.parametrize(("files", "workers", "decoders"), [(9, None, 4), (2, None, 2), (9, 7, 7)])
def test_there_is_a_decoder_for_each_cpu_that_may_be_used(monkeypatch, host, files, workers, decoders):
    def pool(options, count):
        raise Captured(count)

    loaded = SimpleNamespace(options=OPTIONS, scorers=(), finder=None, choice=None)
    monkeypatch.setattr(worker, "load_models", lambda options, earlier=None, *, threads: loaded)
    monkeypatch.setattr(worker.runfile, "describe", lambda *_: {"id": "run"})
    monkeypatch.setattr(worker, "DecodePool", pool)
    with pytest.raises(Captured) as caught:
        next(run.iterate_scan([b"/%d.mp4" % number for number in range(files)], OPTIONS, workers=workers))
    assert caught.value.args == (decoders,)
