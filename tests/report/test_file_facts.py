"""What a page says of a video's file, in words."""

import pytest

from deepscan.report.file_facts import credential_words, file_facts
from tests.report.made import page, video


def facts(**media):
    record = video()
    record["media"] |= {"frames_stated": 40, "frames_decodable": 40, "keyframes": 4, **media}
    return dict(file_facts(record))


def test_what_a_file_says_of_itself_is_told_as_its_own_words():
    found = facts(encoder="Lavf58; x264", created="2024-07-06T15:34:56Z", device="Acme One")
    assert found["says it was made by"] == "Lavf58; x264"
    assert (found["with"], found["on"]) == ("Acme One", "2024-07-06T15:34:56Z")


@pytest.mark.parametrize(
    ("media", "name", "said"),
    [
        ({"keyframe_gaps": [250, 250, 250]}, "keyframes", "4, every 250 frames"),
        ({"keyframe_gaps": [2, 12, 250]}, "keyframes", "4, every 2 to 250 frames, mostly 12"),
        ({"keyframes": 1}, "keyframes", "the first frame alone"),
        ({"frames_stated": 300}, "its header says", "300 frames, 40 are there"),
        (
            {"duration_stated": 9.0},
            "its header says",
            "9.00 s with all sound, its pictures last 4.00 s",
        ),
        (
            {"edits": [[0.5, None, 1.0], [2.0, 0.08, 2.0]]},
            "edit list",
            "shows nothing for 0.50 s; shows what is stored from 0.08 s on for 2.00 s at 2 times its speed",
        ),
    ],
)
def test_structure_is_told_in_words(media, name, said):
    assert facts(**media)[name] == said


def test_a_header_that_is_right_is_not_mentioned():
    assert "its header says" not in facts(duration_stated=4.05)


def test_credentials_are_claims_and_are_shown_as_text(tmp_path):
    claimed = {"state": "valid", "generator": "<b>editor</b>", "signer": "Camera", "actions": ["c2pa.edited"]}
    words = credential_words(claimed)
    assert "who the signer is was not checked" in words
    assert "It claims: made by <b>editor</b>, signed by Camera, actions c2pa.edited." in words
    assert words.endswith("No score depends on it.")
    record = video()
    record["media"]["credentials"] = claimed
    assert "<b>editor</b>" in page(tmp_path, record).text
    assert "does not validate" in credential_words({"state": "invalid", "problems": ["x"]})


def test_records_of_earlier_versions_say_less():
    record = video()
    assert "edit list" not in dict(file_facts(record))
    assert dict(file_facts({**record, "media": None})).keys() == {"path", "SHA-256", "size"}
