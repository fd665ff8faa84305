"""Reads all packets of a file without decoding them: what is there, whatever the header says."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from deepscan.media.container import packets_of, video_streams
from deepscan.media.decoders import reason
from deepscan.media.timeline import PacketTimes

#: Bytes of a packet that are kept.
HEAD = 4096


@dataclass(frozen=True, slots=True)
class Walk:
    """What walking all packets of a file found.

    Attributes:
        format: The container's format, as libav names it.
        packets: Those of each video stream by its index, in the order of the file.
        last_duration: The last stated duration of a packet of each stream, in ticks.
        start: When the first packet of any stream begins, in seconds.
        stated: How long the header says the file is, in seconds, 0 where it does not.
        end: When the last packet of any stream ends, in seconds.
        reached: How far into the file packets lie, in bytes, 0 where that is not known.
        error: Why reading broke off, None where it did not.
        heads: The first bytes of the first packet of each video stream by its index.
    """

    format: str
    packets: dict[int, list[PacketTimes]]
    last_duration: dict[int, int]
    start: float
    stated: float
    end: float
    reached: int
    error: str | None
    heads: dict[int, bytes]

    def moving(self, container: InputContainer) -> list[VideoStream]:
        """Return the video streams, best first; those of one picture, such as covers, come last.

        Raises:
            MediaError: `unsupported`: the file has none.
        """
        return sorted(video_streams(container), key=lambda each: len(self.packets[each.index]) < 2)

    def others(self, container: InputContainer, chosen: VideoStream) -> list[VideoStream]:
        """Return the further video streams of more than one picture."""
        streams = self.moving(container)
        return [each for each in streams if each is not chosen and len(self.packets[each.index]) > 1]


def walk(container: InputContainer) -> Walk:
    """Read the packets of all streams, for only together do they tell whether the file is whole.

    Args:
        container: The file, just opened.

    Raises:
        MediaError: `error`: this process lacks memory.
    """
    found: dict[int, list[PacketTimes]] = defaultdict(list)
    last_duration: dict[int, int] = defaultdict(int)
    # Matroska stores no decoding stamps, and what libav guesses in their place goes astray at a joint.
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
            # Where no length is stated, a picture stays for as long as the one before it did.
            length = packet.duration or max(0, time - before.get(packet.stream_index, time))
            before[packet.stream_index] = time
            end = max(end, float((time + length) * packet.time_base))
        if packet.pos is not None:
            reached = max(reached, packet.pos + packet.size)
        # Hours of sound have millions of packets.
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
    start, stated = ((value or 0) / av.time_base for value in (container.start_time, container.duration))
    return Walk(container.format.name, found, last_duration, start, stated, end, reached, error, heads)


def _is_header(packet: Any) -> bool:
    # Theora I, section 6.1: where streams are chained, the headers of the next one come as packets.
    context = getattr(packet.stream, "codec_context", None)
    return context is not None and context.name == "theora" and bool(bytes(packet)[0] & 0x80)
