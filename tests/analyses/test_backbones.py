"""Each analysis of a model runs on every kind of backbone, or names the supported ones."""

import csv
from pathlib import Path

import pytest

from deepscan.analyses import ANALYSES, make_analysis
from deepscan.analyses.analysis import write_findings
from deepscan.errors import UsageError
from tests.analyses.datasets import dataset, model, subject
from tests.backbones.tiny import COMPACT, TINY

#: Kind -> the smallest backbone of that kind.
KINDS = {
    "vit": TINY["clip-vit-b16"],
    "compact": COMPACT,
    "convnet": {"name": "convnet", "side": 32, "channels": [4, 8], "pairs": [0, 1]},
    "efficientnet": {"name": "efficientnet-lite0", "side": 64},
}
#: Analysis -> options that keep it short.
QUICK = {
    "attention": ["epochs=1", "learnt=8"],
    "collapse": ["radii=[0.0]", "scan=[0.1]", "repeats=1", "steps=2", "batch=4"],
    "landscape": ["points=3", "radii=[0.1]", "ascents=1", "steps=1", "crops=4"],
    "routing": [],
    "cost": ["batch=1", "repeats=1", "frames=32"],
}
#: Analysis and kind -> text in the hint of the error.
REJECTED = {
    **{("attention", kind): "clip-vit-l14" for kind in ("convnet", "efficientnet")},
    # Models of method fft have no routing, whatever their backbone.
    **{("routing", kind): "dfd-hr or corit" for kind in KINDS},
}


def test_every_analysis_of_a_model_is_tested():
    assert set(QUICK) == {name for name in ANALYSES.names if "runs" not in ANALYSES.get(name).needs}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", QUICK)
def test_an_analysis_runs_on_a_backbone_or_names_the_supported_ones(name: str, kind: str, tmp_path: Path):
    card = model("fft", tmp_path, backbone=KINDS[kind])
    side = card.crop.side
    inputs = subject([dataset("A", [2] * 6, [2] * 6, side)], card, max_crops=12)
    analysis = make_analysis(name, QUICK[name])
    if (name, kind) in REJECTED:
        with pytest.raises(UsageError) as caught:
            analysis.run(inputs)
        assert REJECTED[name, kind] in caught.value.hint
    else:
        found = analysis.run(inputs)
        table, picture = write_findings(name, found, tmp_path / "out")
        with table.open() as file:
            assert len(list(csv.DictReader(file))) == len(found.rows) > 0
        assert picture.read_bytes().startswith(b"\x89PNG")
