"""Define what passes between the parent and a decoding process: messages, and frames in shared memory."""

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
#: Frames that wait in slots at most. The socket holds about 270 messages: with a parent that does something
#: else for minutes, the process must run out of slots, which stops its clock, before it waits for the socket.
MOST_SLOTS = 128


class Channel:
    """One end of a socket pair that carries JSON, because parsing JSON cannot run code.

    Args:
        connection: The socket. It is closed with the channel.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._rest = b""

    def fileno(self) -> int:
        """Return the file descriptor, for selectors."""
        return self._socket.fileno()

    def send(self, message: Message) -> bool:
        """Send a message; return False if the other end is gone."""
        try:
            self._socket.sendall(json.dumps(message).encode("ascii") + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Wait for data and return the messages completed by it, or None if the other end is gone."""
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
    """Slots of equal size in an anonymous file, mapped by a process that holds its descriptor.

    Args:
        fd: Descriptor of the file.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._slot_bytes = 0
        self._map: mmap.mmap | None = None

    def attach(self, slots: int, slot_bytes: int) -> None:
        """Map the slots as the owner of the memory has laid them out."""
        size = slots * slot_bytes
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self.fd, size)
        self._slot_bytes = slot_bytes

    def view(self, slot: int, shape: tuple[int, int, int]) -> Image:
        """Return the picture in a slot, shape (height, width, 3), uint8, without copying it.

        Raises:
            ValueError: The picture is larger than a slot, or no slots are mapped.
        """
        count = shape[0] * shape[1] * shape[2]
        if self._map is None or count > self._slot_bytes:
            raise ValueError(f"a picture of {count} bytes does not fit into a slot of {self._slot_bytes}")
        flat = np.frombuffer(self._map, dtype=np.uint8, count=count, offset=slot * self._slot_bytes)
        return flat.reshape(shape)

    def close(self) -> None:
        """Release the memory. It lives on while views of it exist."""
        self._map = None
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


class FrameBuffer(SharedSlots):
    """Owner's side of the memory that frames are passed in.

    The file has no name in any file system, so nothing is left behind if a process is killed. It is not in
    /dev/shm, which containers may limit to 64 MB and where touching a page beyond the limit raises SIGBUS.

    Args:
        kind: `memory`, or `file` for an unlinked temporary file, which is also the fallback on other systems.
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
        """Divide the memory into slots, growing it if needed. Views stay valid, but their content may change.

        Args:
            slots: Number of slots, at least 1.
            slot_bytes: Size of each, at least 1.

        Raises:
            OSError: There is not enough room.
        """
        size = slots * slot_bytes
        if size > self._size:
            os.ftruncate(self.fd, size)
            # Allocate now: touching a page later that cannot be allocated kills the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.fd, 0, size)
            self._size = size
        self.attach(slots, slot_bytes)


def slot_count(frame_bytes: int, frames: int, budget: int) -> int:
    """Return how many slots to lay out: as the budget allows, at least 2, at most `MOST_SLOTS`.

    Args:
        frame_bytes: Size of one frame, at least 1.
        frames: Number of frames to come, at least 1.
        budget: Memory in bytes.
    """
    return max(2, min(budget // frame_bytes, frames, MOST_SLOTS))
