"""What `scan` shows: progress on stderr, records or their table on stdout."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, get_args

from rich.console import Console
from rich.text import Text

from deepscan.cards import Calibration
from deepscan.cli.progress import VideoProgress, videos
from deepscan.cli.scan_table import STYLES, WorstRows, shown_path
from deepscan.cli.streams import hand_on, is_pipe, is_terminal, stdout_console
from deepscan.cli.wrapping import wrap
from deepscan.error_rates import ErrorRates
from deepscan.errors import Terminated
from deepscan.outcomes import Verdict
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.paths import ScanPaths
from deepscan.scanning.record_lines import dump_line, path_fields
from deepscan.scanning.run import RunSummary, ScanListener
from deepscan.scanning.summary import (
    VERDICT_LABELS,
    counted,
    describe_outcomes,
    printable,
    shared_folder,
    summarise_record,
)

#: Most rows of the table if all records are in a file anyway.
MOST_ROWS = 50
#: Most suffixes named in the note on skipped files.
MOST_SUFFIXES = 5


class ScanView(VideoProgress, ScanListener):
    """Shows a scan to a person or a pipe; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        out: The file of the records; if None, they go to stdout, as a table at a terminal and as JSON lines
            elsewhere.
        console: Where to show progress; None for stderr.
    """

    def __init__(self, style: str, out: Path | None, *, console: Console | None = None) -> None:
        self._lines = out is None and not is_terminal(sys.stdout)
        # The program reading the pipe may write to this terminal too, and redrawing a bar would erase that.
        plain = style == "auto" and self._lines and is_pipe(sys.stdout)
        super().__init__("plain" if plain else style, outcomes=True, console=console)
        self._out = out
        self._stdout = stdout_console()
        self._rows = WorstRows(None if out is None else MOST_ROWS)
        self._before, self._copied, self._folder = 0, 0, ""
        self._models: Mapping[str, Any] = {}
        self._cautions: list[str] = []

    def __enter__(self) -> Self:
        self.count("loading", 0, None)
        return super().__enter__()

    def show_inputs(self, inputs: ScanPaths) -> None:
        """Note which files were skipped."""
        if inputs.skipped:
            self.note(f"skipped in folders: {_skipped(inputs)} (not a video or picture suffix)")
        if inputs.repeated:
            self.note(f"named more than once, scanned once: {inputs.repeated}")
        # All videos are below this folder, so it is left out of their names.
        self._folder = shared_folder(path_fields(path)[0] for path in inputs.paths)
        if not inputs.paths:
            self.note("no video or picture to scan")

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Keep what the summary says about the models."""
        if run["model"] is None:
            return
        self._models = run.get("models") or {run["model"]["name"]: run["model"]}
        for name, model in self._models.items():
            engine = run["engines"][name] if "engines" in run else run["engine"]
            if engine["details"]["note"]:
                self.note(f"note: {engine['details']['note']}")
            self._cautions += (f"{name}: {line}" for line in model.get("cautions", ()))
        if not run["parameters"]["explain"]:
            return
        for name in (name for name, model in self._models.items() if not model["evidence"]):
            self.note(f"warning: model {name} cannot explain its scores: --explain has no effect on it")
        explained = any(model["evidence"] for model in self._models.values())
        if self._out is None and not self._lines and explained:
            self.note(
                "warning: the table has no room for explanations: add --out FILE to get them in the records"
            )

    def checking(self, recorded: int) -> None:
        """Show that earlier files are being checked."""
        self.count(f"checking {videos(recorded)}", 0, None)

    def planned(self, todo: int, kept: Iterator[Mapping[str, Any]]) -> None:
        """Start to count."""
        for record in kept:
            self._rows.add(summarise_record(record))
        self._before = self._rows.count
        self._begin_videos("scanning", todo)
        if self._before:
            self.note(f"{videos(self._before)} already scanned, {todo:,} to scan")

    def at_work(self, path: bytes | None) -> None:
        """Show which video is being scanned."""
        if path is None:
            self._tick()
        else:
            self._begin_video(self._called(path_fields(path)[0]))

    def warned(self, line: str) -> None:
        """Show a warning."""
        self.note(f"warning: {line}")

    def ended(self, record: Mapping[str, Any]) -> None:
        """Count a video, and print its record if stdout gets records one by one."""
        self._copied += "copied_from" in record
        if self._lines:
            hand_on(dump_line(record) + "\n", self._out)
        else:
            self._rows.add(summarise_record(record))
        name = self._called(record["path"])
        self._count_video(name, record["status"], record["detail"], record["verdict"])

    def _called(self, path: str) -> str:
        inside = len(self._folder) > 1 and path.startswith(self._folder)
        return printable(path.removeprefix(self._folder)) if inside else shown_path(path)

    def show_table(self) -> None:
        """Print the table, unless stdout got the records one by one."""
        self._close()
        if self._lines or not self._rows.count:
            return
        width = self._stdout.width
        one = next(iter(self._models.values()))["calibration"] if len(self._models) == 1 else None
        calibration = Calibration.from_json(one) if one else None
        table = self._rows.table(width, out=self._out, calibration=calibration)
        words = [line for each in self._about_models() for line in wrap(each, width)]
        with self._stdout.capture() as capture:
            self._stdout.print(table, soft_wrap=True, highlight=False)
            for line in ["", *words] if words else ():
                self._stdout.print(Text(line), soft_wrap=True, highlight=False)
        hand_on(capture.get(), self._out)

    def show_summary(self, summary: RunSummary) -> None:
        """Show how many videos had each outcome, and where the records are."""
        if self._before and self._done:
            self._conclude("this session: ")
        elif not self._before:
            self._conclude()
        total = summary.statuses.total()
        if self._before and total:
            outcomes = describe_outcomes(summary.outcomes)
            self.note(f"in total: {videos(total)}: {outcomes}")
        if self._copied:
            whose = "its" if self._copied == 1 else "their"
            self.note(f"{videos(self._copied)} had the same content as another: {whose} results were copied")
        if self._lines:
            for line in self._about_models():
                self.note(line)
        for line in self._cautions:
            self.note(line)
        if self._rows.voted:
            self.note(f"the models agree on {self._rows.agreed:,} of {videos(self._rows.voted)}")
        if self._out:
            records = self._out.with_suffix(".jsonl")
            table = "" if records == self._out else f", table: {self._out}"
            self.note(f"records: {records}{table}")
            journal = shlex.quote(str(records))
            self.note(f"to make a page of them: deepscan report {journal}", command=True)

    def interrupted(self, error: BaseException) -> str:
        """Return the message for a scan that was interrupted."""
        word = "terminated" if isinstance(error, Terminated) else "interrupted"
        if not self._total:
            return word
        done, total = self._before + self._done, self._before + self._total
        if self._out is not None:
            # The interrupt may have come between writing a record and counting it.
            with suppress(OSError), ScanOutput(self._out).journal.open("rb") as file:
                done = sum(1 for _ in file)
        return f"{word}: {done:,} of {videos(total)} {'is' if total == 1 else 'are'} done"

    def _about_models(self) -> list[str]:
        """Return thresholds and error rates of each model; nothing if no video has a verdict."""
        if not sum(self._outcomes[verdict] for verdict in get_args(Verdict)) and not self._rows.judged:
            return []
        return [about_model(name, model) for name, model in self._models.items()]

    def _styled(self, line: str) -> Text:
        text = Text(line)
        if not line.startswith("now "):
            for kind, label in VERDICT_LABELS.items():
                if label:
                    text.highlight_regex(rf"[\d,]*\d {label}\b", STYLES[kind])
        return text


def about_model(name: str, model: Mapping[str, Any]) -> str:
    """Return one line with the thresholds and error rates of a model, from a run file."""
    fitted = model["calibration"]
    if fitted is None:
        thresholds = "not calibrated, so every verdict is inconclusive and scores are not probabilities"
    else:
        thresholds = (
            f"fake from {fitted['fake']:.2f}, no evidence below {fitted['no_evidence']:.2f}, "
            "inconclusive in between"
        )
    # The first is the most similar to a scan.
    rates = next(map(ErrorRates.from_json, model.get("error_rates", ())), None)
    wrong = f"On {rates.data}, {rates.summary}" if rates else "Its card has no error rates"
    return f"{name}: {thresholds}. {wrong}."


def _skipped(inputs: ScanPaths) -> str:
    kinds = [f"{count:,} {suffix}" for suffix, count in inputs.skipped.most_common(MOST_SUFFIXES)]
    others = len(inputs.skipped) - len(kinds)
    return ", ".join([*kinds, *([f"and {counted(others, 'other kind')}"] if others else [])])
