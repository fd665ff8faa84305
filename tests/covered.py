"""Lets decoding processes save their coverage data while `make coverage` measures it."""

import os
import socket

from deepscan.media.pool import DecodePool


def let_decoders_end() -> None:
    """Make a pool that closes ask its processes to end before it kills them."""
    if "COVERAGE_PROCESS_CONFIG" not in os.environ:
        return
    close = DecodePool.close

    def end_and_close(pool: DecodePool) -> None:
        for process in pool._tasks:
            process.channel._socket.shutdown(socket.SHUT_WR)
            process.gone(2.0)
        close(pool)

    DecodePool.close = end_and_close
