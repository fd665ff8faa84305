"""Test the facts about a video's file on a page."""

import pytest

from deepscan.report.file_facts import describe_credentials, file_facts
from tests.report.made import page, video


def facts(**media):
    record = video()
    record["media"] |= {"frames_stated": 40, "frames_decodable": 40, "keyframes": 4, **media}
    return dict(file_facts(record))


def test_what_a_file_says_about_itself_is_marked_as_a_claim():
    found = facts(encoder="Lavf58; x264", created="2024-07-06T15:34:56Z", device="Acme One")
    assert found["claimed encoder"] == "Lavf58; x264"
    assert (found["claimed device"], found["claimed created"]) == ("Acme One", "2024-07-06T15:34:56Z")


@pytest.mark.parametrize(
    ("media", "name", "expected"),
    [
        ({"keyframe_gaps": [250, 250, 250]}, "keyframes", "4, every 250 frames"),
        ({"keyframe_gaps": [2, 12, 250]}, "keyframes", "4, every 2 to 250 frames, median 12"),
        ({"keyframes": 1}, "keyframes", "only the first frame"),
        ({"frames_stated": 300}, "header", "declares 300 frames, the file has 40"),
        (
            {"duration_stated": 9.0},
            "header",
            "declares 9.00 s including audio, the video lasts 4.00 s",
        ),
        (
            {"edits": [[0.5, None, 1.0], [2.0, 0.08, 2.0]]},
            "edit list",
            "shows nothing for 0.50 s; shows the stream from 0.08 s for 2.00 s at 2 times the speed",
        ),
    ],
)
def test_structure_is_described(media, name, expected):
    assert facts(**media)[name] == expected


def test_a_header_that_is_right_is_not_mentioned():
    assert "header" not in facts(duration_stated=4.05)


def test_credentials_are_claims_and_are_shown_as_text(tmp_path):
    claimed = {"state": "valid", "generator": "<b>editor</b>", "signer": "Camera", "actions": ["c2pa.edited"]}
    text = describe_credentials(claimed)
    assert "the identity of the signer was not checked" in text
    assert "It claims: made by <b>editor</b>, signed by Camera, actions c2pa.edited." in text
    assert text.endswith("Scores do not depend on it.")
    record = video()
    record["media"]["credentials"] = claimed
    assert "<b>editor</b>" in page(tmp_path, record).text
    assert "is not valid" in describe_credentials({"state": "invalid", "problems": ["x"]})


def test_records_of_earlier_versions_have_fewer_facts():
    record = video()
    assert "edit list" not in dict(file_facts(record))
    assert dict(file_facts({**record, "media": None})).keys() == {"path", "SHA-256", "size"}
