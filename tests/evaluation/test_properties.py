"""Score files and evaluation journals: whole lines come back, torn ones do not, mistakes are refused."""

import math
import os

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.errors import UsageError
from deepscan.evaluation.journal import FrameJournal, face_video_key, read_frames
from deepscan.evaluation.scores import TEXTS, Column, Scores, read_scores, write_scores

# File names are bytes; those that are not valid UTF-8 become lone surrogates.
CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from([*'",;\n\r \udcff', "é"])
NAMES = st.text(CHARACTERS, max_size=8)
SCORES = st.floats(0, 1) | st.just(math.nan)
ROW = st.fixed_dictionaries(
    {
        "video": NAMES.filter(bool),
        "label": st.integers(0, 1),
        "score": SCORES,
        **{name: NAMES for name in TEXTS if name not in ("video", "folder")},
    }
)


def identity(row):
    return tuple(row[name] for name in ("dataset", "kind", "split", "label", "video", "frame"))


ROWS = st.lists(ROW, min_size=1, max_size=6, unique_by=identity)


def scores_of(rows):
    values = np.array([row["score"] for row in rows])
    columns = {name: Column.of([row.get(name, "") for row in rows]) for name in TEXTS}
    labels = np.array([row["label"] for row in rows])
    return Scores(labels, values, (~np.isnan(values)).astype(np.int64), **columns)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("scores") / f"scores-{os.getpid()}.csv"


ODD = {"label": 0, "score": 0.1, "dataset": "a,b", "kind": "\r", "split": " ", "frame": "", "group": ""}


@given(ROWS)
@example([{**ODD, "video": " v", "status": '"'}, {**ODD, "video": "v", "status": "\n"}])
def test_scores_come_back_to_the_last_bit(path, rows):
    write_scores(path, scores_of(rows))
    read = read_scores(path)
    np.testing.assert_array_equal(read.scores, [row["score"] for row in rows])
    assert read.labels.tolist() == [row["label"] for row in rows]
    for name in TEXTS:
        if name != "folder":
            assert getattr(read, name).texts() == [row[name] for row in rows], name


@given(st.lists(SCORES, min_size=1, max_size=5), st.data())
def test_a_score_that_is_no_probability_is_refused_with_its_line(path, values, data):
    wrong = data.draw(
        st.floats(allow_nan=False).filter(lambda value: not 0 <= value <= 1).map(repr)
        | st.sampled_from(["nan", "NaN", "one", "0,5", "0.5.", "1e", "--1", "½"])
    )
    at = data.draw(st.integers(0, len(values)))
    cells = ["" if math.isnan(value) else repr(value) for value in values]
    cells.insert(at, wrong)
    table = "".join(f'v{row},{row % 2},"{cell}"\n' for row, cell in enumerate(cells))
    path.write_text("video,label,score\n" + table, encoding="utf-8")
    with pytest.raises(UsageError, match=rf"line {at + 2}, has the score") as caught:
        read_scores(path)
    assert caught.value.hint


@given(st.binary(max_size=60))
def test_a_file_of_any_bytes_is_read_or_refused_with_a_hint(path, content):
    path.write_bytes(b"video,label,score\n" + content)
    try:
        read = read_scores(path)
    except UsageError as error:
        assert error.hint
    else:
        assert len(read) >= 1
        assert all(math.isnan(score) or 0 <= score <= 1 for score in read.scores)


# A line break in a name is refused, see test_journal.
VIDEO_NAMES = st.text(CHARACTERS.filter(lambda c: c not in "\n\r"), min_size=1, max_size=6)


@st.composite
def videos(draw):
    """Videos with distinct keys, and a score for each of their frames."""
    drawn = []
    for name in draw(st.lists(VIDEO_NAMES, max_size=4, unique=True)):
        kind, label = draw(st.sampled_from([("real", 0), ("swap", 1)]))
        values = draw(st.lists(SCORES, max_size=3))
        paths = tuple(f"crops/{number:03}.png" for number in range(len(values)))
        drawn.append((FaceVideo("set", kind, label, "test", name, paths), values))
    return drawn


def append_all(path, drawn, *, resume):
    with FrameJournal(path, resume=resume) as journal:
        for video, values in drawn:
            if face_video_key(video) not in journal.done:
                journal.append(video, np.arange(len(values)), values)


@given(videos(), st.data())
def test_wherever_a_crash_cuts_an_evaluation_only_whole_videos_are_read(path, drawn, data):
    path.unlink(missing_ok=True)
    append_all(path, drawn, resume=False)
    whole = path.read_bytes()
    ends = [whole.index(b"\n") + 1]
    for _, values in drawn:
        end = ends[-1]
        for _ in range(max(len(values), 1)):
            end = whole.index(b"\n", end) + 1
        ends.append(end)
    for length in data.draw(st.lists(st.integers(0, len(whole)), min_size=1, max_size=8)):
        path.write_bytes(whole[:length])
        complete = sum(end <= length for end in ends[1:])
        with FrameJournal(path, resume=True) as journal:
            assert journal.done == {face_video_key(video) for video, _ in drawn[:complete]}
        kept = path.read_bytes()
        assert kept == whole[: ends[complete]], f"cut after {length} bytes"


@given(videos().filter(bool), st.data())
def test_an_evaluation_that_resumes_after_a_crash_writes_the_same_file(path, drawn, data):
    path.unlink(missing_ok=True)
    append_all(path, drawn, resume=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    append_all(path, drawn, resume=True)
    assert path.read_bytes() == whole
    read = read_frames(path)
    expected = [score for _, values in drawn for score in (values or [math.nan])]
    np.testing.assert_array_equal(read.scores, expected)
