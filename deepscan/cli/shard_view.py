"""What `scan` shows of a shard of a run folder: progress and a summary, all on stderr."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from deepscan.cli.progress import videos
from deepscan.cli.scan_view import ScanView, about_model
from deepscan.errors import Terminated
from deepscan.scanning.chunks import Shard
from deepscan.scanning.run import RunSummary
from deepscan.scanning.shard_job import ShardListener, ShardShare, ShardSummary
from deepscan.scanning.summary import counted, describe_outcomes


class ShardView(ScanView, ShardListener):
    """Shows a shard to a person or a log; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        location: The run folder.
        shard: The shard.
        console: Where to show it; None for stderr.
    """

    def __init__(self, style: str, location: str, shard: Shard, *, console: Console | None = None) -> None:
        super().__init__(style, Path(location), console=console)
        self._location = location
        self._name = "" if shard.count == 1 else f"shard {shard}"
        #: Number of its videos whose records are in the run folder.
        self._written = 0
        self._share: ShardShare | None = None
        self._concluded = False

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Keep what the summary says about the models, and the folder that is left out of names."""
        super().loaded(run)
        named = (run.get("inputs") or {}).get("named", ())
        if len(named) == 1 and not self._folder:
            self._folder = f"{named[0].rstrip('/')}/"

    def listed(self, count: int) -> None:
        """Show that the inputs are being listed."""
        self.count(f"listing, {videos(count)} so far", 0, None)

    def shared(self, share: ShardShare) -> None:
        """Start to count the videos of the shard."""
        self._share, self._written = share, share.rows - share.todo_rows
        if self._name:
            self.note(
                f"{self._name}: {videos(share.rows)} in {counted(share.chunks, 'chunk')}, "
                f"of {share.run_rows:,} in the run"
            )
        if self._written:
            self.note(f"{videos(self._written)} already scanned, {share.todo_rows:,} to scan")
        if share.todo_rows:
            self._begin_videos("scanning", share.todo_rows)

    def ended(self, record: Mapping[str, Any]) -> None:
        """Count a video. Its record is not kept: a shard may have millions."""
        name = self._called(record["path"])
        self._count_video(name, record["status"], record["detail"], record["verdict"])

    def written(self, count: int) -> None:
        """Count the videos of a chunk."""
        self._written += count

    def alone(self, count: int) -> None:
        """Say why the scan is slow."""
        self.note(
            f"warning: earlier workers died while they scanned these {videos(count)}: "
            "scanning them one at a time"
        )

    def auditing(self, done: int, total: int) -> None:
        """Show that the run is being checked."""
        self._conclude_videos()
        self.count("checking all parts", done, total, milestone=False)

    def show_summary(self, summary: RunSummary) -> None:
        """Show how many videos had each outcome, and what is left to do in the run."""
        assert isinstance(summary, ShardSummary) and self._share is not None
        share = self._share
        self._conclude_videos()
        if share.kept:
            outcomes = describe_outcomes(summary.outcomes)
            self.note(f"in total: {videos(share.rows)}: {outcomes}")
        if any(summary.verdicts.values()):
            for name, model in self._models.items():
                self.note(about_model(name, model))
        for line in self._cautions:
            self.note(line)
        if self._name:
            self.note(f"{self._name} is complete")
        place = shlex.quote(self._location)
        if not summary.sealed:
            self.note(f"other shards still have {counted(summary.owed, 'chunk')} of the run to scan")
            self.note(f"records so far: {self._location}")
            return
        self.note(f"the run is complete and checked: {videos(share.run_rows)}, one record each")
        self.note(f"records: {self._location}")
        self.note(f"to make a page of them: deepscan report {place}", command=True)

    def _conclude_videos(self) -> None:
        if self._share is not None and not self._concluded:
            self._concluded = True
            self._close()
            self._conclude("this session: " if self._share.kept else "")

    def interrupted(self, error: BaseException) -> str:
        """Return the message for a shard that was interrupted."""
        word = "terminated" if isinstance(error, Terminated) else "interrupted"
        if self._share is None:
            return word
        rows = self._share.rows
        verb = "is" if rows == 1 else "are"
        of = f" of {self._name}" if self._name else ""
        return f"{word}: {self._written:,} of {videos(rows)}{of} {verb} done"
