"""The README is short, and its figures are those of committed results; the models page repeats them."""

import csv
import json
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from deepscan.cards import sha256_of
from deepscan.models.lookup import DEFAULT_MODEL, load_card

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
CARD = load_card(DEFAULT_MODEL)


def cells(text, start):
    """The cells of the table row that begins with a text."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in row.strip("| ").split("|")]


def with_interval(figure, digits):
    value, low, high = (
        Decimal(str(number)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
        for number in (figure["value"], *figure["interval"])
    )
    return f"{value} ({low} to {high})"


def of_the_web(kind):
    (found,) = [each for each in CARD.results if each["metric"] == "auc" and each.get("kind") == kind]
    return found


def clips():
    text = (ROOT / "benchmarks" / "embedded" / f"{DEFAULT_MODEL}-clips-ab.json").read_text(encoding="utf-8")
    (result,) = json.loads(text)["results"]
    (auc,) = [figure for figure in result["figures"] if figure["metric"] == "auc"]
    return auc


def test_it_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", [README, MODELS])
@pytest.mark.parametrize(
    ("row", "data"),
    [(r"(whole )?clips from public demos", "whole clips"), ("faces from the web", "faces from the web")],
)
def test_its_error_rates_are_the_cards(page, row, data):
    (rates,) = [each for each in CARD.error_rates if each.data.startswith(data)]
    rates_in_row = (
        rf"{rates.reals_called_fake} of {rates.reals} \| {rates.fakes_called_fake} of {rates.fakes} "
        rf"\| {rates.fakes_no_evidence} of {rates.fakes} \|"
    )
    assert re.search(rf"^\| {row}[^|]* \| {rates_in_row}", page, re.MULTILINE)


def test_its_aucs_are_those_of_the_card_and_the_clips():
    assert cells(README, "clips from public demos")[-1] == with_interval(clips(), 2)
    assert cells(README, "faces from the web")[-1] == with_interval(of_the_web("all"), 2)
    unseen = of_the_web("fakes of unseen methods against reals of unseen origins")
    assert cells(README, "of these, only methods")[-1] == with_interval(unseen, 2)
    assert cells(MODELS, "of these: fakes by methods")[1] == with_interval(unseen, 3)
    assert cells(MODELS, "faces from the web, those from one source counted as one | 0")[1] == with_interval(
        of_the_web("all"), 3
    )
    assert cells(MODELS, "the other votes")[1] == with_interval(of_the_web("the others"), 3)


def test_its_speed_is_that_of_the_benchmark():
    with (ROOT / "benchmarks" / "speed.csv").open(encoding="utf-8") as file:
        (scan,) = [row for row in csv.DictReader(file) if row["what"] == "scan: work"]
    (clips_scanned,) = re.findall(r"A scan of (\d+) clips", README)
    assert f"is {float(scan['ratio']):.1f} times as fast" in README
    assert sum(1 for _ in (ROOT / "benchmarks" / "speed-clips.csv").open()) - 1 == int(clips_scanned)


def test_its_record_is_one_of_the_sample_videos():
    (block,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    record = json.loads(block)
    assert record["sha256"] == sha256_of(ROOT / "sample_videos" / Path(record["path"]).name)
    explained = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    assert all(f"| `{key}`" in explained for key in record)
    assert record["model"]["name"] == CARD.name
    assert record["score"] >= CARD.calibration.fake


@pytest.mark.slow
def test_its_python_runs(monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert [line.split()[1] for line in lines if "swapped.mp4" in line] == ["fake"]
