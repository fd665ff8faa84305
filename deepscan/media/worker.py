"""Isolated process that hashes, probes and decodes one file after another, and may be killed at any time."""

import contextlib
import ctypes
import os
import queue
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepscan.media.container import raise_if_out_of_resources
from deepscan.media.credentials import read_credentials
from deepscan.media.decoders import (
    AUTO,
    DECODERS,
    Decoder,
    DecoderError,
    FrameError,
    Probe,
    installed,
    reason,
)
from deepscan.media.frames import CPU_SUFFIX, MediaError, MediaInfo
from deepscan.media.ipc import Channel, Message, SharedSlots
from deepscan.media.probe import FEWEST_OF_DAMAGED, probe
from deepscan.media.sampling import sample_indices
from deepscan.media.source import SourceFile
from deepscan.outcomes import Status

#: How many earlier frames to try in place of one that cannot be decoded.
_STEPS_BACK = 8
_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> None:
    """Serve jobs until the parent exits.

    Args:
        arguments: Descriptors of the channel's socket and of the buffer's memory.
    """
    _confine()
    channel = Channel(socket.socket(fileno=int(arguments[0])))
    slots = SharedSlots(int(arguments[1]))
    inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(channel, inbox), daemon=True).start()
    channel.send({"kind": "ready"})
    while True:
        message = inbox.get()
        # Ignore slots that are freed after the last report.
        if "path" in message:
            DecodeSession(message, channel, inbox, slots).run()


def _confine() -> None:
    # The parent handles Ctrl-C: it decides what happens to a job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A decoder crash is an expected outcome and must not leave core files behind.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # A decoder can hang while holding the GIL, and would then never notice that the channel has ended.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # When memory runs out, the kernel should kill a worker, which can be replaced, not the parent.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")


def _listen(channel: Channel, inbox: "queue.SimpleQueue[Message]") -> None:
    while (messages := channel.receive()) is not None:
        for message in messages:
            inbox.put(message)
    os._exit(0)


@dataclass
class _Tally:
    """Counts of sampled frames by outcome."""

    asked: int = 0
    replaced: int = 0
    lost: int = 0


class DecodeSession:
    """Work on one file, from its first byte to the report.

    Args:
        job: The parent's message: path, options, and what an earlier attempt completed.
        channel: Where to send answers.
        inbox: Where the parent's messages about slots arrive.
        slots: Where to write frames.
    """

    def __init__(
        self, job: Message, channel: Channel, inbox: "queue.SimpleQueue[Message]", slots: SharedSlots
    ) -> None:
        self._job = job
        self._channel = channel
        self._inbox = inbox
        self._slots = slots
        self._free: list[int] = []
        self._done: set[int] = set(job["done"])
        self._warnings: list[str] = list(job["warnings"])
        self._seconds: dict[str, float] = {}
        self._tally = _Tally()
        self._wanted: list[int] = []
        self._decoder: Decoder | None = None
        self._doubtful: set[int] = set()
        self._decoder_name = ""
        self._decoder_used: str | None = job["decoder_used"]

    def run(self) -> None:
        """Do the work and send the report, whatever happens."""
        self._send("begin")
        status: Status = "ok"
        detail = ""
        try:
            with SourceFile(os.fsencode(self._job["path"])) as source:
                digest = self._hash(source)
                if self._job["ask"] and not self._approved():
                    return
                try:
                    self._open_and_decode(source)
                except MediaError as error:
                    status, detail = error.status, error.detail
                finally:
                    self._close_decoder()
                # Even a failure may be due to a change of the file.
                with self._timed("hash"):
                    change = source.change(digest, rehash=self._job["sha256"] is None)
                if change:
                    status, detail = "changed", change
        except MediaError as error:
            status, detail = error.status, error.detail
        except Exception as error:
            status, detail = "error", f"internal error in the decoding process: {error!r:.200}"
        self._send(
            "ended",
            status=status,
            detail=detail,
            warnings=[*self._warnings, *self._final_warnings()],
            decoder=self._decoder_used,
            asked=self._tally.asked,
            decoded=len(self._done),
            seconds=self._seconds,
        )

    def _hash(self, source: SourceFile) -> str:
        """Return the SHA-256 of the file and send it, with what else is known before the file is opened."""
        with self._timed("hash"):
            digest: str = self._job["sha256"] or source.digest()
        self._send("hashed", sha256=digest, size=source.size, mtime_ns=source.mtime_ns, seconds=self._seconds)
        return digest

    def _approved(self) -> bool:
        """Wait for the parent's answer; return whether to decode the file.

        If the parent ends instead of answering, `_listen` ends this process.
        """
        while "approved" not in (reply := self._inbox.get()):
            continue
        return bool(reply["approved"])

    def _open_and_decode(self, source: SourceFile) -> None:
        with self._timed("probe"):
            found = probe(source, self._job["max_pixels"])
        info = replace(found.info, credentials=read_credentials(source))
        self._send("opened", info=info.to_json())
        self._warnings += (line for line in found.warnings if line not in self._warnings)
        if found.count < self._job["min_frames"]:
            raise MediaError(
                "too_short", f"{found.count} decodable frames, fewer than {self._job['min_frames']}"
            )
        chosen = self._job["indices"] or sample_indices(found.count, self._job["frames"])
        wanted = [index for index in chosen if index < found.count]
        self._wanted, self._tally.asked = wanted, len(wanted)
        name = self._choose_decoder(found)
        self._request_slots(found.info, len(wanted))
        with self._timed("decode"):
            self._open(name, source, found)
            for index in wanted:
                # An earlier attempt may have delivered it, or an earlier frame in its place.
                if index not in self._done and index > max(self._done, default=-1):
                    self._deliver(found, index)
        enough = min(FEWEST_OF_DAMAGED, len(wanted))
        if len(self._done) < (enough if self._tally.lost or found.damaged else 1):
            raise MediaError(
                "decode_error", f"only {len(self._done)} of {len(wanted)} sampled frames can be decoded"
            )

    def _choose_decoder(self, found: Probe) -> str:
        """Return the name of the requested decoder, or of the first that suits the file."""
        if self._job["decoder"] != AUTO:
            return str(self._job["decoder"])
        for name in DECODERS.names:
            kind = DECODERS.get(name)
            if kind.automatic and installed(kind) and kind.unfit(found) is None:
                return name
        raise MediaError("decode_error", "no decoder can read this file")

    def _request_slots(self, info: MediaInfo, frames: int) -> None:
        self._send("need", bytes=info.width * info.height * 3, frames=frames)
        while "slots" not in (reply := self._inbox.get()):
            continue
        self._slots.attach(reply["slots"], reply["bytes"])
        self._free = list(range(reply["slots"]))

    def _open(self, name: str, source: SourceFile, found: Probe) -> None:
        try:
            self._decoder = DECODERS.get(name)(source.url(), found)
            self._decoder.expect(self._wanted)
        except DecoderError as error:
            raise MediaError("decode_error", f"{name} cannot decode it: {reason(error)}") from None
        self._decoder_name = name

    def _deliver(self, found: Probe, index: int) -> None:
        """Deliver a sampled frame or, if it cannot be decoded, the last decodable one before it."""
        slot = self._free_slot()
        before: int | None = index
        for _ in range(_STEPS_BACK):
            if before is None or before <= max(self._done, default=-1):
                break
            try:
                self._decode_into(slot, before, found)
            except FrameError as error:
                before = error.before if error.before is not None else before - 1
            else:
                self._tally.replaced += before != index
                return
        self._free.append(slot)
        self._tally.lost += 1

    def _decode_into(self, slot: int, index: int, found: Probe) -> None:
        assert self._decoder is not None
        try:
            image = self._decoder.read(index)
        except (FrameError, MediaError):
            raise
        except Exception as error:
            raise_if_out_of_resources(error)
            raise FrameError(reason(error)) from None
        np.copyto(self._slots.view(slot, (found.info.height, found.info.width, 3)), image)
        self._done.add(index)
        self._decoder_used = self._decoder_name
        self._send(
            "frame", slot=slot, index=index, pts=float(found.seconds[index]), decoder=self._decoder_name
        )

    def _free_slot(self) -> int:
        started = time.monotonic()
        while not self._free or not self._inbox.empty():
            self._free.append(self._inbox.get()["free"])
        # This runs within the time counted as decoding, but waiting is not decoding.
        self._count("wait", waited := time.monotonic() - started)
        self._count("decode", -waited)
        return self._free.pop(0)

    def _close_decoder(self) -> None:
        if self._decoder is not None:
            self._doubtful |= self._decoder.doubtful
            self._decoder.close()
            self._decoder = None

    def _final_warnings(self) -> Iterator[str]:
        tally = self._tally
        if tally.replaced or tally.lost:
            yield (
                f"sampled frames that cannot be decoded: {tally.replaced + tally.lost} of {tally.asked}, "
                f"{tally.replaced} of them replaced by the last decodable frame before them"
            )
        if self._doubtful:
            yield f"frames that depend on damaged data: {len(self._doubtful)} of {len(self._done)}"

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        # One process works on one file at a time, so all its CPU time is this stage's.
        start, cpu = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self._count(stage, time.monotonic() - start)
            self._count(stage + CPU_SUFFIX, time.process_time() - cpu)

    def _count(self, stage: str, seconds: float) -> None:
        self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds

    def _send(self, kind: str, **content: Any) -> None:
        self._channel.send({"kind": kind, "at": time.monotonic(), **content})


if __name__ == "__main__":
    main(sys.argv[-2:])
