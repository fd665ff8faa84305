"""Fixtures that assemble a small data set from clips, prepare it and inspect the result."""

import json
import shutil
from collections import Counter

import pytest

from deepscan.data.crops import prepare as prepare_module
from deepscan.data.crops.prepare import PrepareOptions, prepare_dataset
from deepscan.media.pool import DecodePool
from tests import awkward

from .numbered import FACELESS, RECIPE, Finder, Replica


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {
        "plain": awkward.video(folder / "plain.mp4", 7),
        "other": awkward.video(folder / "other.mp4", 4, gop=1),
        "faceless": awkward.video(folder / "faceless.mp4", 4, size=FACELESS),
        "empty": awkward.empty(folder / "empty.mp4"),
    }


@pytest.fixture
def data(tmp_path, clips, monkeypatch):
    """A data set to fill with clips and to prepare."""
    monkeypatch.setattr(prepare_module, "open_finder", Finder)

    class Data:
        root, out = tmp_path / "raw", tmp_path / "out"

        def put(self, clip, *places):
            """Copy a clip to each of several places, and return the last path."""
            for place in places:
                path = self.root / place
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(clips[clip], path)
            return path

        def prepare(self, listener=None, **options):
            existing = tuple(kind for kind in Replica.kinds if (self.root / "c23" / kind).exists())
            defaults = {"recipe": RECIPE, "frames": 3, "workers": 1, "kinds": existing}
            options = PrepareOptions(**{**defaults, **options})
            return prepare_dataset(Replica(), self.root, self.out, options, listener)

        def journal(self):
            lines = (self.out / "Replica.videos.jsonl").read_text().splitlines()
            return sorted((json.loads(line) for line in lines), key=json.dumps)

        def files(self):
            return {str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()}

    return Data()


@pytest.fixture
def decoded(monkeypatch):
    """Counts the decoding jobs of each file."""
    counts = Counter()
    submit = DecodePool.submit

    def counting(pool, job):
        counts[job.path.decode().rsplit("/", 1)[1]] += 1
        submit(pool, job)

    monkeypatch.setattr(DecodePool, "submit", counting)
    return counts
