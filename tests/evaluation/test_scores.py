"""Score files: reading with clear errors, and averaging frames per video."""

import numpy as np
import pytest

from deepscan.errors import UsageError
from deepscan.evaluation import scores as module
from deepscan.evaluation.scores import Column, by_video, read_scores, write_scores


@pytest.fixture
def write_and_read(tmp_path):
    """Return a function that writes lines to a file and reads its scores."""

    def write(*lines, encoding="utf-8"):
        path = tmp_path / "scores.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return read_scores(path)

    return write


def test_three_columns_are_enough(write_and_read):
    scores = write_and_read("video,label,score", "a.mp4,0,0.25", "b.mp4,1,1")
    assert scores.labels.tolist() == [0, 1]
    assert scores.scores.tolist() == [0.25, 1.0]
    assert scores.video.texts() == ["a.mp4", "b.mp4"]
    assert (scores.kind.texts(), scores.kind.has_values, scores.group.has_values) == (["", ""], False, False)


def test_columns_may_have_any_case_and_order_and_others_are_ignored(write_and_read):
    scores = write_and_read(
        "Score,note,VIDEO,Label,Dataset,kind,group,FRAME",
        "0.5,x,v,fake,DFDC,swap,g1,7",
        '0.25,"a, b",v,REAL,DFDC,youtube,g1,7',
        "0.75,, v,1.0,DFDC,swap,g1,8",
        encoding="utf-8-sig",
    )
    assert scores.labels.tolist() == [1, 0, 1]
    assert scores.dataset.texts() == ["DFDC"] * 3
    assert scores.kind.texts() == ["swap", "youtube", "swap"]
    assert scores.group.names == ("g1",)
    assert scores.frame.texts() == ["7", "7", "8"]
    assert scores.video.texts() == ["v", "v", "v"], "a space after a comma is not part of a name"


def test_an_empty_score_is_missing(write_and_read):
    scores = write_and_read("video,label,score,status", "a,0,,no_face", "b,1,0.5,ok", "", "c,1, ,timeout")
    assert np.isnan(scores.scores).tolist() == [True, False, True]
    assert scores.frames.tolist() == [0, 1, 0]
    assert scores.status.texts() == ["no_face", "ok", "timeout"]


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        (("video,score", "a,0.5"), "no column label", "video,label,score"),
        (("video;label;score", "a;0;0.5"), "no column video, label, score", "by commas"),
        (("video,label,score,Score", "a,0,0.5,0.5"), "two columns score", "only one of each"),
        (("video,label,score", "a,0,0.5", "b,2,0.5"), "line 3, has the label '2'", "0 or real"),
        (("video,label,score", "a,0,nan"), "line 2, has the score 'nan'", "leave the cell empty"),
        (("video,label,score", "a,0,high"), "line 2, has the score 'high'", "write a number"),
        (("video,label,score", "a,0,0.1", "b,1,3.7"), "line 3, has the score 3.7, outside", "1 / (1 + exp("),
        (("video,label,score", "a,0,-0.1"), "outside", "softmax(logits)[fake]"),
        (("video,label,score", "a,0,inf"), "outside", "softmax"),
        (("video,label,score", "a,0"), "line 2, has 2 cells, but the header 3", "quote text"),
        (("video,label,score", ",0,0.5"), "line 2, has no video", "its video"),
        (("video,label,score", "a,0,0.5", "b,0,0.5", "a,0,0.6"), "line 4, repeats line 2: 'a'", "column"),
        (("video,label,score",), "has no scores", "a line for each video"),
        (("",), "no column", "video,label,score"),
        (("video,label,score", '"a"b,0,0.5'), "line 2, is not valid CSV", "quote text"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_errors_name_the_line(write_and_read, lines, message, hint):
    with pytest.raises(UsageError) as caught:
        write_and_read(*lines)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_line_numbers_are_correct_across_line_breaks_and_chunks(write_and_read):
    rows = [f"v{row},{row % 2},0.5" for row in range(2 * module.CHUNK_LINES)]
    with pytest.raises(UsageError, match=rf"line {len(rows) + 5}, has the score"):
        write_and_read("video,label,score", *rows, "", '"two', 'lines",0,0.5', "last,0,2")


def test_videos_are_identified_by_data_set_kind_and_label(write_and_read):
    head = "dataset,kind,video,label,score"
    scores = write_and_read(head, "A,swap,v,1,0.5", "A,morph,v,1,0.5", "B,swap,v,1,0.5", "A,swap,v,0,0.5")
    assert len(by_video(scores)) == 4
    with pytest.raises(UsageError, match="repeats line 2"):
        write_and_read(head, "A,swap,v,1,0.5", "A,swap,v,1,0.5")


def test_a_video_without_a_group_is_its_own_group(write_and_read):
    scores = write_and_read(
        "dataset,video,frame,group,label,score",
        "A,a,0,g,0,0.5",
        "A,b,0,g,1,0.5",
        "A,c,0,,1,0.5",
        "A,c,1,,1,0.5",
        "A,d,0,,0,0.5",
        "B,a,0,g,0,0.5",
    )
    groups = scores.groups().tolist()
    assert [groups.index(group) for group in groups] == [0, 0, 2, 2, 4, 5]
    assert scores.group_names() == ["g", "g", "c", "c", "d", "g"]
    assert by_video(scores).groups().tolist() == [groups[row] for row in (0, 1, 2, 4, 5)]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv cannot be read: No such file"):
        read_scores(tmp_path / "none.csv")


def test_frames_are_averaged_per_video(write_and_read):
    videos = by_video(
        write_and_read(
            "video,frame,label,score,group,status",
            "late,0,1,0.75,g,ok",
            "early,0,0,0.5,h,ok",
            "late,1,1,0.25,g,ok",
            "late,2,1,,g,unreadable",
            "none,0,0,,h,unreadable",
        )
    )
    assert videos.video.texts() == ["late", "early", "none"], "in order of first appearance"
    np.testing.assert_array_equal(videos.scores, [0.5, 0.5, np.nan])
    assert videos.frames.tolist() == [2, 1, 0]
    assert videos.labels.tolist() == [1, 0, 0]
    assert videos.group.texts() == ["g", "h", "h"]
    assert videos.status.texts()[2] == "unreadable"
    assert not videos.frame.has_values
    again = by_video(videos)
    np.testing.assert_array_equal(again.scores, videos.scores)
    assert again.frames.tolist() == videos.frames.tolist()


def test_scores_round_trip(write_and_read, tmp_path):
    scores = write_and_read(
        "video,frame,label,score,kind", 'a,0,0,0.1,"x, y"', "a,1,0,0.30000000000000004,", "b,0,1,,z"
    )
    write_scores(tmp_path / "frames.csv", scores)
    again = read_scores(tmp_path / "frames.csv")
    np.testing.assert_array_equal(again.scores, scores.scores)
    for name in module.TEXTS:
        assert getattr(again, name).texts() == getattr(scores, name).texts()
    write_scores(tmp_path / "videos.csv", by_video(scores))
    lines = (tmp_path / "videos.csv").read_text().splitlines()
    assert lines[0] == "dataset,kind,label,split,video,group,frames,status,score"
    # The two frames of `a` have different kinds, so they are different videos.
    assert lines[1:] == [',"x, y",0,,a,,1,,0.1', ",,0,,a,,1,,0.30000000000000004", ",z,1,,b,,0,,"]


def test_keys_are_unique_even_if_their_product_overflows():
    rows = np.arange(3000, dtype=np.int32)
    column = Column(tuple(str(number) for number in range(3000)), rows)
    names = dict.fromkeys(module.TEXTS, column)
    scores = module.Scores(rows % 2, np.full(3000, 0.5), np.ones(3000, int), **names)
    assert len(np.unique(scores.key(module.TEXTS))) == 3000
    repeated = scores.take(np.r_[5, 9, 5])
    assert (repeated.key(module.TEXTS) == repeated.key(module.TEXTS)[0]).tolist() == [True, False, True]


def test_columns_of_different_length_are_rejected():
    short, column = Column.of(["a"]), Column.of(["a", "b"])
    names = dict.fromkeys(module.TEXTS, column)
    with pytest.raises(ValueError, match="differ in length"):
        module.Scores(np.zeros(2, int), np.zeros(2), np.ones(2, int), **(names | {"kind": short}))
