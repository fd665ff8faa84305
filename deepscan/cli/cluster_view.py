"""What `scan --cluster` shows: how far the run is, without a line for each video."""

from collections import Counter

from deepscan.cli.progress import videos
from deepscan.cli.shard_view import ShardView
from deepscan.cluster.driver import ClusterListener
from deepscan.cluster.ledger import LedgerState
from deepscan.scanning.summary import counted


class ClusterView(ShardView, ClusterListener):
    """Shows a scan on a cluster to a person or a log; a context manager."""

    def progressed(self, state: LedgerState, workers: int) -> None:
        """Show how many videos have a record, and their outcomes."""
        before = self._done
        # Less is done when a worker has died; the bar does not go back.
        self._done = max(before, min(state.ended, self._total))
        self._outcomes = Counter()
        for (status, verdict), count in state.outcomes.items():
            self._outcomes[verdict or status] += count
        finished = sum(state.outcomes.values())
        self.written(finished - self._finished)
        self._finished = finished
        self._at_work = [counted(workers, "worker")]
        if self._done != before:
            self._count_videos()
        else:
            self._tick()

    def alone(self, count: int) -> None:
        """Say why some videos are slow."""
        self.note(f"warning: workers died with {videos(count)}, which are scanned one at a time")

    #: Number of videos in chunks that are finished.
    _finished = 0
