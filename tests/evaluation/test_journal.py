"""The journal of frame scores: complete videos survive any crash, and a run resumes after them."""

import numpy as np
import pytest

from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.errors import ContractError, DeepscanError, UsageError
from deepscan.evaluation.journal import FrameJournal, face_video_key, read_frames
from deepscan.evaluation.scores import by_video, read_scores


def video(name, label=1, frames=3, kind=None):
    paths = tuple(f"crops/{name}/{number:03}.png" for number in range(frames))
    return FaceVideo("Celeb-DF-v2", kind or ("real", "fake")[label], label, "test", name, paths)


VIDEOS = (video("one"), video("two, or 2", 0), video("thrée", frames=1))


def write(path, videos=VIDEOS, **options):
    with FrameJournal(path, **options) as journal:
        for index, item in enumerate(videos):
            if face_video_key(item) not in journal.done:
                numbers = np.arange(len(item.frames))
                journal.append(
                    item, numbers, np.float32(0.1) * (index + 1) + numbers / 100, group=f"g{index}"
                )


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "frames.csv")
    return tmp_path / "frames.csv"


def test_scores_are_read_back_as_columns(path):
    read = read_frames(path)
    assert read.dataset.names == ("Celeb-DF-v2",)
    assert read.video.texts() == ["one"] * 3 + ["two, or 2"] * 3 + ["thrée"]
    assert read.labels.tolist() == [1, 1, 1, 0, 0, 0, 1]
    assert read.kind.texts()[2:4] == ["fake", "real"]
    assert read.frame.texts() == ["0", "1", "2", "0", "1", "2", "0"]
    assert read.group.texts()[-1] == "g2"
    assert read.folder.names == ("crops/one", "crops/two, or 2", "crops/thrée")
    assert read.scores[1] == np.float32(0.1) + np.float64(0.01), "exact to the last bit"
    assert by_video(read_scores(path)).frames.tolist() == [3, 3, 1], "also readable as a score file"


def test_a_run_killed_at_any_byte_resumes_to_the_same_file(path, tmp_path):
    whole = path.read_bytes()
    truncated = tmp_path / "torn.csv"
    for length in range(len(whole)):
        truncated.write_bytes(whole[:length])
        write(truncated, resume=True)
        assert truncated.read_bytes() == whole, f"truncated after {length} bytes"


def test_incomplete_videos_are_not_read(path):
    whole = path.read_bytes()
    second = whole.index(b"two")
    path.write_bytes(whole[: whole.index(b"\n", second) + 1])
    assert read_frames(path).video.names == ("one",)
    with FrameJournal(path, resume=True) as journal:
        assert journal.done == {("Celeb-DF-v2", "fake", "test", "one")}


def test_resuming_a_finished_run_changes_nothing(path):
    before = path.read_bytes()
    write(path, resume=True)
    assert path.read_bytes() == before


def test_an_existing_file_is_not_overwritten(path):
    before = path.read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        FrameJournal(path)
    assert path.read_bytes() == before


def test_frames_and_videos_without_a_score_are_kept_with_a_status(tmp_path):
    path = tmp_path / "frames.csv"
    with FrameJournal(path) as journal:
        journal.append(video("a"), [0, 2], [0.5, np.nan])
        journal.append(video("empty", frames=0), [], [])
        journal.append(video("b"), [1], [np.nan], status="no_face")
    read = read_frames(path)
    assert read.status.texts() == ["ok", "unreadable", "no_frames", "no_face"]
    assert np.isnan(read.scores).tolist() == [False, True, True, True]
    videos = by_video(read)
    assert (videos.frames.tolist(), videos.status.texts()) == ([1, 0, 0], ["ok", "no_frames", "no_face"])
    with FrameJournal(path, resume=True) as journal:
        assert len(journal.done) == 3


def test_each_video_is_flushed(tmp_path):
    path = tmp_path / "frames.csv"
    with FrameJournal(path) as journal:
        journal.append(video("a"), [0], [0.5])
        assert len(read_frames(path)) == 1


def test_a_video_is_written_once(path):
    with FrameJournal(path, resume=True) as journal:
        with pytest.raises(UsageError, match="already has the scores of Celeb-DF-v2/fake/test/one"):
            journal.append(VIDEOS[0], [0], [0.5])
        journal.append(video("one", kind="another"), [0], [0.5])


def test_names_with_line_breaks_are_rejected_and_not_written(path):
    before = path.read_bytes()
    with FrameJournal(path, resume=True) as journal, pytest.raises(UsageError, match="line break"):
        journal.append(video("a\nb"), [0], [0.5])
    assert path.read_bytes() == before


def test_names_that_are_not_utf8_round_trip(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    with FrameJournal(tmp_path / "frames.csv") as journal:
        journal.append(video(f" {name}"), [0], [0.5])
    assert read_frames(tmp_path / "frames.csv").video.names == (f" {name}",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0], *lines[2:]], "line 4, was modified"),
        (lambda lines: [*lines, lines[1]], "line 9, was modified"),
        (lambda lines: [*lines[:4], *lines[1:4], *lines[4:]], "line 5, was modified"),
        (lambda lines: [*lines[:3], b"noise\n", *lines[3:]], "line 4, was modified"),
        (lambda lines: [b"video,label,score\n", *lines[1:]], "not a journal of this version"),
    ],
    ids=["line lost", "line again", "video again", "noise", "another header"],
)
def test_a_modified_file_is_rejected(path, change, message):
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    for use in (read_frames, lambda where: FrameJournal(where, resume=True)):
        with pytest.raises(ContractError, match=message):
            use(path)


def test_a_full_disk_is_an_error(path, monkeypatch):
    with FrameJournal(path, resume=True) as journal:

        class Full:
            def write(self, _):
                raise OSError(28, "No space left on device")

            def close(self):
                pass

        monkeypatch.setattr(journal, "_file", Full())
        with pytest.raises(DeepscanError, match="No space left"):
            journal.append(video("a"), [0], [0.5])
        assert face_video_key(video("a")) not in journal.done


def test_a_journal_that_cannot_be_opened_is_an_error(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DeepscanError, match="cannot be written"):
        FrameJournal(tmp_path / "folder.csv", resume=True)
