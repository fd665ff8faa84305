"""The tables of the papers: complete, as printed, and consistent."""

import re
from dataclasses import replace
from decimal import Decimal
from importlib.resources import files

import pytest

from deepscan.evaluation.papers.table import PAPERS, PaperTable, PrintedCell, PrintedRow, number
from deepscan.evaluation.tables import load_tables, paper_table
from tests.evaluation.printed_deviations import Deviation, deviations, known_deviations

#: The tables that the texts of the papers refer to.
NUMBERED = {
    "qtfp": ["Table 3", *(f"supplement, Table {table}" for table in range(1, 6))],
    "dfd-hr": [
        *("Table 5", "Table 6", "Table 8", "Table A", "Table B"),
        *("Table C (a)", "Table C (b)", "Table C (c)", "Table D"),
    ],
    "corit": [
        f"Table {roman}"
        for roman in ("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII", "XIII", "XIV")
    ],
}
LOST = {
    *("qtfp-backbones", "dfd-hr-token-rivals", "dfd-hr-scale-rivals", "dfd-hr-designs", "corit-symbols"),
}
SMALL = PaperTable(
    name="small",
    paper="corit",
    number="Table 0",
    title="small",
    metric="auc",
    heading="Method",
    columns=("A", "B", "Avg."),
    rows=(
        PrintedRow("one", (PrintedCell("1.0"), PrintedCell("2.0"), PrintedCell("1.5"))),
        PrintedRow("two", (PrintedCell("1.0"), PrintedCell(""), PrintedCell(""))),
    ),
    level="video",
    scale=100,
    mean="Avg.",
    datasets={"A": "a"},
    methods={"corit": "one"},
)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_numbered_table_exists(paper):
    existing = {table.number for table in load_tables().values() if table.paper == paper}
    assert not [name for name in NUMBERED[paper] if name not in existing]


def test_no_table_is_defined_twice():
    # The YAML parser silently keeps the last of two equal keys.
    names = [
        name
        for paper in PAPERS
        for name in re.findall(
            r"^  ([\w-]+):$", (files("deepscan.evaluation.papers") / f"{paper}.yaml").read_text("utf-8"), re.M
        )
    ]
    assert names == list(load_tables())


def test_a_table_without_rows_describes_what_is_lost():
    assert {name for name, table in load_tables().items() if not table.rows} == LOST
    assert all(load_tables()[name].lost for name in LOST)


@pytest.mark.parametrize(
    ("name", "row", "printed"),
    [
        (
            "qtfp-classification-token",
            "Global (Default)",
            "0.980 0.960 0.913 0.989 0.975 0.869 0.925 0.992 0.917 0.950 0.947",
        ),
        ("qtfp-ablation", "✓ ✓ ×", "0.976 0.902 0.917 0.931"),
        ("qtfp-cross-dataset", "Forensics Adapter*", "0.956 0.869 0.851 0.890 0.914"),
        ("qtfp-cross-method", "Effort", ".962 .983 .957 .926 .940"),
        ("qtfp-cost", "#Params", "0.19M 4.39M 1.77M 5.97M 305.04M 309.24M"),
        ("dfd-hr-cross-dataset", "DFD-HR", ".960 .980 .865 .901 .997 .907 .968 .940"),
        ("dfd-hr-cross-method", "DFD-HR", ".988 .956 .986 .993 .970 .984 .981 .970 .978"),
        ("dfd-hr-peft", "OFT", "91.1 (-0.7) 85.5 (-3.3) 88.3 (-2.0)"),
        ("dfd-hr-peft", "MoE-FFD", "91.3 (-0.5) - -"),
        ("dfd-hr-modules", "+ Token Selection", "94.3 90.4 92.4"),
        ("dfd-hr-third-party", "DFD-HR, retrained", ".995 .907 .972 .829 .852 .863 .980 .979"),
        ("corit-frame", "Ours†", "90.9 89.1 88.8 84.5 91.3 88.9"),
        ("corit-frame", "ED", "81.8 86.4 85.1 72.1 - -"),
        ("corit-video", "PCL + I2G", "90.0 67.5 74.3 77.3"),
        ("corit-df40-cdf", "UniFD", "82.7 91.4 77.9 85.6 76.5 80.0"),
        (
            "corit-universal-ap",
            "Ours",
            "100.0 100.0 99.96 99.91 100.0 100.0 92.24 97.14 65.89 99.95 100.0 96.31 99.81 98.30 99.81 99.08 "
            "99.19 99.00 99.56 97.17",
        ),
        (
            "corit-universal-accuracy",
            "NPR",
            "99.84 95.00 87.55 96.23 86.57 99.75 76.89 66.94 98.63 50.00 50.00 84.55 97.65 98.00 98.20 96.25 "
            "97.15 97.35 87.15 87.56",
        ),
        ("corit-cross-manipulation", "Ours over UniFD", "+12.5 +8.2"),
        ("corit-cor", "Ours", "0.60 2.67 2.60 0.40 0.38"),
        ("corit-modules", "- - ✓", "77.4 79.4 82.6 89.9 82.3"),
        ("corit-regions", "F+Bd+Bg 3 Max", "83.4 83.6 84.5 79.7 89.5 84.1"),
        ("corit-memory", "ForAda", "21,224"),
    ],
)
def test_rows_are_as_printed(name, row, printed):
    assert " ".join(map(str, paper_table(name).row(row).cells)) == printed


def test_printed_means_and_changes_match_except_for_listed_deviations():
    deviating_cells = {(found.table, found.row, found.column) for found in deviations() if found.deviates}
    listed = [(entry.table, entry.row, entry.column) for entry in known_deviations()]
    assert len(set(listed)) == len(listed)
    assert deviating_cells - set(listed) == set(), "unlisted"
    assert set(listed) - deviating_cells == set(), "listed, but correct"


def test_the_listed_deviations_are_correct():
    found = {(entry.table, entry.row, entry.column): entry for entry in deviations()}
    for entry in known_deviations():
        actual = found[entry.table, entry.row, entry.column]
        listed = (entry.kind, Decimal(entry.sum), int(entry.count), entry.printed)
        assert listed == (actual.kind, actual.sum, actual.count, actual.printed)
        digits = len(entry.computed.partition(".")[2])
        assert Decimal(entry.computed) == round(Decimal(entry.sum) / int(entry.count), digits)
        assert entry.why


def test_most_means_are_checked():
    kinds = [found.kind for found in deviations()]
    # Rows with a printed mean, and cells of Tables A and B with a printed change.
    assert kinds.count("mean") == sum(
        1 for table in load_tables().values() if table.mean for row in table.rows if row.cells[-1].printed
    )
    assert kinds.count("change") == 25 * 3 - 2 + 4 * 3


@pytest.mark.parametrize(
    ("total", "count", "printed", "deviates"),
    [
        # 93.65 is half a unit from both neighbours, so it may be rounded to either.
        ("187.3", 2, "93.6", False),
        ("187.3", 2, "93.7", False),
        ("187.3", 2, "93.5", True),
        ("2.744", 3, ".914", True),
        ("2.744", 3, ".915", False),
        ("2.744", 3, ".91", False),
        ("7", 2, "4", False),
    ],
)
def test_a_mean_deviates_beyond_half_a_unit_of_its_last_digit(total, count, printed, deviates):
    found = Deviation("t", "r", "c", "mean", Decimal(total), count, printed)
    assert found.deviates is deviates
    # Both sides are floats of exact decimals with four digits.
    assert found.difference == pytest.approx(float(printed) - float(total) / count, abs=1e-12)


def test_ranks_and_weights_of_the_experts_agree():
    for row in paper_table("dfd-hr-gate-weights").rows:
        weights = [cell.number for cell in row.cells]
        assert [int(cell.aside) for cell in row.cells] == [
            1 + sum(other > weight for other in weights) for weight in weights
        ]
        # Four weights of a softmax, each rounded by at most 0.005.
        assert abs(sum(weights) - 100) <= Decimal("0.02")


@pytest.mark.parametrize(
    ("printed", "value"),
    [
        *(("0.980", "0.980"), (".98", "0.98"), ("+1.2", "1.2"), ("-0.0", "0"), ("21,224", "21224")),
        *(("4.39M", "4390000"), ("8min32s", "512"), ("10min51s", "651"), ("1", "1")),
    ],
)
def test_printed_numbers_are_parsed(printed, value):
    assert number(printed) == Decimal(value)


@pytest.mark.parametrize("printed", ["", "-", "NaN", "Infinity", "1.2.3", "0.98 ", "1e3", "88.8b"])
def test_text_that_is_not_a_number_is_rejected(printed):
    with pytest.raises(ValueError, match="is not a number"):
        number(printed)


@pytest.mark.parametrize(
    "change",
    [
        {"paper": "nature"},
        {"level": "second"},
        {"scale": 10},
        {"scale": None},
        {"mean": "mAP"},
        {"columns": ("A", "B")},
        {"columns": ("A", "A", "Avg.")},
        {"rows": (SMALL.rows[0], SMALL.rows[0])},
        {"rows": ()},
        {"rows": (*SMALL.rows, PrintedRow("three", (PrintedCell("1.0"), PrintedCell("2.0"))))},
        {"rows": (*SMALL.rows, PrintedRow("", SMALL.rows[0].cells))},
        {"datasets": {"C": "c"}},
        {"methods": {"corit": "three"}},
        {"metric": "cost"},
        {"asides": "change"},
        {"asides": "change", "against": "three"},
        {"asides": "drift"},
        {"against": "one"},
    ],
)
def test_an_inconsistent_table_is_rejected(change):
    with pytest.raises(ValueError, match="table small: "):
        replace(SMALL, **change)
