"""Synthetic clips show faces that the finder detects, and are reproducible."""

import os

import numpy as np
import pytest

from deepscan.bench.clips import Clip, draw_face, make_clip, render_frames
from deepscan.bench.stages import decode_once
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.jobs import DecodeOptions


@pytest.mark.parametrize("faces", [0, 1, 2])
def test_the_finder_is_sure_of_the_drawn_faces(faces):
    images = list(render_frames(Clip(640, 360, frames=12, faces=faces)))[::4]
    for found in Mtcnn("exact").detect(images):
        sure = [face for face in found if face.probability > 0.95]
        assert len(sure) == faces
        centres = sorted(float(face.box[[0, 2]].mean()) for face in sure)
        # Within a tenth of the width of its position, which is further than a face sways.
        assert centres == pytest.approx([640 * (face + 0.5) / faces for face in range(faces)], abs=64)


def test_the_whole_frame_moves_reproducibly():
    clip = Clip(320, 240, frames=3)
    first, again = list(render_frames(clip)), list(render_frames(clip))
    assert all(np.array_equal(*frames) for frames in zip(first, again, strict=True))
    assert np.mean(first[0] != first[2]) > 0.5
    assert first[0].shape == (240, 320, 3)
    assert not np.array_equal(first[0], next(render_frames(Clip(320, 240, frames=3, seed=1))))


def test_a_clip_has_its_declared_frames_and_keyframes(tmp_path):
    path = make_clip(Clip(160, 120, frames=50, fps=10), tmp_path)
    (report,) = decode_once([os.fsencode(path)], DecodeOptions())
    info = report.info
    assert (report.status, report.decoded) == ("ok", 32)
    assert (info.width, info.height, info.frames_decodable, info.fps) == (160, 120, 50, 10)
    assert info.keyframes >= 3


@pytest.mark.parametrize(
    "wrong", [{"width": 63}, {"height": 121}, {"frames": 0}, {"fps": 0}, {"faces": -1}], ids=str
)
def test_invalid_clips_are_rejected(wrong):
    with pytest.raises(ValueError, match="clip"):
        Clip(**wrong)


def test_a_drawn_face_is_opaque_at_its_centre_and_transparent_in_its_corners():
    picture, opacity = draw_face(100)
    assert picture.shape == (100, 100, 3)
    assert opacity[50, 50] == pytest.approx(1, abs=0.01)
    assert opacity[0, 0] == opacity[0, -1] == 0
