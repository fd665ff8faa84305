"""Records of a scan with labels: raw scores, votes, and missing scores."""

import json
import os

import numpy as np
import pytest

from deepscan.errors import UsageError
from deepscan.evaluation.results import report_scores
from deepscan.evaluation.scan_records import group_votes, read_labels, read_scan_scores
from deepscan.evaluation.scores import read_scores
from deepscan.scanning.record_lines import RecordLine, dump_line

INDEX = """\
file,label,group,method,tier
a.mp4,real,A,real,A
b.mp4,fake,A,swap,A
c.mp4,fake,A,lips,B
d.mp4,fake,,swap,B
e.mp4,real,E,real,C
f.mp4,fake,E,swap,C
"""


def track(score, raw, votes_per_group=True):
    return {"id": 0, "score": score, "raw": raw, "counted": votes_per_group}


def record(path, *tracks, status="ok", score=None):
    highest = (
        max((person["score"] for person in tracks if person["counted"]), default=None)
        if score is None
        else score
    )
    scan_record = RecordLine(
        os.fsencode(path),
        status,
        "" if status == "ok" else "why",
        "run",
        verdict="inconclusive" if tracks else None,
        score=highest,
        tracks=tracks,
    )
    return dump_line(scan_record.to_json())


@pytest.fixture
def clips(tmp_path):
    """An index of six clips, and a scan of all but one; its last line is incomplete after a crash."""
    (tmp_path / "clips.csv").write_text(INDEX)
    lines = [
        record(tmp_path / "a.mp4", track(0.9, 0.31)),
        record(tmp_path / "b.mp4", track(0.9, 0.42), track(0.2, 0.12)),
        record(tmp_path / "c.mp4", track(0.95, 0.8)),
        # Two persons have the same calibrated score; a third has too few frames to count.
        record(tmp_path / "d.mp4", track(0.9, 0.5), track(0.9, 0.6), track(0.9, 0.99, votes_per_group=False)),
        record(tmp_path / "e.mp4", status="no_face"),
        record(tmp_path / "other.mp4", track(0.1, 0.1)),
    ]
    (tmp_path / "scan.jsonl").write_text("\n".join(lines) + "\n" + lines[0][:40])
    return tmp_path


def read(clips, *where):
    return read_scan_scores(clips / "scan.jsonl", read_labels(clips / "clips.csv", where), "clips")


def test_each_labelled_video_has_a_raw_score_or_a_reason(clips):
    scores = read(clips)
    rows = zip(
        scores.video.texts(),
        scores.labels.tolist(),
        scores.scores.tolist(),
        scores.status.texts(),
        strict=True,
    )
    expected = [
        ("a.mp4", 0, 0.31, "ok"),
        ("b.mp4", 1, 0.42, "ok"),
        ("c.mp4", 1, 0.8, "ok"),
        ("d.mp4", 1, 0.6, "ok"),
        ("e.mp4", 0, None, "no_face"),
        ("f.mp4", 1, None, "not_scanned"),
    ]
    assert [
        (name, label, None if np.isnan(score) else score, status) for name, label, score, status in rows
    ] == expected
    (result,) = report_scores(scores, missing="exclude").results
    assert dict(result.coverage.missing) == {"no_face": 1, "not_scanned": 1}
    assert (result.coverage.n, result.coverage.scored, result.value("auc")) == (6, 4, 1)
    (as_fake,) = report_scores(scores, missing="as-fake").results
    # The real without a score now ranks above three of four fakes, and ties with the one not scanned.
    assert as_fake.value("auc") == pytest.approx((4 + 0.5) / 8)


def test_the_scores_of_a_single_model_can_be_read(tmp_path):
    (tmp_path / "clips.csv").write_text("file,label\na.mp4,fake\nb.mp4,real\n")
    tracks = [
        {**track(0.7, 0.6), "scores": {"x": {"score": 0.9, "raw": 0.8}, "y": {"score": 0.4, "raw": 0.3}}},
        {**track(0.5, 0.4), "scores": {"x": {"score": 0.2, "raw": 0.1}, "y": {"score": 0.8, "raw": 0.7}}},
    ]
    models = [{"name": "x", "verdict": "fake", "score": 0.9, "calibrated": True}]
    models += [{"name": "y", "verdict": "fake", "score": 0.8, "calibrated": True}]
    path = os.fsencode(tmp_path / "a.mp4")
    several = RecordLine(
        path, "ok", "", "run", verdict="fake", score=0.7, tracks=tracks, model={"name": "x+y"}, models=models
    )
    (tmp_path / "scan.jsonl").write_text(dump_line(several.to_json()) + "\n")
    labels = read_labels(tmp_path / "clips.csv")
    # Each model's score is that of the person with its highest score.
    for model, raw in ((None, 0.6), ("x", 0.8), ("y", 0.7)):
        scores = read_scan_scores(tmp_path / "scan.jsonl", labels, "clips", model)
        assert scores.scores[0] == pytest.approx(raw)
        assert scores.status.texts()[1] == "not_scanned"


def test_videos_in_stores_are_labelled_by_their_address(tmp_path):
    (tmp_path / "clips.csv").write_text("file,label\ns3://b/v/a.mp4,fake\na.mp4,real\n")
    lines = [record("s3://b/v/a.mp4", track(0.9, 0.8)), record(tmp_path / "a.mp4", track(0.2, 0.1))]
    (tmp_path / "scan.jsonl").write_text(
        "\n".join([*lines, record("s3://b/w/a.mp4", track(0.5, 0.5))]) + "\n"
    )
    scores = read_scan_scores(tmp_path / "scan.jsonl", read_labels(tmp_path / "clips.csv"), "clips")
    assert scores.scores.tolist() == [0.8, 0.1]


def test_each_group_and_label_votes_once(clips):
    votes_per_group = group_votes(read(clips))
    votes = {
        (group, label): (kind, score)
        for group, label, kind, score in zip(
            votes_per_group.video.texts(),
            votes_per_group.labels.tolist(),
            votes_per_group.kind.texts(),
            votes_per_group.scores.tolist(),
            strict=True,
        )
    }
    assert votes["A", 0] == ("real", 0.31)
    assert votes["A", 1] == ("lips + swap", pytest.approx((0.42 + 0.8) / 2))
    assert votes["d.mp4", 1] == ("swap", 0.6), "a clip without a group is its own group"
    assert np.isnan(votes["E", 0][1])
    assert np.isnan(votes["E", 1][1])
    assert len(votes) == 5
    (result,) = report_scores(votes_per_group, missing="exclude").results
    assert (result.figures["auc"].n, result.value("auc")) == (3, 1)


def test_videos_have_equal_weights_in_their_group(tmp_path):
    rows = [("v", 1, "g", frame, 0.9) for frame in range(8)] + [("w", 1, "g", 0, 0.1), ("x", 0, "g", 0, 0.3)]
    lines = ["video,label,group,frame,score", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "frames.csv").write_text("\n".join(lines) + "\n")
    votes_per_group = group_votes(read_scores(tmp_path / "frames.csv"))
    assert votes_per_group.labels.tolist() == [1, 0]
    assert votes_per_group.scores.tolist() == pytest.approx([0.5, 0.3])


def test_votes_by_group_need_groups(tmp_path):
    (tmp_path / "s.csv").write_text("video,label,score\na,0,0.1\nb,1,0.9\n")
    with pytest.raises(UsageError, match="no groups") as caught:
        group_votes(read_scores(tmp_path / "s.csv"))
    assert "--vote video" in caught.value.hint


def test_conditions_select_rows(clips):
    assert read(clips, "tier=A").video.texts() == ["a.mp4", "b.mp4"]
    assert read(clips, "tier=A,B", "method=swap").video.texts() == ["b.mp4", "d.mp4"]


@pytest.mark.parametrize(
    ("index", "where", "message", "hint"),
    [
        (INDEX, ["tier"], "not of the form column=value", "tier=A,B"),
        (INDEX, ["level=A"], "no column 'level'", "file, label, group, method, tier"),
        (INDEX, ["tier=Z"], "no rows with tier=Z", "leave --where out"),
        (INDEX.replace("real,A,real", "genuine,A,real"), [], "a.mp4 has the label 'genuine'", "real or fake"),
        (INDEX + "./a.mp4,fake,A,swap,A\n", [], "a.mp4 twice", "remove one"),
        (INDEX + "g.mp4\n", [], "g.mp4 has the label ''", "real or fake"),
        ("video,label\na,real\n", [], "no column 'file'", "video, label"),
        ("", [], "no column 'file'", "its columns are"),
    ],
)
def test_an_invalid_index_is_rejected(tmp_path, index, where, message, hint):
    (tmp_path / "clips.csv").write_text(index)
    with pytest.raises(UsageError, match=message) as caught:
        read_labels(tmp_path / "clips.csv", where)
    assert hint in caught.value.hint


def test_invalid_and_unrelated_records_are_rejected(clips):
    labels = read_labels(clips / "clips.csv")
    other = clips / "other.jsonl"
    other.write_text(record(clips / "x.mp4", track(0.1, 0.1)) + "\n")
    with pytest.raises(UsageError, match="no record of any of the 6 labelled videos"):
        read_scan_scores(other, labels, "clips")
    with pytest.raises(UsageError, match="not a record of this version") as caught:
        read_scan_scores(clips / "clips.csv", labels, "clips")
    assert "scan --out" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be read"):
        read_scan_scores(clips / "absent.jsonl", labels, "clips")
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(clips / "absent.csv")


def test_the_last_record_of_a_video_counts(clips):
    journal = clips / "again.jsonl"
    lines = [record(clips / "a.mp4", status="timeout"), record(clips / "a.mp4", track(0.9, 0.7))]
    journal.write_text("\n".join(lines) + "\n")
    scores = read_scan_scores(journal, read_labels(clips / "clips.csv", ["tier=A"]), "clips")
    assert scores.scores[0] == 0.7
    assert json.loads(lines[0])["status"] == "timeout"
