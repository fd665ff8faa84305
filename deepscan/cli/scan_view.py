"""What `scan` shows: its progress on stderr, its records or their table on stdout."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from deepscan.cli.progress import VideoProgress, videos
from deepscan.cli.scan_table import scan_table, shown_path
from deepscan.cli.streams import hand_on, is_terminal, stdout_console
from deepscan.scanning.paths import ScanPaths
from deepscan.scanning.records import dump_line
from deepscan.scanning.run import RunSummary, ScanListener
from deepscan.scanning.summary import VideoSummary, summarise_record

#: Rows of the table when all records are in a file anyway.
MOST_ROWS = 50


class ScanView(VideoProgress, ScanListener):
    """Tells a person, or a pipe, how a scan goes; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        out: The file that the records go to, None for none: then stdout gets them, as a table at a terminal
            and as JSON lines elsewhere.
    """

    def __init__(self, style: str, out: Path | None) -> None:
        super().__init__(style)
        self._out = out
        at_terminal = is_terminal(sys.stdout)
        self._stdout = stdout_console()
        self._lines = out is None and not at_terminal
        self._rows: list[VideoSummary] = []
        self._cautions: list[str] = []

    def __enter__(self) -> Self:
        self.count("loading", 0, None)
        return super().__enter__()

    def show_inputs(self, inputs: ScanPaths) -> None:
        """Say what was left out of what the command line means."""
        if inputs.skipped:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in inputs.skipped.most_common(5))
            self.note(f"left out of folders: {kinds}{', ...' if len(inputs.skipped) > 5 else ''}")
        if inputs.repeated:
            self.note(f"named more than once, scanned once: {inputs.repeated}")
        if not inputs.paths:
            self.note("there is no video to scan")

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Say which model runs on what."""
        if run["model"] is None:
            self.note("no model: faces are recorded without a score")
            return
        models: Mapping[str, Any] = run.get("models") or {run["model"]["name"]: run["model"]}
        if choice := run.get("choice"):
            self.note(f"chosen: {choice['model']}, {choice['reason']}")
        for name, model in models.items():
            engine = run["engines"][name] if "engines" in run else run["engine"]
            self.note(
                f"model {name} ({model['method']}), "
                f"{engine['name']} engine, {engine['device']}, {engine['precision']}"
            )
            if engine["chosen"] and engine["precision"] != "fp32":
                self.note(f"{engine['precision']}, which auto takes: {engine['chosen']}")
            if engine["details"]["note"]:
                self.note(f"note: {engine['details']['note']}")
            self._cautions += (f"model {name}: {line}" for line in model.get("cautions", ()))
        if len(models) > 1:
            self.note(f"together: {run['model']['rule']}")
        if not run["parameters"]["explain"]:
            return
        for name in (name for name, model in models.items() if not model["evidence"]):
            self.note(f"warning: model {name} gives scores alone: --explain adds nothing")
        if self._out is None and not self._lines and any(model["evidence"] for model in models.values()):
            self.note("warning: explanations are in the records, not in this table: name a file with --out")

    def checking(self, recorded: int) -> None:
        """Say that files are being read again."""
        self.count(f"checking {videos(recorded)}", 0, None)

    def planned(self, todo: int, kept: Iterator[Mapping[str, Any]]) -> None:
        """Begin to count."""
        self._rows += [summarise_record(record) for record in kept]
        self._begin_videos("scanning", todo)
        if self._rows:
            self.note(f"{videos(len(self._rows))} done before, {todo} to scan")

    def warned(self, line: str) -> None:
        """Say what is not as it should be."""
        self.note(f"warning: {line}")

    def ended(self, record: Mapping[str, Any]) -> None:
        """Count a video, and hand its record on where stdout takes them as they come."""
        if self._lines:
            hand_on(dump_line(record) + "\n", self._out)
        else:
            self._rows.append(summarise_record(record))
        self._count_video(shown_path(record["path"]), record["status"], record["detail"])

    def show_table(self) -> None:
        """Print the table of what has been scanned, where stdout has not got it line by line."""
        if not self._lines and self._rows:
            most = None if self._out is None else MOST_ROWS
            with self._stdout.capture() as capture:
                self._stdout.print(scan_table(self._rows, most, self._out))
            hand_on(capture.get(), self._out)

    def show_summary(self, summary: RunSummary) -> None:
        """Say how many there were of each outcome, and where the records are."""
        counts = {**summary.verdicts, **{k: v for k, v in summary.statuses.items() if k != "ok"}}
        told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        self._conclude()
        if told:
            self.note(told)
        for line in self._cautions:
            self.note(line)
        votes = [row.agreement for row in self._rows if row.agreement]
        if votes:
            same = sum(said == voting for said, voting in votes)
            self.note(f"the models agree on {same} of {videos(len(votes))}")
        if self._out:
            self.note(f"records: {self._out}")
            self.note(f"a page of them: deepscan report {shlex.quote(str(self._out.with_suffix('.jsonl')))}")
