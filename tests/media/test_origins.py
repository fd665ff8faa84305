"""Test what a file says about its origin, and that wrong or hostile entries do no further harm."""

import struct
from dataclasses import replace

import av
import numpy as np
import pytest

from deepscan.media.frames import MediaInfo
from deepscan.media.origins import LONGEST, MOST_EDITS, edit_list, keyframe_gaps
from deepscan.media.source import SourceFile
from tests import awkward
from tests.media.conftest import look


def remuxed(path, out, **tags):
    """Copy a video, change its metadata, and return the copy."""
    with av.open(str(path)) as source, av.open(str(out), "w") as made:
        made.metadata.update(tags)
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    return out


def edits(path, content=None, place=0):
    if content is not None:
        path.write_bytes(content)
    with SourceFile(bytes(path)) as source:
        return edit_list(source, "mov,mp4,m4a,3gp,3g2,mj2", place)


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def track(*entries, handler=b"vide", wide=0):
    """Return the boxes of a track with an edit list of the given entries, at 1000 ticks per second."""
    form = ">QqI" if wide else ">IiI"
    table = struct.pack(">B3xI", wide, len(entries)) + b"".join(
        struct.pack(form, *entry) for entry in entries
    )
    media = box(
        b"mdia", box(b"mdhd", struct.pack(">4x8xI8x", 1000)), box(b"hdlr", struct.pack(">8x4s12x", handler))
    )
    return box(b"trak", box(b"edts", box(b"elst", table)), media)


def movie(*tracks):
    return box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", struct.pack(">4x8xI80x", 500)), *tracks)


def test_the_encoder_is_found_in_the_container_and_in_the_stream(media):
    encoder = look(media("plain.mp4")).info.encoder
    assert encoder.startswith("Lavf")
    assert "x264 - core" in encoder


def test_time_and_camera_are_reported_as_written(media, tmp_path):
    made = remuxed(
        media("plain.mkv"), tmp_path / "a.mkv", make="Acme", model="One", creation_time="2026-11-30T08:00:00Z"
    )
    info = look(made).info
    assert (info.device, info.created) == ("Acme One", "2026-11-30T08:00:00.000000Z")
    assert MediaInfo.from_json(info.to_json()) == info


def test_texts_from_a_file_are_printable_and_short(media, tmp_path):
    made = remuxed(media("plain.mkv"), tmp_path / "a.mkv", make="a\x1b[31m\n" + "b" * 9999)
    found = look(made).info.device
    assert found.isprintable()
    assert len(found) <= LONGEST


def test_keyframe_distances():
    assert keyframe_gaps(np.array([1, 0, 0, 1, 0, 1, 0, 0, 0, 1], dtype=bool)) == (2, 3, 4)
    assert keyframe_gaps(np.array([1, 0, 0], dtype=bool)) is None


def test_the_edit_list_of_the_right_track_is_read(tmp_path):
    sound, video = track((500, 0, 65536), handler=b"soun"), track((500, -1, 65536), (1000, 250, 131072))
    path = tmp_path / "a.mp4"
    expected = ((1.0, None, 1.0), (2.0, 0.25, 2.0))
    assert edits(path, movie(sound, video)) == expected
    assert edits(path, movie(sound, video), place=1) == ()
    assert edits(path, movie(track((500, -1, 65536), (1000, 250, 131072), wide=1))) == expected


def test_an_edit_list_written_by_libav_is_read(media):
    # B-frames: shown from the second stored timestamp on.
    ((seconds, start, rate),) = look(media("plain.mp4")).info.edits
    assert (seconds, rate) == (pytest.approx(1.2, abs=0.05), 1)
    assert 0 < start < 0.2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 64,
        box(b"moov", box(b"mvhd", b"")),
        movie(track())[:-20],
        movie(box(b"trak", box(b"edts", box(b"elst", b"\0" * 3)))),
        movie(track((1, 0, 65536)).replace(struct.pack(">I", 1000), struct.pack(">I", 0))),
        struct.pack(">I4sQ", 1, b"moov", 2**63) + b"\0" * 64,
        # Nested boxes, deeper than Python can recurse.
        b"".join(struct.pack(">I4s", 8 * (3000 - at), b"moov") for at in range(3000)),
        box(b"free") * 9000 + movie(track((500, 0, 65536))),
    ],
)
def test_a_file_with_broken_boxes_has_no_edit_list(tmp_path, content):
    assert edits(tmp_path / "a.mp4", content) == ()


def test_an_endless_edit_list_is_cut(tmp_path):
    assert len(edits(tmp_path / "a.mp4", movie(track(*[(1, 0, 65536)] * 5000)))) == MOST_EDITS


def test_facts_of_earlier_records_without_these_fields_are_read(media):
    info = look(media("plain.mp4")).info
    new = ("encoder", "created", "device", "duration_stated", "keyframe_gaps", "edits", "credentials")
    old = {key: value for key, value in info.to_json().items() if key not in new}
    assert MediaInfo.from_json(old) == replace(
        info, encoder=None, duration_stated=None, keyframe_gaps=None, edits=()
    )


def test_a_still_picture_has_no_keyframe_distances(tmp_path):
    info = look(awkward.video(tmp_path / "a.mp4", 1)).info
    assert info.keyframe_gaps is None
