"""What a file says of how it was made, and that a lying or hostile one only lies about that."""

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
    """Copy a video with other metadata and return the copy."""
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


def film(*entries, handler=b"vide", wide=0):
    """Return the boxes of a track with an edit list of such entries, of 1000 ticks a second."""
    form = ">QqI" if wide else ">IiI"
    listed = struct.pack(">B3xI", wide, len(entries)) + b"".join(struct.pack(form, *each) for each in entries)
    media = box(
        b"mdia", box(b"mdhd", struct.pack(">4x8xI8x", 1000)), box(b"hdlr", struct.pack(">8x4s12x", handler))
    )
    return box(b"trak", box(b"edts", box(b"elst", listed)), media)


def movie(*tracks):
    return box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", struct.pack(">4x8xI80x", 500)), *tracks)


def test_the_encoders_marks_are_found_in_the_container_and_in_the_stream(media):
    stated = look(media("plain.mp4")).info.encoder
    assert stated.startswith("Lavf")
    assert "x264 - core" in stated


def test_time_and_camera_are_told_as_they_stand(media, tmp_path):
    made = remuxed(
        media("plain.mkv"), tmp_path / "a.mkv", make="Acme", model="One", creation_time="2026-11-30T08:00:00Z"
    )
    info = look(made).info
    assert (info.device, info.created) == ("Acme One", "2026-11-30T08:00:00.000000Z")
    assert MediaInfo.from_json(info.to_json()) == info


def test_what_a_file_says_is_printable_and_in_bounds(media, tmp_path):
    made = remuxed(media("plain.mkv"), tmp_path / "a.mkv", make="a\x1b[31m\n" + "b" * 9999)
    found = look(made).info.device
    assert found.isprintable()
    assert len(found) <= LONGEST


def test_keyframes_are_told_by_their_distances():
    assert keyframe_gaps(np.array([1, 0, 0, 1, 0, 1, 0, 0, 0, 1], dtype=bool)) == (2, 3, 4)
    assert keyframe_gaps(np.array([1, 0, 0], dtype=bool)) is None


def test_an_edit_list_is_read_of_the_right_track(tmp_path):
    sound, own = film((500, 0, 65536), handler=b"soun"), film((500, -1, 65536), (1000, 250, 131072))
    path = tmp_path / "a.mp4"
    wanted = ((1.0, None, 1.0), (2.0, 0.25, 2.0))
    assert edits(path, movie(sound, own)) == wanted
    assert edits(path, movie(sound, own), place=1) == ()
    assert edits(path, movie(film((500, -1, 65536), (1000, 250, 131072), wide=1))) == wanted


def test_what_libav_writes_is_read(media):
    # B-frames: shown from the second stored time stamp on
    ((seconds, start, rate),) = look(media("plain.mp4")).info.edits
    assert (seconds, rate) == (pytest.approx(1.2, abs=0.05), 1)
    assert 0 < start < 0.2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 64,
        box(b"moov", box(b"mvhd", b"")),
        movie(film())[:-20],
        movie(box(b"trak", box(b"edts", box(b"elst", b"\0" * 3)))),
        movie(film((1, 0, 65536)).replace(struct.pack(">I", 1000), struct.pack(">I", 0))),
        struct.pack(">I4sQ", 1, b"moov", 2**63) + b"\0" * 64,
        # a box in a box in a box, deeper than Python may go
        b"".join(struct.pack(">I4s", 8 * (3000 - at), b"moov") for at in range(3000)),
        box(b"free") * 9000 + movie(film((500, 0, 65536))),
    ],
)
def test_a_file_of_broken_boxes_has_no_edit_list(tmp_path, content):
    assert edits(tmp_path / "a.mp4", content) == ()


def test_a_list_without_end_is_cut(tmp_path):
    assert len(edits(tmp_path / "a.mp4", movie(film(*[(1, 0, 65536)] * 5000)))) == MOST_EDITS


def test_facts_of_earlier_records_are_read_without_these(media):
    info = look(media("plain.mp4")).info
    new = ("encoder", "created", "device", "duration_stated", "keyframe_gaps", "edits", "credentials")
    old = {key: value for key, value in info.to_json().items() if key not in new}
    assert MediaInfo.from_json(old) == replace(
        info, encoder=None, duration_stated=None, keyframe_gaps=None, edits=()
    )


def test_a_still_picture_has_none_of_a_films_facts(tmp_path):
    info = look(awkward.video(tmp_path / "a.mp4", 1)).info
    assert info.keyframe_gaps is None
