"""What `scan` shows: its progress on stderr, its records or their table on stdout."""

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
from deepscan.cli.scan_table import STYLES, scan_table, shown_path
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
    VideoSummary,
    counted,
    in_words,
    printable,
    shared_folder,
    summarise_record,
)

#: Rows of the table when all records are in a file anyway.
MOST_ROWS = 50
#: Suffixes that are named where files of folders are left out.
MOST_SUFFIXES = 5


class ScanView(VideoProgress, ScanListener):
    """Tells a person, or a pipe, how a scan goes; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        out: The file that the records go to, None for none: then stdout gets them, as a table at a terminal
            and as JSON lines elsewhere.
        verbose: Whether to say which model, engine and precision run, and why.
        console: As `ProgressView` takes it.
    """

    def __init__(
        self, style: str, out: Path | None, *, verbose: bool = False, console: Console | None = None
    ) -> None:
        self._lines = out is None and not is_terminal(sys.stdout)
        # What reads a pipe may write to this terminal, and a bar that is drawn anew would wipe that out.
        plain = style == "auto" and self._lines and is_pipe(sys.stdout)
        super().__init__("plain" if plain else style, outcomes=True, console=console)
        self._out, self._verbose = out, verbose
        self._stdout = stdout_console()
        self._rows: list[VideoSummary] = []
        self._before, self._folder = 0, ""
        self._models: Mapping[str, Any] = {}
        self._cautions: list[str] = []

    def __enter__(self) -> Self:
        self.count("loading", 0, None)
        return super().__enter__()

    def show_inputs(self, inputs: ScanPaths) -> None:
        """Say what was left out of what the command line means."""
        if inputs.skipped:
            self.note(f"left out of folders: {_left_out(inputs)} (no videos or pictures by their suffix)")
        if inputs.repeated:
            self.note(f"named more than once, scanned once: {inputs.repeated}")
        # What is scanned lies there: it need not be said of each video.
        self._folder = shared_folder(path_fields(path)[0] for path in inputs.paths)
        if not inputs.paths:
            self.note("there is no video or picture to scan")

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Keep what is said of the models at the end; with `verbose`, say which run on what."""
        if run["model"] is None:
            return
        self._models = run.get("models") or {run["model"]["name"]: run["model"]}
        if self._verbose:
            self._show_models(run)
        for name, model in self._models.items():
            engine = run["engines"][name] if "engines" in run else run["engine"]
            if engine["details"]["note"]:
                self.note(f"note: {engine['details']['note']}")
            self._cautions += (f"{name}: {line}" for line in model.get("cautions", ()))
        if not run["parameters"]["explain"]:
            return
        for name in (name for name, model in self._models.items() if not model["evidence"]):
            self.note(f"warning: model {name} gives scores alone: --explain adds nothing")
        explained = any(model["evidence"] for model in self._models.values())
        if self._out is None and not self._lines and explained:
            self.note("warning: explanations are in the records, not in this table: name a file with --out")

    def _show_models(self, run: Mapping[str, Any]) -> None:
        if choice := run.get("choice"):
            self.note(f"chosen: {choice['model']}, {choice['reason']}")
        for name, model in self._models.items():
            engine = run["engines"][name] if "engines" in run else run["engine"]
            self.note(
                f"model {name} ({model['method']}), "
                f"{engine['name']} engine, {engine['device']}, {engine['precision']}"
            )
            if engine["chosen"] and engine["precision"] != "fp32":
                self.note(f"{engine['precision']}, which auto takes: {engine['chosen']}")
        if len(self._models) > 1:
            self.note(f"together: {run['model']['rule']}")

    def checking(self, recorded: int) -> None:
        """Say that files are being read again."""
        self.count(f"checking {videos(recorded)}", 0, None)

    def planned(self, todo: int, kept: Iterator[Mapping[str, Any]]) -> None:
        """Begin to count."""
        self._rows += [summarise_record(record) for record in kept]
        self._before = len(self._rows)
        self._begin_videos("scanning", todo)
        if self._before:
            self.note(f"{videos(self._before)} done before, {todo:,} to scan")

    def at_work(self, path: bytes | None) -> None:
        """Show which video is at work."""
        if path is None:
            self._tick()
        else:
            self._begin_video(self._called(path_fields(path)[0]))

    def warned(self, line: str) -> None:
        """Say what is not as it should be."""
        self.note(f"warning: {line}")

    def ended(self, record: Mapping[str, Any]) -> None:
        """Count a video, and hand its record on where stdout takes them as they come."""
        if self._lines:
            hand_on(dump_line(record) + "\n", self._out)
        else:
            self._rows.append(summarise_record(record))
        name = self._called(record["path"])
        self._count_video(name, record["status"], record["detail"], record["verdict"])

    def _called(self, path: str) -> str:
        inside = len(self._folder) > 1 and path.startswith(self._folder)
        return printable(path.removeprefix(self._folder)) if inside else shown_path(path)

    def show_table(self) -> None:
        """Print the table of what has been scanned, where stdout has not got it line by line."""
        self._close()
        if self._lines or not self._rows:
            return
        width, most = self._stdout.width, None if self._out is None else MOST_ROWS
        one = next(iter(self._models.values()))["calibration"] if len(self._models) == 1 else None
        calibration = Calibration.from_json(one) if one else None
        table = scan_table(self._rows, width, most=most, out=self._out, calibration=calibration)
        words = [line for each in self._about_models() for line in wrap(each, width)]
        with self._stdout.capture() as capture:
            self._stdout.print(table, soft_wrap=True, highlight=False)
            for line in ["", *words] if words else ():
                self._stdout.print(Text(line), soft_wrap=True, highlight=False)
        hand_on(capture.get(), self._out)

    def show_summary(self, summary: RunSummary) -> None:
        """Say how many there were of each outcome, and where the records are."""
        if self._before and self._done:
            self._conclude("this session: ")
        elif not self._before:
            self._conclude()
        total = summary.statuses.total()
        if self._before and total:
            became = in_words(summary.outcomes)
            self.note(f"in all: {videos(total)}: {became}")
        if self._lines:
            for line in self._about_models():
                self.note(line)
        for line in self._cautions:
            self.note(line)
        votes = [row.agreement for row in self._rows if row.agreement]
        if votes:
            same = sum(said == voting for said, voting in votes)
            self.note(f"the models agree on {same:,} of {videos(len(votes))}")
        if self._out:
            records = self._out.with_suffix(".jsonl")
            table = "" if records == self._out else f", as a table: {self._out}"
            self.note(f"records: {records}{table}")
            journal = shlex.quote(str(records))
            self.note(f"a page of them: deepscan report {journal}", command=True)

    def interrupted(self, error: BaseException) -> str:
        """Return what to say of a scan that was cut short."""
        word = "terminated" if isinstance(error, Terminated) else "interrupted"
        if not self._total:
            return word
        done, total = self._before + self._done, self._before + self._total
        if self._out is not None:
            # It may have come between a record and its count.
            with suppress(OSError), ScanOutput(self._out).journal.open("rb") as file:
                done = sum(1 for _ in file)
        return f"{word}: {done:,} of {videos(total)} {'is' if total == 1 else 'are'} done"

    def _about_models(self) -> list[str]:
        """Return what decides the verdicts of each model, and how often they were wrong; nothing of none."""
        if not sum(self._outcomes[verdict] for verdict in get_args(Verdict)) and not any(
            row.verdict for row in self._rows
        ):
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
    """Return the thresholds of a model and its error rates, as the run's record has them, in a line."""
    fitted = model["calibration"]
    if fitted is None:
        said = "without a calibration every verdict is inconclusive, and scores are no probabilities"
    else:
        said = (
            f"fake from {fitted['fake']:.2f}, no evidence below {fitted['no_evidence']:.2f}, "
            "inconclusive in between"
        )
    # That like a scan stands first.
    rates = next(map(ErrorRates.from_json, model.get("error_rates", ())), None)
    wrong = f"On {rates.data}, {rates.in_words}" if rates else "Its card does not say how often it is wrong"
    return f"{name}: {said}. {wrong}."


def _left_out(inputs: ScanPaths) -> str:
    kinds = [f"{count:,} {suffix}" for suffix, count in inputs.skipped.most_common(MOST_SUFFIXES)]
    others = len(inputs.skipped) - len(kinds)
    return ", ".join([*kinds, *([f"and {counted(others, 'other kind')}"] if others else [])])
