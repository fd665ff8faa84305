"""Read all packets of a file without decoding them, to see what it really contains."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from deepscan.media.container import packets_of, video_streams
from deepscan.media.decoders import reason
from deepscan.media.timeline import PacketTimes

#: How many bytes of a packet are kept.
HEAD = 4096


@dataclass(frozen=True, slots=True)
class Walk:
    """What the packets of a file show.

    Attributes:
        format: The container's format, in libav's terms.
        packets: Video stream index -> its packets, in file order.
        last_duration: Stream index -> the last duration that a packet of it declares, in ticks.
        start: Time in seconds at which the first packet of any stream begins.
        declared: Length in seconds according to the header, 0 if it gives none.
        end: Time in seconds at which the last packet of any stream ends.
        reached: Offset in bytes at which the last packet ends, 0 if unknown.
        error: Why reading failed, None if it did not.
        heads: Video stream index -> the first bytes of its first packet.
    """

    format: str
    packets: dict[int, list[PacketTimes]]
    last_duration: dict[int, int]
    start: float
    declared: float
    end: float
    reached: int
    error: str | None
    heads: dict[int, bytes]

    def moving(self, container: InputContainer) -> list[VideoStream]:
        """Return the video streams, best first; single pictures such as covers come last.

        Raises:
            MediaError: `unsupported`: the file has none.
        """
        return sorted(video_streams(container), key=lambda each: len(self.packets[each.index]) < 2)

    def others(self, container: InputContainer, chosen: VideoStream) -> list[VideoStream]:
        """Return the other video streams that have more than one picture."""
        streams = self.moving(container)
        return [stream for stream in streams if stream is not chosen and len(self.packets[stream.index]) > 1]


def walk(container: InputContainer) -> Walk:
    """Read the packets of all streams: only all of them show whether the file is complete.

    Args:
        container: The file, just opened.

    Raises:
        MediaError: `error`: this process is out of memory.
    """
    found: dict[int, list[PacketTimes]] = defaultdict(list)
    last_duration: dict[int, int] = defaultdict(int)
    # Matroska stores no decoding timestamps, and those that libav guesses go wrong where pieces are joined.
    guessed = "matroska" in container.format.name
    before: dict[int, int] = {}
    end, reached, error = 0.0, 0, None
    heads: dict[int, bytes] = {}
    packets = packets_of(container)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as failure:
            error = reason(failure)
            break
        if not packet.size:
            continue
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None and packet.time_base:
            # If a packet declares no duration, the frame is shown for as long as the one before it.
            length = packet.duration or max(0, time - before.get(packet.stream_index, time))
            before[packet.stream_index] = time
            end = max(end, float((time + length) * packet.time_base))
        if packet.pos is not None:
            reached = max(reached, packet.pos + packet.size)
        # Hours of audio have millions of packets.
        if packet.stream.type != "video":
            continue
        if packet.stream_index not in heads:
            heads[packet.stream_index] = bytes(memoryview(packet)[:HEAD])
        decoding = None if guessed else packet.dts
        hidden = packet.is_discard or _is_header(packet)
        times = PacketTimes(decoding, packet.pts, packet.is_keyframe, packet.is_corrupt, hidden)
        found[packet.stream_index].append(times)
        if packet.duration and not (times.corrupt or times.discarded):
            last_duration[packet.stream_index] = packet.duration
    start, declared = ((value or 0) / av.time_base for value in (container.start_time, container.duration))
    return Walk(container.format.name, found, last_duration, start, declared, end, reached, error, heads)


def _is_header(packet: Any) -> bool:
    # Theora I, section 6.1: where streams are chained, the next one's headers arrive as packets.
    context = getattr(packet.stream, "codec_context", None)
    return context is not None and context.name == "theora" and bool(bytes(packet)[0] & 0x80)
