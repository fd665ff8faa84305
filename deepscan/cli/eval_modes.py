"""What `eval`, `calibrate` and `analyse` share: request, measurement and report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepscan.cards import ModelCard

if TYPE_CHECKING:
    from deepscan.cli.eval_view import EvalView
    from deepscan.evaluation.protocols import Level
    from deepscan.evaluation.report import Report
    from deepscan.evaluation.request import Evaluation
    from deepscan.evaluation.scores import Scores
    from deepscan.scanning.options import ScanOptions


def make_request(
    card: ModelCard,
    protocol: str,
    sets: str | None,
    data: Path,
    out: Path | None,
    only: Sequence[str] | None,
    *,
    work: str = "",
    **more: Any,
) -> "Evaluation":
    """Return the request for an evaluation.

    Args:
        card: The model.
        protocol: Name of a protocol.
        sets: Method whose test sets to use; None for that of the model.
        data: Folder with the test sets.
        out: Folder for the results; None for one in `runs/eval`, named after the other arguments.
        only: Names of test sets; empty or None for all.
        work: Name for that folder instead of the protocol's.
        **more: Further fields of the request.

    Raises:
        UsageError: The protocol has no test sets for the method.
    """
    from deepscan.evaluation.protocols import PROTOCOLS
    from deepscan.evaluation.request import Evaluation

    known, only = PROTOCOLS.get(protocol), tuple(only or ())
    name = "-".join([card.name, work or protocol, *only, data.resolve().name])
    return Evaluation(
        protocol=known,
        row=known.of(sets, card.method),
        data=data,
        out=out or Path("runs/eval") / name,
        only=only,
        **more,
    )


def measure_given(
    given: "Scores",
    protocol: str | None,
    sets: str | None,
    countings: Sequence[str],
    missing: str,
    available: bool,
    settings: Mapping[str, object],
    out: Path | None,
    view: "EvalView",
    notes: tuple[str, ...] = (),
) -> None:
    """Evaluate existing scores, and show the report with the notes."""
    from deepscan.evaluation.counting import COUNTINGS
    from deepscan.evaluation.protocols import PROTOCOLS
    from deepscan.evaluation.results import report_scores

    named = PROTOCOLS.get(protocol) if protocol else None
    row = named.of(sets, "") if named else sets
    report = report_scores(
        given,
        missing=missing,  # type: ignore[arg-type]  # one of the option's choices
        countings=[COUNTINGS.get(name) for name in countings],
        protocol=named,
        row=row,
        available=available,
        metadata=settings,
        notes=notes,
    )
    metrics = named.metrics if named else ("auc",)
    _show(report, out, metrics, named.level(row or "") if named else "video", view)


def measure_model(request: "Evaluation", options: "ScanOptions", view: "EvalView") -> "Report":
    """Score the crops of a protocol, and show and return the report."""
    from deepscan.evaluation.run import run_evaluation
    from deepscan.scanning.loading import load_scorer

    with view:
        report = run_evaluation(request, load_scorer(options), view)
    _show(report, request.out, request.protocol.metrics, request.protocol.level(request.row), view)
    return report


def _show(
    report: "Report", folder: Path | None, metrics: Sequence[str], level: "Level", view: "EvalView"
) -> None:
    from deepscan.cli.eval_view import show_report
    from deepscan.evaluation.report import write_report

    # Written first: the reader of stdout may end before the report does.
    paths = write_report(report, folder, metrics[0], level) if folder else []
    show_report(report, metrics, level)
    if paths:
        view.wrote(paths)
