"""What `prepare` shows on stderr: progress, and a summary at the end."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from deepscan.cli.progress import VideoProgress, videos
from deepscan.data.crops.prepare import PrepareListener
from deepscan.outcomes import STATUSES

if TYPE_CHECKING:
    from deepscan.data.crops.prepare import Prepared

#: Most reasons for dropped videos that are shown, the most frequent first.
MOST_REASONS = 8


class PrepareView(VideoProgress, PrepareListener):
    """Shows the progress of preparing one data set; a context manager.

    Args:
        style: `auto`, `plain` or `none`.
        name: Name of the data set.
        root: Folder of its videos.
    """

    def __init__(self, style: str, name: str, root: Path) -> None:
        super().__init__(style)
        self._name, self._root = name, root

    def planned(self, todo: int, done: int) -> None:
        """Start to count."""
        self._begin_videos(self._name, todo)
        before = f", {done} already done" if done else ""
        self.note(f"{self._name}: {todo} of {videos(todo + done)} to cut{before}")

    def ended(self, line: Mapping[str, Any]) -> None:
        """Count a video, and show why it failed if it did."""
        self._count_video(_name_of(line), line["status"], line["detail"])

    def show_summary(self, prepared: "Prepared") -> None:
        """Show how many videos each label, split and status has, and why some were dropped."""
        self._conclude()
        for row in _table(prepared.lines):
            self.note(row)
        reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
        for line in prepared.lines:
            if line["status"] != "ok":
                reasons[line["status"], line["detail"]].append(_name_of(line))
        frequent = sorted(reasons.items(), key=lambda reason: -len(reason[1]))
        for (status, detail), called in frequent[:MOST_REASONS]:
            others = ", ..." if len(called) > 1 else ""
            self.note(f"dropped: {len(called)} {status}: {detail} ({called[0]}{others})")
        if len(frequent) > MOST_REASONS:
            self.note(
                f"dropped for other reasons: {sum(len(called) for _, called in frequent[MOST_REASONS:])}"
            )
        warned = sum(bool(line["warnings"]) for line in prepared.lines)
        if warned:
            self.note(f"used with a warning: {warned}")
        if prepared.repeated:
            self.note(f"listed more than once, used once: {prepared.repeated}")
        if prepared.same:
            alike = " = ".join(map(_name_of, prepared.same[0][:2]))
            others = ", ..." if sum(map(len, prepared.same)) > 2 else ""
            self.note(f"used, but identical to another: {sum(map(len, prepared.same))} ({alike}{others})")
        self.note(f"{prepared.json.name}: {videos(prepared.videos)}; outcome of each: {prepared.journal}")

    def __enter__(self) -> Self:
        if self._style == "bar":
            self.count(f"{self._name}: listing", 0, None)
        else:
            self.note(f"{self._name}: listing the videos in {self._root}")
        return super().__enter__()


def _name_of(line: Mapping[str, Any]) -> str:
    return "/".join(line[part] for part in ("compression", "kind", "split", "name") if line[part])


def _table(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for line in lines:
        counts[line["kind"], line["split"]].update({line["status"]: 1, "crops": line["faces"]})
    there = [status for status in STATUSES if any(count[status] for count in counts.values())]
    rows = [["label", "split", *there, "crops"]]
    rows += [[*key, *(str(count[name]) for name in (*there, "crops"))] for key, count in counts.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
