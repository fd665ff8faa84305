"""What `eval` does in each of its modes, and how what it found is shown."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deepscan.cards import CARD, ModelCard, write_card
from deepscan.errors import UsageError
from deepscan.models.lookup import find_model, is_embedded, load_card

if TYPE_CHECKING:
    from deepscan.cli.eval_view import EvalView
    from deepscan.evaluation.protocols import Level
    from deepscan.evaluation.report import Report
    from deepscan.evaluation.request import Evaluation
    from deepscan.evaluation.scores import Scores
    from deepscan.scanning.options import ScanOptions


def measure_given(
    given: "Scores",
    protocol: str | None,
    sets: str | None,
    countings: Sequence[str],
    missing: str,
    available: bool,
    stated: Mapping[str, object],
    out: Path | None,
    view: "EvalView",
) -> None:
    """Measure scores that somebody has."""
    from deepscan.evaluation.aggregation import COUNTINGS
    from deepscan.evaluation.protocols import PROTOCOLS
    from deepscan.evaluation.results import report_scores

    named = PROTOCOLS.get(protocol) if protocol else None
    row = named.of(sets, "") if named else sets
    report = report_scores(
        given,
        missing=missing,  # type: ignore[arg-type]  # one of those allowed
        ways=[COUNTINGS.get(name) for name in countings],
        protocol=named,
        row=row,
        available=available,
        stated=stated,
    )
    _show(
        report, out, named.metrics if named else ("auc",), named.level(row or "") if named else "video", view
    )


def perform_protocol(asked: "Evaluation", options: "ScanOptions", view: "EvalView") -> "Report":
    """Score crops by a protocol, and show what comes of it."""
    from deepscan.evaluation.run import run_evaluation
    from deepscan.scanning.run import load_scorer

    with view:
        report = run_evaluation(asked, load_scorer(options), view)
    _show(report, asked.out, asked.protocol.metrics, asked.protocol.level(asked.row), view)
    return report


def check_calibrated(model: str) -> None:
    """Refuse to calibrate a model whose card is not the user's to write."""
    if is_embedded(find_model(model)):
        raise UsageError(
            f"--calibrate writes into the model's card, and {model} came with deepscan",
            f"copy {load_card(model).folder} and name the copy with --model",
        )


def calibrate_model(
    report: "Report", card: ModelCard, level: "Level", method: str, false_alarms: float, misses: float
) -> None:
    """Write a calibration into a model's card, and say what it is."""
    from deepscan.evaluation.results import calibrate_from_report

    made = calibrate_from_report(
        report,
        card,
        level,
        method,  # type: ignore[arg-type]  # one of those allowed
        fpr=false_alarms,
        fnr=misses,
    )
    write_card(made)
    found = made.calibration
    assert found is not None
    typer.echo(
        f"{card.folder / CARD}: fake from {found.fake:.3f}, no_evidence below {found.no_evidence:.3f}, "
        f"by {found.method} on {found.n} {found.level}s"
    )


def _show(
    report: "Report", folder: Path | None, metrics: Sequence[str], level: "Level", view: "EvalView"
) -> None:
    from deepscan.cli.eval_view import show_report
    from deepscan.evaluation.report import write_report

    # Written first: whoever reads stdout may go before its end.
    paths = write_report(report, folder, metrics[0], level) if folder else []
    show_report(report, metrics, level)
    if paths:
        view.wrote(paths)


def look_into(
    names: Sequence[str],
    options: Sequence[str],
    asked: "Evaluation",
    card: ModelCard,
    runs: tuple[Path, ...],
    view: "EvalView",
) -> None:
    """Look into a model by analyses, and write the table and the plot of each."""
    from deepscan.analyses import make_analysis
    from deepscan.analyses.analysis import Subject, write_findings
    from deepscan.evaluation.run import load_testsets

    if len(names) > 1 and options:
        raise UsageError("options are those of one analysis", "name one --analysis, or no options")
    looks = [make_analysis(name, options) for name in names]
    with view:
        materials = load_testsets(asked, card, view) if any("crops" in look.needs for look in looks) else []
    for name, look in zip(names, looks, strict=True):
        subject = Subject(card, materials, asked.out, runs, progress=partial(view.scored, name))
        with view:
            findings = look.look(subject)
        paths = write_findings(name, findings, asked.out)
        for line in findings.told:
            typer.echo(line)
        view.wrote(paths)
