"""Test the summaries of videos that the table and the page share."""

import pytest

from deepscan.outcomes import STATUSES
from deepscan.scanning.summary import (
    STATUS_LABELS,
    VideoSummary,
    counted,
    describe_outcomes,
    printable,
    shared_folder,
    shown_warnings,
)


def seen(persons, faces, sampled, status="ok"):
    return VideoSummary("/a.mp4", status, None, None, "", persons, faces, sampled)


@pytest.mark.parametrize(
    ("persons", "faces", "sampled", "text"),
    [
        (1, 30, 32, "1 person in 30 of 32 frames"),
        (1, 1, 1, "1 person in 1 frame"),
        (2, 42, 32, "2 persons, 42 faces in 32 frames"),
        (2, 9, 32, "2 persons, 9 faces in 32 frames"),
        # A mirror: one person appears twice in a frame.
        (1, 33, 32, "1 person, 33 faces in 32 frames"),
        (0, 0, 32, ""),
    ],
)
def test_who_was_seen_is_described(persons, faces, sampled, text):
    assert seen(persons, faces, sampled).seen == text


def test_in_a_failed_video_nothing_was_seen():
    assert seen(1, 1, 1, "timeout").seen == ""


def test_every_status_has_a_label_for_people():
    assert set(STATUS_LABELS) == set(STATUSES)
    assert not any("_" in label for label in STATUS_LABELS.values())
    assert seen(0, 0, 1, "no_face").label == "no face"
    assert seen(0, 0, 1, "one_of_a_later_version").label == "one_of_a_later_version"


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["/a/b/c.mp4", "/a/b/d/e.mp4"], "/a/b/"),
        (["/a/b/c.mp4"], "/a/b/"),
        (["/a/bc.mp4", "/a/b/c.mp4"], "/a/"),
        (["/x.mp4", "/a/b.mp4"], "/"),
        (["//a/b.mp4", "//a/c.mp4"], ""),
        (["a/b.mp4", "/a/c.mp4"], ""),
        ([], ""),
    ],
)
def test_the_folder_that_videos_share_ends_in_a_slash(paths, folder):
    assert shared_folder(paths) == folder


def test_outcomes_are_listed_worst_first():
    kinds = {"no_face": 1, "no_evidence": 3, "timeout": 2, "fake": 1200, "inconclusive": 0}
    assert describe_outcomes(kinds) == "1,200 fake, 3 no evidence, 1 no face, 2 timed out"
    assert describe_outcomes({}) == ""


def test_counts_have_the_right_number():
    assert [counted(n, "video") for n in (0, 1, 2, 5000)] == [
        "0 videos",
        "1 video",
        "2 videos",
        "5,000 videos",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("new\nline\x1b[31m.mp4", "new\\nline\\x1b[31m.mp4"),
        ("gpj.\u202e4pm.exe", "gpj.\\u202e4pm.exe"),
        ("mark\u200f.mp4", "mark\\u200f.mp4"),
        ("bad\udcff.mp4", "bad\\udcff.mp4"),
        ("\u00fcn\u00ef \u05e9.mp4", "\u00fcn\u00ef \u05e9.mp4"),
    ],
)
def test_a_name_cannot_change_how_the_text_around_it_is_shown(name, shown):
    assert printable(name) == shown


@pytest.mark.parametrize(
    ("warning", "shown"),
    [
        ("track 0, seen 9 times, is not counted", "person 1, seen 9 times, is not counted"),
        ("track 1, seen 9 times, is not counted", "track 2 (not a face), seen 9 times, is not counted"),
        ("model a: the worst shot of track 2, from 1 s", "model a: the worst shot of person 3, from 1 s"),
        ("the models disagree on person 0: fake by m", "the models disagree on person 1: fake by m"),
        ("further video streams, ignored: track 7, a", "further video streams, ignored: track 7, a"),
    ],
)
def test_people_read_of_persons_from_1_in_warnings(warning, shown):
    tracks = [{"id": n, "reason": reason} for n, reason in enumerate((None, "no_face", "poor"))]
    assert shown_warnings({"tracks": tracks, "warnings": [warning]}) == [shown]


@pytest.mark.parametrize(
    ("addresses", "shared"),
    [
        (["s3://b/v/a.mp4", "s3://b/v/c.mp4"], "s3://b/v/"),
        (["s3://b/v/a.mp4", "s3://b/w/c.mp4"], "s3://b/"),
        (["s3://b/v1/a.mp4", "s3://b/v2/c.mp4"], "s3://b/"),
        (["s3://b/v//a.mp4", "s3://b/v/a.mp4"], "s3://b/v/"),
        (["s3://a/a.mp4", "s3://b/a.mp4"], ""),
        (["s3://a/a.mp4", "https://a/a.mp4"], ""),
        (["s3://a/a.mp4", "/a.mp4"], ""),
    ],
)
def test_addresses_share_a_prefix(addresses, shared):
    assert shared_folder(addresses) == shared
