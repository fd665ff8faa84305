"""A scan of the sample videos gives the records that are committed, so that no change moves a score unseen.

After a change that is meant to move them: `make golden`, and look at the difference before it is committed.
"""

import json

import pytest

from tests.golden.records import GOLDEN, scanned

pytestmark = pytest.mark.slow

EXPECTED = {record["path"]: record for record in map(json.loads, GOLDEN.read_text().splitlines())}
#: How far scores may lie from the golden ones, by precision: of videos and persons, of single faces.
#: The same machine repeats every digit. With OpenCV and numpy limited to older instructions, some pixels
#: differ by one level: in float32 that moved videos by 0.0001 and faces by 0.0011. In 8 bits such a pixel can
#: shift a value to the next of 256 steps; against float32, videos moved by 0.013 and faces by 0.081.
TOLERANCES = {"fp32": (1e-3, 5e-3), "auto": (0.03, 0.15)}
#: Pixels. Boxes and landmarks are written to a tenth of one; a sum in another order may round to the next
#: tenth, and the next crop of the cascade moves by as much.
PIXELS = 0.3
#: Measures of a face: its size in pixels, its sharpness in the variance of grey levels, shares.
MEASURES = {"probability": 1e-2, "face_score": 1e-2, "size": PIXELS, "pose": 1e-2}


@pytest.fixture(scope="module", params=TOLERANCES)
def scan(request, tmp_path_factory):
    """The records of a scan, and how far scores of videos and of faces may lie from the golden ones."""
    records = scanned(request.param, tmp_path_factory.mktemp("golden"))
    return {record["path"]: record for record in records}, *TOLERANCES[request.param]


def close(found, expected, video, face, where=""):
    """Check that two parts of a record agree: measured numbers within their tolerance, all else exactly."""
    name = where.rpartition(".")[2]
    if isinstance(expected, dict):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            close(found[key], value, video, face, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for one, other in zip(found, expected, strict=True):
            close(one, other, video, face, where)
    elif expected is None or found is None:
        assert found == expected, where
    elif name in ("score", "raw"):
        assert found == pytest.approx(expected, abs=face if where.startswith(".frames") else video), where
    elif name in ("box", "landmarks"):
        assert found == pytest.approx(expected, abs=PIXELS), where
    elif name == "sharpness":
        assert found == pytest.approx(expected, rel=1e-2), where
    elif name in MEASURES:
        assert found == pytest.approx(expected, abs=MEASURES[name]), where
    elif name in ("warnings", "detail"):
        # Their words may change without a change of what a scan finds.
        assert bool(found) == bool(expected), where
    else:
        assert found == expected, where


def test_every_sample_has_a_golden_record(scan):
    assert list(scan[0]) == list(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_record_is_the_golden_one(scan, name):
    records, video, face = scan
    close(records[name], EXPECTED[name], video, face)
