"""What crosses between the parent and a decoding process: messages, and frames in shared memory."""

import json
import mmap
import os
import socket
import tempfile
from typing import Any, Literal

import numpy as np

from deepscan.media.frames import Image

Message = dict[str, Any]
MemoryKind = Literal["memory", "file"]


class Channel:
    """One end of a socket pair; JSON, because reading it cannot run code.

    Args:
        connection: The socket; it is closed with the channel.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._rest = b""

    def fileno(self) -> int:
        """Return the descriptor, for selectors."""
        return self._socket.fileno()

    def send(self, message: Message) -> bool:
        """Send a message; return False if nobody is there to take it."""
        try:
            self._socket.sendall(json.dumps(message).encode("ascii") + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Wait for data and return the messages that are complete with it, or None at the end."""
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


class SharedSlots:
    """Equal slots in an anonymous file, mapped by a process that has its descriptor.

    Args:
        fd: Descriptor of the file, as long as the process that lays it out makes it.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._slot_bytes = 0
        self._map: mmap.mmap | None = None

    def attach(self, slots: int, slot_bytes: int) -> None:
        """Map the slots that the owner of the memory has laid out."""
        size = slots * slot_bytes
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self.fd, size)
        self._slot_bytes = slot_bytes

    def view(self, slot: int, shape: tuple[int, int, int]) -> Image:
        """Return the picture in a slot, shape (height, width, 3), without copying it.

        Raises:
            ValueError: The picture is larger than the slot, or the slot is not there.
        """
        count = shape[0] * shape[1] * shape[2]
        if self._map is None or count > self._slot_bytes:
            raise ValueError(f"a picture of {count} bytes does not fit into a slot of {self._slot_bytes}")
        flat = np.frombuffer(self._map, dtype=np.uint8, count=count, offset=slot * self._slot_bytes)
        return flat.reshape(shape)

    def close(self) -> None:
        """Let go of the memory; it lives on as long as a view of it does."""
        self._map = None
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class FrameBuffer(SharedSlots):
    """The memory of frames, as the process that makes it has it.

    It has no name, neither in /dev/shm (which a container may hold down to 64 MB, and where touching a page
    too many is a SIGBUS) nor elsewhere, so that nothing is left behind whoever is killed.

    Args:
        kind: `memory`, or `file` for an unlinked temporary file. Without anonymous memory it is a file.
    """

    def __init__(self, kind: MemoryKind = "memory") -> None:
        if kind == "memory" and hasattr(os, "memfd_create"):
            self.kind: MemoryKind = "memory"
            super().__init__(os.memfd_create("deepscan-frames", os.MFD_CLOEXEC))
        else:
            self.kind = "file"
            with tempfile.TemporaryFile(prefix="deepscan-frames-") as file:
                super().__init__(os.dup(file.fileno()))
        self._size = 0

    def lay_out(self, slots: int, slot_bytes: int) -> None:
        """Divide the memory into slots, growing it if need be. Views stay valid, what they show may change.

        Args:
            slots: Number of slots, at least 1.
            slot_bytes: Size of each, at least 1.

        Raises:
            OSError: There is no room for it.
        """
        size = slots * slot_bytes
        if size > self._size:
            os.ftruncate(self.fd, size)
            # Demanded now, for a page that cannot be had later kills whoever touches it.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.fd, 0, size)
            self._size = size
        self.attach(slots, slot_bytes)


def slot_count(frame_bytes: int, frames: int, budget: int) -> int:
    """Return how many slots to lay out: as the budget allows, at least 2, not many more than frames.

    Args:
        frame_bytes: Size of one frame, at least 1.
        frames: Number of frames that will come, at least 1.
        budget: Bytes to spend.
    """
    return max(2, min(budget // frame_bytes, frames))
