"""The examples run as their first lines say, on the sample videos."""

import csv
import re
from pathlib import Path

import cv2
import pytest

from tests.command import SAMPLES, deepscan, run_python

EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name, *arguments):
    ran = run_python(EXAMPLES / name, *arguments)
    assert ran.code == 0, ran.err
    return ran


def test_every_example_is_tried_here_and_listed():
    names = {path.name for path in EXAMPLES.glob("*.py")}
    listed = re.findall(r"\[`(\w+\.py)`\]", (EXAMPLES / "README.md").read_text())
    assert names == set(listed) == set(re.findall(r'example\(\s*"(\w+\.py)"', Path(__file__).read_text()))


def test_fakes_are_listed_in_a_table(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"")
    out = tmp_path / "fakes.csv"
    ran = example("list_fakes.py", SAMPLES, tmp_path / "broken.mp4", "--out", out, "--frames", "4")
    with out.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert Path(row["path"]).name == "swapped.mp4" and float(row["score"]) > 0.85 and row["person"] == "0"
    assert "broken.mp4: decode_error" in ran.err and "6/6" in ran.err


def test_faces_are_saved_and_their_crops_scored_as_they_were(tmp_path):
    ran = example("save_faces.py", SAMPLES / "swapped.mp4", "--out", tmp_path / "faces")
    (line,) = ran.out.splitlines()
    file = tmp_path / "faces" / "face-0.png"
    assert line.startswith(f"{file}: at (217, 79) to (342, 226), raw score 1.00")
    assert cv2.imread(str(file)).shape == (224, 224, 3)
    scored = list(csv.DictReader(example("score_crops.py", file).out.splitlines()))
    assert [(row["path"], row["verdict"]) for row in scored] == [(str(file), "fake")]
    assert float(scored[0]["raw score"]) > 0.99 > float(scored[0]["calibrated score"]) * 0.99


def test_a_crop_that_is_not_a_picture_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"hello")
    ran = run_python(EXAMPLES / "score_crops.py", tmp_path / "a.png")
    assert ran.code == 1 and "a.png is not a picture" in ran.err


def test_the_worst_moments_of_a_scan_are_listed(tmp_path):
    out = tmp_path / "records.jsonl"
    assert deepscan("scan", SAMPLES / "swapped.mp4", "--frames", "8", "--out", out).code == 0
    said = example("worst_moments.py", out, "--moments", "2").out.splitlines()
    assert re.fullmatch(r".*swapped\.mp4: fake, score 0\.9\d", said[0])
    assert re.fullmatch(r"  person 1, score 0\.9\d: \d\.\d\d s \([\d.]+\), \d\.\d\d s \([\d.]+\)", said[1])
    assert len(said) == 2


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_an_example_says_what_it_does(name):
    assert f"examples/{name}" in (EXAMPLES / name).read_text()
    assert "usage:" in run_python(EXAMPLES / name, "--help").out


def test_the_code_on_the_page_of_the_python_api_runs(tmp_path):
    page = (EXAMPLES.parent / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    (tmp_path / "videos").mkdir()
    for name in ("swapped.mp4", "no_face.mp4"):
        (tmp_path / "videos" / name).symlink_to(SAMPLES / name)
    video = cv2.VideoCapture(str(SAMPLES / "swapped.mp4"))
    cv2.imwrite(str(tmp_path / "picture.jpg"), video.read()[1])
    ran = run_python("-c", "\n".join([*blocks, "print(verdicts)"]), cwd=tmp_path)
    assert ran.code == 0, ran.err
    said = ran.out.splitlines()
    assert re.fullmatch(r".*swapped\.mp4 ok fake 0\.9\d+", "\n".join(sorted(said[:2])).splitlines()[1])
    assert "there is no model 'lite0'" in ran.out or "'lite0'" in ran.out
    assert said[-1] == "['fake']" and ran.err == ""
