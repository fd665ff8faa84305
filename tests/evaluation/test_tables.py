"""Looking up and rendering the results of papers."""

import io
import re

import pytest
from rich.console import Console

from deepscan.cli.paper_tables import index, render
from deepscan.errors import UsageError
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.tables import expected, expected_mean, load_tables, paper_table


def render_text(grid, width):
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(grid)
    return out.getvalue()


@pytest.mark.parametrize(
    ("method", "dataset", "level", "metric", "paper", "value", "table_name"),
    [
        ("qtfp", "Celeb-DF-v1", "video", "auc", None, 0.980, "qtfp-classification-token"),
        ("qtfp", "Celeb-DF-v2", "video", "auc", None, 0.960, "qtfp-cross-dataset"),
        ("qtfp", "uniface_ff", "video", "auc", None, 0.988, "qtfp-cross-method"),
        ("dfd-hr", "FFIW", "video", "auc", None, 0.968, "dfd-hr-cross-dataset"),
        ("dfd-hr", "FaceShifter", "video", "auc", None, 0.912, "dfd-hr-peft"),
        ("corit", "Celeb-DF-v2", "frame", "auc", None, 0.891, "corit-frame"),
        ("corit", "Celeb-DF-v2", "video", "auc", None, 0.941, "corit-video"),
        ("corit", "e4s_cdf", "frame", "auc", None, 0.944, "corit-df40-cdf"),
        ("corit", "seeingdark", "frame", "average_precision", None, 0.9714, "corit-universal-ap"),
        ("corit", "ldm_200_cfg", "frame", "accuracy", None, 0.8660, "corit-universal-accuracy"),
        ("unifd", "DFDC", "frame", "auc", None, 0.736, "corit-frame"),
        ("unifd", "glide_100_10", "frame", "accuracy", None, 0.7814, "corit-universal-accuracy"),
        ("effort", "FaceShifter", "video", "auc", None, 0.868, "qtfp-effort"),
        ("effort", "FaceShifter", "video", "auc", "dfd-hr", 0.877, "dfd-hr-peft"),
        ("effort", "Celeb-DF-v2", "video", "auc", "corit", 0.956, "corit-video"),
        ("lora", "Celeb-DF-v2", "video", "auc", None, 0.914, "dfd-hr-peft"),
        ("fft", "FaceShifter", "video", "auc", None, 0.888, "dfd-hr-peft"),
    ],
)
def test_the_result_of_a_method_is_found(method, dataset, level, metric, paper, value, table_name):
    figure = expected(method, dataset, level, metric, paper)
    # Tolerance for dividing a decimal by 100 as a float.
    assert figure.value == pytest.approx(value, abs=1e-12)
    assert (figure.table, figure.number) == (table_name, paper_table(table_name).number)
    assert figure.paper == paper_table(table_name).paper


def test_results_have_the_unit_of_their_last_digit():
    assert expected("corit", "dalle", "frame", "average_precision").unit == pytest.approx(1e-4)
    assert expected("corit", "DFDC", "frame").unit == pytest.approx(1e-3)
    assert expected("qtfp", "DFDC", "video").unit == pytest.approx(1e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        ("qtfp", "Celeb-DF-v2", "frame"),
        ("effort", "UADFV", "video"),
        ("corit", "WildDeepfake", "frame"),
        ("corit", "FF-NT", "video"),
        ("qtfp", "Celeb-DF-v2", "video", "accuracy"),
        ("qtfp", "Celeb-DF-v2", "video", "auc", "corit"),
        ("nobody", "Celeb-DF-v2", "video"),
    ],
)
def test_unprinted_results_are_none(arguments):
    assert expected(*arguments) is None


@pytest.mark.parametrize(
    ("protocol", "sets", "metric", "value"),
    [
        ("cross-dataset", "qtfp", "auc", 0.947),
        ("cross-dataset", "dfd-hr", "auc", 0.940),
        ("cross-dataset", "corit", "auc", 0.889),
        ("df40-ff", "qtfp", "auc", 0.983),
        ("df40-ff", "dfd-hr", "auc", 0.978),
        ("df40-cdf", "corit", "auc", 0.916),
        ("universal", "corit", "average_precision", 0.9717),
        ("universal", "corit", "accuracy", 0.8984),
    ],
)
def test_a_protocol_has_the_results_of_its_paper(protocol, sets, metric, value):
    found = PROTOCOLS.get(protocol)
    names, level = [test.name for test in found.sets[sets]], found.level(sets)
    # Tolerance as above.
    assert expected_mean(sets, names[::-1], level, metric, sets).value == pytest.approx(value, abs=1e-12)
    assert expected_mean(sets, names[1:], level, metric) is None
    missing = {name for name in names if expected(sets, name, level, metric) is None}
    lost = {"blendface_ff", "mobileswap_ff", "facedancer_ff", "inswap_ff"}
    assert missing == (lost if (protocol, sets) == ("df40-ff", "qtfp") else set())


def test_a_printed_mean_of_a_baseline_is_found():
    ten = [test.name for test in PROTOCOLS.get("cross-dataset").sets["qtfp"]]
    assert expected_mean("effort", ten, "video").value == pytest.approx(0.923)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (lambda: paper_table("corit-frames"), "did you mean 'corit-frame'?"),
        (lambda: paper_table("corit-frame").row("Ours"), "did you mean 'Ours†'?"),
        (lambda: paper_table("corit-frame").cell("Ours†", "CDF-v2"), "did you mean 'CDFv2'?"),
        (lambda: paper_table("?"), "deepscan tables"),
        (lambda: paper_table("qtfp-ablation").cell("× × ×", "?"), "choose from: CDF-v1, FSh, DFDCP, Avg"),
    ],
)
def test_unknown_names_are_rejected_with_a_similar_one(arguments, hint):
    with pytest.raises(UsageError) as caught:
        arguments()
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize("name", load_tables())
def test_a_table_fits_into_80_columns_with_every_number(name):
    table = paper_table(name)
    lines = render_text(render(table, 80), 200).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    words = " ".join(lines).split()
    figures = [word for row in table.rows for cell in row.cells for word in str(cell).split()]
    assert not [word for word in figures if words.count(word) < figures.count(word)]


def test_wide_tables_are_transposed_and_narrow_ones_are_not():
    assert re.search(r"^ProGAN +100\.0", render_text(render(paper_table("corit-universal-ap")), 80), re.M)
    assert re.search(r"^UniFD +82\.7 +91\.4", render_text(render(paper_table("corit-df40-cdf")), 80), re.M)
    unfolded = render_text(render(paper_table("corit-universal-ap"), 300), 300)
    assert re.search(r"^CNN-Spot +100\.0 +93\.47", unfolded, re.M)


def test_a_deviating_mean_is_shown_as_printed_with_a_note():
    page = render_text(render(paper_table("corit-df40-cdf")), 80)
    assert re.search(r"76\.5 +80\.0 *\n", page)
    assert "82.82" in page


def test_lost_numbers_are_described():
    assert "Not available: every number" in render_text(render(paper_table("dfd-hr-designs")), 80)


def test_the_index_lists_every_table_with_its_source():
    page = render_text(index(), 80)
    assert [line.split()[0] for line in page.splitlines()[1:] if not line.startswith(" ")] == list(
        load_tables()
    )
    assert "Table XIII" in page
    assert max(len(line) for line in page.splitlines()) <= 80
