"""The table for ten million videos follows from the measurements, and the documentation shows it."""

import csv
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
NAMES = {"short": "short", "hd": "HD"}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("scale_table")


@pytest.fixture
def table():
    with (ROOT / "benchmarks" / "scale_table.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_what_the_script_calculates_from_the_measurements(script, table):
    assert table == [
        {name: str(value) for name, value in row.items()} for row in script.rows(script.measured())
    ]


def test_the_documentation_shows_it(table):
    for row in table:
        a_video = [
            NAMES[row["videos"]],
            row["cpu_seconds_a_video"],
            f"{int(row['videos_an_hour_a_core']):,}",
            f"{int(row['core_hours']):,}",
            row["core_minutes_a_chunk"],
        ]
        a_run = [
            f"{int(row['nodes']):,}",
            NAMES[row["videos"]],
            row["scan_hours"],
            row["begin_and_seal_hours"],
            f"{int(row['reads_a_second']):,}",
            row["gbit_a_second_a_node"],
            row["first_limit"],
        ]
        for cells in (a_video, a_run):
            assert f"\n| {' | '.join(cells)} |\n" in PAGE
    minutes = 60 * float(table[0]["begin_and_seal_hours"])
    assert f"that is about {minutes:.0f} minutes" in PAGE


def test_the_first_limit(script):
    # Two CPU seconds a video, and 64 cores: 32 videos a second for each node.
    facts = script.Measured({"some": 2.0}, begin=4e-5, seal=1e-5)
    one, hundred, thousand = script.rows(facts, (1, 200, 2000))
    assert [one["first_limit"], hundred["first_limit"]] == ["cores", "reads of a prefix"]
    assert (hundred["reads_a_second"], hundred["scan_hours"]) == ("6400", "0.43")
    assert (one["core_hours"], one["videos_an_hour_a_core"]) == ("5556", "1800")
    # 156 seconds of scanning, 500 of beginning and sealing.
    assert thousand["first_limit"] == "begin and seal"
    assert thousand["begin_and_seal_hours"] == "0.14"
