"""Made-up clips show faces that are found, and are the same every time."""

import os

import numpy as np
import pytest

from deepscan.bench.clips import Clip, draw_face, make_clip, pictures
from deepscan.bench.stages import decode_once
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.jobs import DecodeOptions


@pytest.mark.parametrize("faces", [0, 1, 2])
def test_the_finder_finds_the_faces_that_were_drawn_for_sure(faces):
    images = list(pictures(Clip(640, 360, frames=12, faces=faces)))[::4]
    for found in Mtcnn("exact").detect(images):
        sure = [face for face in found if face.probability > 0.95]
        assert len(sure) == faces
        centres = sorted(float(face.box[[0, 2]].mean()) for face in sure)
        # Within a tenth of the width of where each was put, which is further than they stray.
        assert centres == pytest.approx([640 * (at + 0.5) / faces for at in range(faces)], abs=64)


def test_all_of_a_picture_moves_and_moves_the_same_way_each_time():
    clip = Clip(320, 240, frames=3)
    first, again = list(pictures(clip)), list(pictures(clip))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert np.mean(first[0] != first[2]) > 0.5
    assert first[0].shape == (240, 320, 3)
    assert not np.array_equal(first[0], next(pictures(Clip(320, 240, frames=3, seed=1))))


def test_a_clip_has_the_frames_and_the_keyframes_that_it_states(tmp_path):
    path = make_clip(Clip(160, 120, frames=50, fps=10), tmp_path)
    (report,) = decode_once([os.fsencode(path)], DecodeOptions())
    info = report.info
    assert (report.status, report.decoded) == ("ok", 32)
    assert (info.width, info.height, info.frames_decodable, info.fps) == (160, 120, 50, 10)
    assert info.keyframes >= 3


@pytest.mark.parametrize(
    "wrong", [{"width": 63}, {"height": 121}, {"frames": 0}, {"fps": 0}, {"faces": -1}], ids=str
)
def test_a_clip_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="clip"):
        Clip(**wrong)


def test_a_drawn_face_is_opaque_in_its_middle_and_leaves_its_corners_free():
    picture, opaque = draw_face(100)
    assert picture.shape == (100, 100, 3)
    assert opaque[50, 50] == pytest.approx(1, abs=0.01)
    assert opaque[0, 0] == opaque[0, -1] == 0
