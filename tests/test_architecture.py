"""docs/architecture.md: the layers and the worked example match the code."""

import os
import re
from pathlib import Path

import pytest

from deepscan.media.decoders import DECODERS, DecoderError
from deepscan.media.probe import probe
from deepscan.media.source import SourceFile
from tests import awkward
from tests.test_floors import LAYERS
from tests.test_names import dead_references

PAGE = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
ROOT = Path(__file__).parent.parent


def test_the_page_lists_the_layers_in_order():
    names = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## How a video is scanned")[0], re.M)
    assert (*names, "__main__") == LAYERS


def test_the_listed_places_to_add_things_exist():
    table = PAGE.partition("## Adding things")[2].partition("### ")[0]
    line = r"^\| [\w ]+ \| `([^`]+)` \| (?:`(\w+)` (?:in `([^`]+)`|there)|[^|]+) \| `([^`]+)` \|"
    rows = re.findall(line, table, re.M)
    assert len(rows) == 12
    for file, registry, place, tests in rows:
        assert (ROOT / "deepscan" / file).parent.is_dir(), file
        where = ROOT / "deepscan" / (place or file)
        assert where.is_file() and re.search(rf"^{registry}\b", where.read_text(encoding="utf-8"), re.M), (
            where
        )
        assert (ROOT / tests).exists(), tests


def test_the_names_on_the_page_exist():
    assert dead_references(PAGE) == []


def test_the_worked_example_returns_every_requested_frame(tmp_path, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    monkeypatch.setitem(DECODERS._modules, "opencv", "deepscan.media.opencv")
    monkeypatch.delitem(DECODERS._entries, "opencv", raising=False)
    exec(compile(code, "opencv.py", "exec"), {})
    order = [5, 2, 2, 4, 0, 29]
    with SourceFile(os.fsencode(awkward.video(tmp_path / "plain.mp4"))) as source:
        reader = DECODERS.get("opencv")(source.url(), probe(source))
        assert [awkward.number_of(reader.read(index)) for index in order] == order
        reader.close()
    turned = awkward.rotated(tmp_path / "turned.mp4", 90)
    with SourceFile(os.fsencode(turned)) as source, pytest.raises(DecoderError, match="as they are stored"):
        DECODERS.get("opencv")(source.url(), probe(source))
    monkeypatch.delitem(DECODERS._entries, "opencv")
