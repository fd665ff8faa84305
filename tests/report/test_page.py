"""Test that the page of a scan is complete and harmless, and matches the records."""

import base64
import hashlib
import re
from itertools import pairwise

import cv2
import numpy as np
import pytest

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.crop_recipe import CropRecipe
from deepscan.scanning.fusion import logit_mean
from deepscan.scanning.summary import summarise_record
from tests.report.made import CROP, THRESHOLDS, described, face, page, together, track, video

BAD = {"verdict": None, "score": None, "tracks": [], "frames": [], "calibrated": False}


def test_nothing_in_a_record_becomes_markup(tmp_path):
    name = b"/v/<script>alert(1)</script>\"'&\x1b[31m\xe2\x80\xae.mp4"
    made = page(tmp_path, video(name, warnings=("<img src=x>",)))
    assert len(made.all("script")) == 1
    assert not made.all("img")
    assert "\x1b" not in made.source
    assert "\u202e" not in made.source
    assert "<script>alert(1)</script>\"'&\\x1b[31m\\u202e.mp4" in made.text
    assert "<img src=x>" in made.text


def test_the_command_can_be_repeated(tmp_path):
    run = described()
    run["sessions"][0]["command"] = ["deepscan", "scan", "my videos/a b.mp4"]
    assert "deepscan scan 'my videos/a b.mp4'" in page(tmp_path, video(), run=run).words


def test_the_page_loads_nothing_from_outside(tmp_path):
    made = page(tmp_path, video())
    (policy,) = (attrs["content"] for attrs in made.all("meta") if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    links = {attrs[key] for _, attrs in made.tags for key in ("href", "src") if key in attrs}
    assert all(link.startswith("#") for link in links)
    assert "url(" not in made.source


def test_videos_are_worst_first_and_each_kind_is_counted(tmp_path):
    failed = video(b"/v/broken.mp4", **BAD, model=None)
    failed |= {"status": "decode_error", "detail": "nothing decodable"}
    records = [
        video(b"/v/clear.mp4", "no_evidence", 0.1),
        failed,
        video(b"/v/fake.mp4", "fake", 0.8),
        video(b"/v/worse.mp4", "fake", 0.95),
        video(b"/v/unsure.mp4", "inconclusive", 0.5),
    ]
    made = page(tmp_path, *records)
    rows = [attrs["data-kind"] for attrs in made.all("tr") if "data-kind" in attrs]
    assert rows == ["fake", "fake", "inconclusive", "failed", "no_evidence"]
    order = [made.text.index(f"{name}.mp4") for name in ("worse", "fake", "unsure", "broken", "clear")]
    assert order == sorted(order)
    assert {attrs["data-kind"]: 1 for attrs in made.all("button")}.keys() == {"", *rows}
    assert "fake 2" in made.words
    assert "nothing decodable" in made.text
    assert "In /v/" in made.words


def test_a_limited_number_of_videos_is_shown_in_detail(tmp_path):
    records = [video(f"/v/{at}.mp4".encode(), "fake", 0.9 - at / 100) for at in range(5)]
    made = page(tmp_path, *records, most=2)
    assert len([attrs for attrs in made.all("tr") if "data-kind" in attrs]) == 5
    assert [attrs["id"] for attrs in made.all("article")] == ["v1", "v2"]
    assert [attrs["href"] for attrs in made.all("a") if "class" not in attrs] == ["#v1", "#v2"]
    assert "Shown for the first 2 videos of the table" in made.words


def test_among_equal_files_the_scanned_one_is_shown_in_detail(tmp_path):
    copy = video(b"/v/a.mp4", sha256="0" * 64, copied_from=b"/v/b.mp4")
    original, other = video(b"/v/b.mp4", sha256="0" * 64), video(b"/v/c.mp4")
    made = page(tmp_path, copy, original, other)
    assert "a copy of b.mp4" in made.words and "a copy of a.mp4" not in made.words
    assert "results from" not in made.words
    alone = page(tmp_path, copy, other)
    assert "results from" in alone.words and "/v/b.mp4, a file with the same content" in alone.words


def test_a_face_that_does_not_count_does_not_explain_the_score(tmp_path):
    frames = [face(0, 0.2), face(10, 0.3), face(20, 0.99, size=30)]
    made = page(tmp_path, video(frames=frames, tracks=[{**track(0.25, sightings=3), "used": 2}]))
    calibration = Calibration.from_json(THRESHOLDS)
    low, high = (f"{calibrate(raw, calibration):.2f}" for raw in (0.2, 0.3))
    assert f"highest scores: {high} at 0:01.00 (frame 10), {low} at 0:00.00 (frame 0)" in made.words
    assert "2 of them good enough to count" in made.words
    assert ["aside" in (point["class"] or "") for point in made.all("circle")] == [False, False, True]
    # If no face of a person is good enough, all of them count.
    poor = page(tmp_path, video(frames=frames, tracks=[{**track(0.25, sightings=3), "poor": True}]))
    assert not poor.all("circle", **{"class": "aside"})


@pytest.mark.parametrize(
    ("sightings", "poor", "why"), [(1, True, "seen in too few frames"), (3, True, "never seen clearly")]
)
def test_why_a_person_does_not_count(tmp_path, sightings, poor, why):
    frames = [face(at, 0.5) for at in range(12)]
    left = {**track(0.5, sightings=sightings, counted=False), "poor": poor}
    assert f"not counted: {why}" in page(tmp_path, video(frames=frames, tracks=[left])).words


def test_a_person_in_several_shots_has_a_score_for_each_and_the_worst_is_marked(tmp_path):
    shots = [{"id": k, "start": 2.0 * k, "end": 2.0 * k + 1} for k in range(2)]
    own = [{"shot": k, "score": score} for k, score in enumerate((0.25, 0.75))]
    made = page(tmp_path, video(tracks=[{**track(0.5), "shots": own, "worst_shot": 1}]) | {"shots": shots})
    assert (
        "shot 1 (0:00.00 to 0:01.00): 0.25; shot 2 (0:02.00 to 0:03.00): 0.75, the worst shot" in made.words
    )


def test_a_model_s_cautions_are_shown_next_to_it(tmp_path):
    run = described()
    run["model"]["cautions"] = ["its card reports no AUC on <any> data"]
    assert "its card reports no AUC on <any> data" in page(tmp_path, video(), run=run).text


@pytest.mark.parametrize(
    ("reason", "why", "heading"),
    [
        ("no_face", "not counted: does not look like a face", "track 2 (not a face)"),
        ("still", "not counted: never moves, like a face in a photo", "person 2"),
    ],
)
def test_a_track_that_is_not_a_living_face_is_drawn_as_such(tmp_path, reason, why, heading):
    aside = {**track(0.95, counted=False), "id": 1, "reason": reason}
    frames = [face(0, 0.5), face(20, 0.9), face(0, 0.95, track=1), face(20, 0.95, track=1)]
    made = page(tmp_path, video(tracks=[track(0.7), aside], frames=frames))
    assert why in made.words and heading in made.words
    assert {rect["class"] for rect in made.all("rect")} >= {f"here {reason}", f"other {reason}"}


def test_a_photo_that_is_judged_is_marked_as_one(tmp_path):
    still = {**track(0.9), "still": True, "reason": None}
    assert "never moves, like a face in a photo" in page(tmp_path, video(tracks=[still])).words


def test_a_track_that_is_not_a_face_is_not_a_person_of_the_overview(tmp_path):
    aside = {**track(0.95, counted=False), "id": 1, "reason": "no_face"}
    frames = [face(0, 0.5), face(20, 0.9), face(0, 0.95, track=1)]
    row = summarise_record(video(tracks=[track(0.7), aside], frames=frames))
    assert (row.persons, row.faces, row.sampled) == (1, 2, 2)


@pytest.mark.parametrize(
    ("score", "shown"), [(0.69, "0.69"), (0.6999, "0.6999"), (0.7, "0.70"), (0.2999, "0.2999")]
)
def test_a_score_is_never_shown_past_a_threshold(tmp_path, score, shown):
    kind = "fake" if score >= 0.7 else "no_evidence" if score < 0.3 else "inconclusive"
    row = page(tmp_path, video(verdict=kind, score=score), most=0)
    rate = "" if kind == "inconclusive" else "error rate unknown "
    assert f"{kind.replace('_', ' ')} {rate}{shown} a.mp4" in row.words


def test_no_score_of_a_model_or_a_face_is_shown_past_its_threshold(tmp_path):
    near = together(b"/v/a.mp4", ("inconclusive", "inconclusive"), scores=(0.6999, 0.5))
    assert "a 0.6999 inconclusive b 0.50 inconclusive" in page(tmp_path, near, run=described("a", "b")).words
    plain = described(calibration={**THRESHOLDS, "temperature": 1.0})
    made = page(tmp_path, video(frames=[face(0, 0.2), face(20, 0.6999)]), run=plain)
    assert "highest scores: 0.6999 at 0:02.00" in made.words
    assert "0.6999 at 0:02.00, frame 20" in made.source


def test_unusual_paths_are_shown_completely(tmp_path):
    made = page(tmp_path, video(b"//v/a.mp4"), video(b"//v/b.mp4"), most=0)
    assert "//v/a.mp4" in made.words
    assert "In //" not in made.words


def test_a_person_s_box_stays_within_the_frame(tmp_path):
    wide = [face(0, 0.5, box=(-10.0, 20.0, 60.0, 90.0)), face(20, 0.1)]
    made = page(tmp_path, video(frames=wide))
    (box,) = made.all("rect", **{"class": "here"})
    assert [float(box[key]) for key in ("x", "y", "width", "height")] == [0, 20, 60, 60]


def test_agreement_of_models_is_shown_overall_and_for_each_video(tmp_path):
    made = page(
        tmp_path,
        together(b"/v/same.mp4", ("fake", "fake")),
        together(b"/v/near.mp4", ("fake", "inconclusive")),
        together(b"/v/apart.mp4", ("fake", "no_evidence")),
        run=described("a", "b"),
    )
    assert "agree with the overall verdict on 1 of 3 videos" in made.words
    assert "a and b 1 of 3 1" in made.words
    assert "models disagree 2" in made.words
    rows = [attrs["data-kind"] for attrs in made.all("tr") if "data-kind" in attrs]
    assert rows == ["fake", "inconclusive disagree", "inconclusive disagree"]
    assert "0 of 2 models with a vote agree: a 0.90 fake b 0.20 no evidence" in made.words
    assert "by vote" in made.text


def test_a_model_without_a_vote_is_not_counted(tmp_path):
    made = page(
        tmp_path,
        together(b"/v/a.mp4", ("fake", "inconclusive"), calibrated=(True, False)),
        run=described("a", "b"),
    )
    assert "Agreement of the models" not in made.words
    assert "Several models together: by vote" in made.words
    assert "b 0.20 no vote" in made.words


def test_the_highest_scores_are_those_that_are_shown(tmp_path):
    run = described("a", "b")
    run["models"]["b"]["calibration"] = {**THRESHOLDS, "temperature": 0.5}
    record = together(b"/v/a.mp4", ("fake", "fake"))
    # By the raw scores, the first would be the higher one.
    for frame, logits in zip(record["frames"], ((3, -1), (0, 1)), strict=True):
        raws = [1 / (1 + np.exp(-logit)) for logit in logits]
        frame |= {"scores": dict(zip("ab", raws, strict=True)), "score": logit_mean(raws)}
    made = page(tmp_path, record, run=run)
    assert "highest scores: 0.73 at 0:02.00 (frame 20), 0.44 at 0:00.00 (frame 0)" in made.words


def test_maps_are_drawn_with_the_landmarks_in_their_places(tmp_path):
    steps = [0, 85, 170, 255]
    explanation = {"margins": {"grid": 2, "range": [-1.0, 2.0], "maps": [steps] * 6}, "depth": 3.25}
    made = page(tmp_path, video(frames=[face(0, 0.5), face(20, 0.9, explanation=explanation)]))
    images = [attrs["href"] for attrs in made.all("image")]
    assert len(images) == 4, "a detector with one map per query does not fill the page"
    png = base64.b64decode(images[0].partition("base64,")[2])
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED).astype(int)
    side = len(pixels)
    # From corner to corner: -1 is blue, 0 transparent, 1 red and translucent, 2 the strongest red.
    below, zero, above, most = pixels[:: side - 1, :: side - 1].reshape(4, 4)
    assert below[0] > below[2]
    assert above[2] > above[0]
    assert zero[3] <= 30 < above[3] < most[3] < 200, "the face under it is visible"
    assert below[3] == pytest.approx(above[3], abs=20)
    # The colours change smoothly.
    assert np.abs(np.diff(pixels[side // 2, :, 3])).max() < 25
    assert "points to fake" in made.words
    template = CropRecipe.from_json(CROP).template
    placed = [attrs["d"] for attrs in made.all("path", **{"class": "cross"})][:5]
    points = np.array([path[1:].split("h")[0].split() for path in placed], dtype=float) + np.array([0.02, 0])
    # The landmarks are near the template's, up to rotation, size and position.
    assert points == pytest.approx((template + 0.5) / 64, abs=0.05)
    assert "depth 3.25" in made.words


def test_a_scan_that_only_found_faces_has_a_page(tmp_path):
    bare = {"verdict": None, "score": None, "calibrated": False, "model": None}
    frames = [face(0, None), face(20, None)]
    run = described() | {"model": None}
    made = page(tmp_path, video(**bare, frames=frames, tracks=[track(None)]), run=run)
    assert "in 2 frames from 0:00.00 to 0:02.00" in made.words
    assert not made.all("polyline")


def test_a_scan_of_nothing_has_a_page(tmp_path):
    made = page(tmp_path)
    assert "0 videos" in made.words
    assert "fake from 0.7" in made.words


def test_changes_to_stored_frames_are_described(tmp_path):
    record = video()
    assert "shown as" not in page(tmp_path, record).words
    record["media"] |= {
        "mirrored": True,
        "stored_width": 50,
        "stored_height": 80,
        "pixel_aspect": "2/1",
        "field_order": "tt",
        "transfer": "smpte2084",
    }
    words = page(tmp_path, record).words
    assert (
        "100 × 80, stored as 50 × 80 with pixels of aspect 2/1, deinterlaced, converted from HDR (smpte2084)"
        in words
    )
    assert "100 × 80, mirrored" in words


def test_the_page_can_be_used_with_a_screen_reader_and_a_keyboard(tmp_path):
    many = [together(f"/v/{at}.mp4".encode(), ("fake", "fake")) for at in range(12)]
    made = page(tmp_path, *many, run=described("a", "b"))
    levels = [int(tag[1]) for tag, _ in made.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), "no heading is skipped"
    assert {"main", "header"} <= {tag for tag, _ in made.tags}
    pictures = re.findall(r'<svg[^>]*role="img"[^>]*>\s*(?:<title>)?', made.source)
    assert pictures
    assert all("aria-label=" in tag or tag.endswith("<title>") for tag in pictures)
    assert "Scores over time: 2 faces" in made.source, "a chart has a text alternative"
    assert all(attrs.get("scope") == "col" for attrs in made.all("th"))
    pressed = [attrs["aria-pressed"] for attrs in made.all("button")]
    assert pressed.count("true") == 1 and len(pressed) > 1


def test_a_case_name_cannot_break_out_of_the_printed_footer(tmp_path):
    run = described() | {"custody": {"case": '17"; } </style><script>alert(1)</script>', "exhibit": None}}
    made = page(tmp_path, video(), run=run)
    assert len(made.all("script")) == 1
    (foot,) = re.findall(r"@bottom-left { content: (.*); }", made.source)
    assert foot.startswith('"case\\20 17\\22 \\3B ')
    assert '"' not in foot[1:-1]


def test_everything_works_without_scripts(tmp_path):
    made = page(tmp_path, video())
    before = made.source.split("<script>")[0]
    for needed in (hashlib.sha256(b"/v/a.mp4").hexdigest(), "1,234 bytes", "/v/"):
        assert needed in before
    assert "hidden" not in re.sub(r"<style>.*?</style>", "", before, flags=re.S).replace(
        'aria-hidden="true"', ""
    )
