"""The stream of scores: whole videos survive any crash, and a run goes on where it stopped."""

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


def test_what_was_written_comes_back_as_columns(path):
    read = read_frames(path)
    assert read.dataset.names == ("Celeb-DF-v2",)
    assert read.video.texts() == ["one"] * 3 + ["two, or 2"] * 3 + ["thrée"]
    assert read.labels.tolist() == [1, 1, 1, 0, 0, 0, 1]
    assert read.kind.texts()[2:4] == ["fake", "real"]
    assert read.frame.texts() == ["0", "1", "2", "0", "1", "2", "0"]
    assert read.group.texts()[-1] == "g2"
    assert read.folder.names == ("crops/one", "crops/two, or 2", "crops/thrée")
    assert read.scores[1] == np.float32(0.1) + np.float64(0.01), "to the last bit"
    assert by_video(read_scores(path)).frames.tolist() == [3, 3, 1], "and as anybody's file of scores"


def test_wherever_a_run_is_killed_it_goes_on_to_the_same_file(path, tmp_path):
    whole = path.read_bytes()
    torn = tmp_path / "torn.csv"
    for length in range(len(whole)):
        torn.write_bytes(whole[:length])
        write(torn, resume=True)
        assert torn.read_bytes() == whole, f"torn after {length} bytes"


def test_no_video_of_a_torn_file_is_read_in_part(path):
    whole = path.read_bytes()
    second = whole.index(b"two")
    path.write_bytes(whole[: whole.index(b"\n", second) + 1])
    assert read_frames(path).video.names == ("one",)
    with FrameJournal(path, resume=True) as journal:
        assert journal.done == {("Celeb-DF-v2", "fake", "test", "one")}


def test_a_finished_run_is_left_as_it_is(path):
    before = path.read_bytes()
    write(path, resume=True)
    assert path.read_bytes() == before


def test_a_file_is_not_written_over_unasked(path):
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        FrameJournal(path)
    assert path.read_bytes() == before


def test_frames_and_videos_without_a_score_are_kept_and_told(tmp_path):
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


def test_each_video_is_in_the_file_before_the_next(tmp_path):
    path = tmp_path / "frames.csv"
    with FrameJournal(path) as journal:
        journal.append(video("a"), [0], [0.5])
        assert len(read_frames(path)) == 1


def test_a_video_is_written_once(path):
    with FrameJournal(path, resume=True) as journal:
        with pytest.raises(UsageError, match="has the scores of Celeb-DF-v2/fake/test/one"):
            journal.append(VIDEOS[0], [0], [0.5])
        journal.append(video("one", kind="another"), [0], [0.5])


def test_names_that_would_break_a_line_are_refused_and_leave_no_trace(path):
    before = path.read_bytes()
    with FrameJournal(path, resume=True) as journal, pytest.raises(UsageError, match="line break"):
        journal.append(video("a\nb"), [0], [0.5])
    assert path.read_bytes() == before


def test_names_that_are_no_text_come_back_as_they_are(tmp_path):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    with FrameJournal(tmp_path / "frames.csv") as journal:
        journal.append(video(f" {name}"), [0], [0.5])
    assert read_frames(tmp_path / "frames.csv").video.names == (f" {name}",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0], *lines[2:]], "line 4, does not follow"),
        (lambda lines: [*lines, lines[1]], "line 9, does not follow"),
        (lambda lines: [*lines[:4], *lines[1:4], *lines[4:]], "line 5, does not follow"),
        (lambda lines: [*lines[:3], b"noise\n", *lines[3:]], "line 4, does not follow"),
        (lambda lines: [b"video,label,score\n", *lines[1:]], "no journal of this version"),
    ],
    ids=["line lost", "line again", "video again", "noise", "another header"],
)
def test_a_file_that_was_changed_is_refused(path, change, message):
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    for use in (read_frames, lambda where: FrameJournal(where, resume=True)):
        with pytest.raises(ContractError, match=message):
            use(path)


def test_a_full_disk_is_told(path, monkeypatch):
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


def test_a_journal_that_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DeepscanError, match="cannot be written"):
        FrameJournal(tmp_path / "folder.csv", resume=True)
