"""Every protocol is valid, and its sets match the papers and the supported data sets."""

import pytest

from deepscan.data.benchmarks.forensynths import GENERATORS
from deepscan.data.datasets import DATASETS
from deepscan.errors import UsageError
from deepscan.evaluation.protocols import PROTOCOLS, Protocol, whole_datasets
from deepscan.evaluation.protocols import TestSet as ProtocolTestSet
from deepscan.evaluation.tables import expected, expected_mean
from deepscan.metrics.binary import METRICS

ROWS = [(name, row) for name in PROTOCOLS.names for row in PROTOCOLS.get(name).sets]


def test_the_protocols_of_the_field_exist():
    assert PROTOCOLS.names == (
        *("cross-dataset", "cross-manipulation", "df40-ff", "df40-cdf", "universal", "robustness"),
        "in-domain",
    )
    assert all(PROTOCOLS.get(name).name == name for name in PROTOCOLS.names)


@pytest.mark.parametrize(
    ("name", "row", "number", "level"),
    [
        ("cross-dataset", "qtfp", 10, "video"),
        ("cross-dataset", "dfd-hr", 7, "video"),
        ("cross-dataset", "corit", 5, "frame"),
        ("cross-manipulation", "corit", 4, "frame"),
        ("df40-ff", "qtfp", 8, "video"),
        ("df40-ff", "dfd-hr", 8, "video"),
        ("df40-cdf", "corit", 5, "frame"),
        ("universal", "corit", 19, "frame"),
        ("universal", "unifd", 19, "frame"),
    ],
)
def test_each_paper_has_its_number_of_sets_and_level(name, row, number, level):
    protocol = PROTOCOLS.get(name)
    assert len(protocol.sets[row]) == number
    assert protocol.level(row) == level


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_every_set_can_be_prepared_or_read_in_place(name, row):
    protocol = PROTOCOLS.get(name)
    for test in protocol.sets[row]:
        if protocol.reading == "pictures":
            assert test.dataset in GENERATORS
            continue
        layout = DATASETS.get(test.dataset)
        assert set(test.kinds) <= {kind for kind, label in layout.labels.items() if label}
        assert bool(test.compression) == layout.nested, "files with levels need a level"
        assert test.split == "test"
    assert set(protocol.metrics) <= set(METRICS)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        *(("cross-dataset", row) for row in ("qtfp", "dfd-hr", "corit")),
        ("df40-ff", "dfd-hr"),
        ("df40-cdf", "corit"),
        *(("universal", row) for row in ("corit", "unifd")),
    ],
)
def test_papers_print_a_result_for_each_set_and_the_mean(name, row):
    protocol = PROTOCOLS.get(name)
    arguments = (protocol.level(row), protocol.metrics[0])
    figures = [expected(row, test.dataset, *arguments) for test in protocol.sets[row]]
    mean = expected_mean(row, [test.dataset for test in protocol.sets[row]], *arguments)
    assert all(figure is not None and 0 < figure.value <= 1 for figure in figures)
    # The papers truncate or misprint means by up to 1.5 units of the last digit.
    assert sum(figure.value for figure in figures) / len(figures) == pytest.approx(
        mean.value, abs=1.5 * mean.unit
    )


def test_four_sets_and_the_mean_of_qtfp_on_df40_are_known():
    tests = PROTOCOLS.get("df40-ff").sets["qtfp"]
    known = [test.name for test in tests if expected("qtfp", test.dataset, "video")]
    assert known == ["uniface_ff", "e4s_ff", "fsgan_ff", "simswap_ff"]
    assert expected_mean("qtfp", [test.dataset for test in tests], "video").printed == ".983"


def test_the_models_own_sets_are_the_default():
    protocol = PROTOCOLS.get("cross-dataset")
    assert [protocol.of(None, method) for method in ("corit", "dfd-hr", "qtfp", "effort")] == [
        *("corit", "dfd-hr", "qtfp", "qtfp")
    ]
    assert protocol.of("corit", "qtfp") == "corit"
    with pytest.raises(UsageError, match="no test sets for 'fft'") as caught:
        protocol.of("fft", "qtfp")
    assert caught.value.hint == "choose from: qtfp, dfd-hr, corit"
    with pytest.raises(UsageError) as caught:
        PROTOCOLS.get("cross-datset")
    assert caught.value.hint == "did you mean 'cross-dataset'?"


def test_protocols_without_sets_or_with_repeated_sets_are_rejected():
    with pytest.raises(ValueError, match="no test sets"):
        Protocol("x", "", "", {"qtfp": ()})
    with pytest.raises(ValueError, match="twice"):
        Protocol("x", "", "", {"qtfp": (*whole_datasets("UADFV"), ProtocolTestSet("UADFV", "DFDC"))})
