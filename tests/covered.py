"""Lets decoding processes write what they have run, where `make coverage` measures it."""

import os

from deepscan.media.worker_process import WorkerProcess


def let_decoders_end() -> None:
    """Have a pool close the channel of a process, which ends it, before it kills it."""
    if "COVERAGE_PROCESS_CONFIG" not in os.environ:
        return
    kill = WorkerProcess.kill

    def end_or_kill(process: WorkerProcess) -> None:
        process.channel.close()
        process.gone(2.0)
        kill(process)

    WorkerProcess.kill = end_or_kill
