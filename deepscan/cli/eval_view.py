"""What `eval` shows: results on stdout, progress on stderr."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepscan.cli.progress import ProgressView
from deepscan.cli.streams import stdout_console
from deepscan.data.datasets import DATASETS
from deepscan.errors import MissingError
from deepscan.evaluation.run import EvaluationListener

if TYPE_CHECKING:
    from deepscan.evaluation.measurements import Measurement
    from deepscan.evaluation.protocols import Level, TestSet
    from deepscan.evaluation.report import Report, Result

#: Metrics in the table, with their headings.
HEADINGS = {
    "auc": "AUC",
    "average_precision": "AP",
    "accuracy": "Acc",
    "equal_error_rate": "EER",
    "calibration_error": "ECE",
}


class EvalView(ProgressView, EvaluationListener):
    """Shows the progress of an evaluation; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
    """

    def __init__(self, style: str) -> None:
        super().__init__(style)
        self._absent: list[str] = []

    def absent(self, test: "TestSet", error: MissingError) -> None:
        """Show which test set is missing, and how to get it."""
        lines = [f"missing: {test.name}: {error.message}; {error.hint}"]
        # If only the crops are missing, there is nothing to download.
        if test.dataset in DATASETS.names and "DIR" in error.hint:
            layout = DATASETS.get(test.dataset)
            lines += [f"  DIR: {layout.expects}", f"  to get it: {layout.origin}"]
        for line in lines:
            self.note(line)
        self._absent += lines

    def cut(self, done: int, total: int) -> None:
        """Count the pictures that have been cropped."""
        self.count("cutting", done, total, "images")

    def scored(self, dataset: str, done: int, total: int) -> None:
        """Count the videos that have been scored."""
        self.count(dataset, done, total, "videos")

    def analysed(self, name: str, done: int, total: int) -> None:
        """Count the steps of an analysis."""
        self.count(name, done, total)

    def measured(self, test: str) -> None:
        """Show that metrics are being computed."""
        self.count(f"measuring {test}", 0, None)

    def wrote(self, paths: Sequence[Path]) -> None:
        """Show where the report is."""
        names = ", ".join(path.name for path in paths)
        self.note(f"in {paths[0].parent}: {names}")

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        if self._style == "none" and isinstance(raised[1], MissingError):
            # They belong to the error, so that `none` must not hide them.
            for line in self._absent:
                self._write(line)


def show_report(report: "Report", metrics: Sequence[str], level: "Level") -> None:
    """Print a table for each way of counting: one row per test set, next to the papers' results."""
    console = stdout_console()
    for counting in dict.fromkeys(each.counting for each in report.results):
        _print(console, _table(report, counting, metrics, level))
        other: Level = "frame" if level == "video" else "video"
        if [each.coverage.n for each in report.of(counting, other)] not in (
            [],
            [each.coverage.n for each in report.of(counting, level)],
        ):
            _print(console, _table(report, counting, metrics, other))
        for each in report.of(counting, level):
            if each.kinds:
                _print(console, _kinds(each, metrics[0]))
        for line in dict.fromkeys(
            line for each in report.of(counting, level) for line in _notes(each, metrics[0])
        ):
            # A terminal breaks lines between words; in a file they stay in one piece.
            console.print(Text(line), soft_wrap=not console.is_terminal)
    for test, of in report.robustness.items():
        grid = Table(title=f"{test}: AUC by strength of distortion", box=None, title_justify="left")
        for head in ("", *map(str, of[0].aucs), "mean change"):
            grid.add_column(head, justify="left" if not head else "right")
        for moved in of:
            levels = [f"{value:.3f}" for value in moved.aucs.values()]
            grid.add_row(moved.distortion, *levels, f"{moved.figure:+.1%}")
        _print(console, grid)


def _print(console: Console, table: Table) -> None:
    # rich would wrap a title at the width of its table, however narrow.
    title, table.title = table.title, None
    console.print(Text(str(title), style="table.title"), soft_wrap=True)
    console.print(table)


def _table(report: "Report", counting: str, metrics: Sequence[str], level: "Level") -> Table:
    results = report.of(counting, level)
    printed = any(each.paper for each in results)
    shown = [name for name in (*metrics, *HEADINGS) if name in results[0].figures]
    shown = list(dict.fromkeys(shown))[:4]
    one = report.metadata.get("vote", level) if level == "video" else level
    table = Table(
        title=f"per {one}, {counting} counting",
        box=None,
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("test set", overflow="fold")
    table.add_column("real+fake", justify="right")
    table.add_column(HEADINGS[shown[0]], justify="right")
    table.add_column("95 %", justify="right")
    if printed:
        table.add_column("paper", justify="right")
        table.add_column("diff", justify="right")
    for name in shown[1:]:
        table.add_column(HEADINGS[name], justify="right")
    for each in results:
        table.add_row(each.test, _counted(each), *_figures(each, shown, printed))
    if len(results) > 1:
        paper = report.papers_means.get((counting, level))
        main = report.mean(counting, level, shown[0])
        comparison = [
            f"{paper.value:.3f}" if paper else "",
            f"{main - paper.value:+.3f}" if paper and main else "",
        ]
        means = [report.mean(counting, level, name) for name in shown[1:]]
        table.add_row("mean", "", _number(main), "", *(comparison if printed else ()), *map(_number, means))
    return table


def _notes(each: "Result", metric: str) -> Iterator[str]:
    """Yield the notes on a test set."""
    if each.figures[metric].value is None:
        yield f"{each.test}: no {HEADINGS[metric]}: {each.figures[metric].reason}"
    if each.coverage.missing:
        why = ", ".join(f"{count} {status}" for status, count in each.coverage.missing.items())
        yield f"{each.test}: not scored: {why} ({each.coverage.policy})"
    for note in each.notes:
        yield f"note: {note}"


def _kinds(each: "Result", metric: str) -> Table:
    table = Table(
        title=f"{each.test}, by manipulation",
        box=None,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for head in ("", "fakes", HEADINGS[metric], "95 %"):
        table.add_column(head, justify="right" if head else "left", overflow="fold")
    reals = int((each.samples.labels == 0).sum())
    for kind, figures in each.kinds.items():
        table.add_row(
            kind, str(figures[metric].n - reals), _number(figures[metric].value), _interval(figures[metric])
        )
    return table


def _figures(each: "Result", shown: Sequence[str], printed: bool) -> list[str]:
    main = each.figures[shown[0]]
    cells = [_number(main.value), _interval(main)]
    if printed:
        value = each.paper.value if each.paper else None
        cells += [
            "" if value is None else f"{value:.3f}",
            "" if value is None or main.value is None else f"{main.value - value:+.3f}",
        ]
    return [*cells, *(_number(each.figures[name].value) for name in shown[1:])]


def _counted(each: "Result") -> str:
    labels = each.samples.labels
    return f"{int((labels == 0).sum())}+{int((labels == 1).sum())}"


def _interval(figure: "Measurement") -> str:
    return "" if figure.interval is None else f"{figure.interval.low:.3f}-{figure.interval.high:.3f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
