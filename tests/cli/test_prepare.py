"""`deepscan prepare` as a user runs it, on the sample videos."""

import json
import signal

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import read_benchmark
from deepscan.data.crops.prepared_files import read_crop_recipe
from deepscan.errors import ExitCode
from deepscan.faces.align import align
from deepscan.faces.following import FollowState, search_or_follow
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.frames import Frame
from deepscan.media.jobs import DecodeJob, DecodeOptions, FrameReady
from deepscan.media.pool import DecodePool
from tests import toy
from tests.command import SAMPLES, deepscan, kill, start, wait_for
from tests.terminal import at_a_terminal


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Plain folders: four real videos (one without a face), a swapped one and an empty file."""
    root = tmp_path_factory.mktemp("mine")
    for name in ("real_astronaut", "real_hopper", "two_persons", "no_face"):
        (root / "real").mkdir(exist_ok=True)
        (root / "real" / f"{name}.mp4").symlink_to(SAMPLES / f"{name}.mp4")
    (root / "fake").mkdir()
    (root / "fake" / "swapped.mp4").symlink_to(SAMPLES / "swapped.mp4")
    (root / "fake" / "empty.mp4").touch()
    return root


def command(root, out, *more):
    return ("prepare", "folders", "--root", root, "--out", out, "--frames", "2", *more)


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """An uninterrupted run, and its output folder."""
    out = tmp_path_factory.mktemp("whole")
    return deepscan(*command(root, out)), out


def lines(out):
    return {
        (line["kind"], line["name"]): line
        for line in map(json.loads, (out / "folders.videos.jsonl").read_text().splitlines())
    }


def test_every_video_has_a_status_and_every_drop_a_reason(whole):
    ran, out = whole
    assert ran.code == ExitCode.SOME_FAILED, "the empty file failed; a video without a face is an outcome"
    assert ran.out == f"{out / 'folders.json'}\n", "nothing but the path on stdout"
    assert {key: (line["status"], line["faces"]) for key, line in lines(out).items()} == {
        ("real", "real_astronaut"): ("ok", 2),
        ("real", "real_hopper"): ("ok", 2),
        ("real", "two_persons"): ("ok", 2),
        ("real", "no_face"): ("no_face", 0),
        ("fake", "swapped"): ("ok", 2),
        ("fake", "empty"): ("decode_error", 0),
    }
    assert ran.err.splitlines()[-6:-1] == [
        "label  split  ok  no_face  decode_error  crops",
        "real   test    3        1             0      6",
        "fake   test    1        0             1      2",
        "dropped: 1 no_face: no face was found in 2 sampled frames (real/test/no_face)",
        "dropped: 1 decode_error: the file is empty (fake/test/empty)",
    ]
    videos = read_benchmark(out / "folders.json").videos
    assert [(video.label, video.name, len(video.frames)) for video in videos] == [
        (0, "real_astronaut", 2),
        (0, "real_hopper", 2),
        (0, "two_persons", 2),
        (1, "swapped", 2),
    ]


def test_crops_equal_those_of_a_scan(whole):
    _, out = whole
    frames = []
    with DecodePool(DecodeOptions(frames=2), 1) as pool:
        pool.submit(DecodeJob(0, str(SAMPLES / "two_persons.mp4").encode()))
        while pool.busy:
            for event in pool.poll(0.5):
                if isinstance(event, FrameReady):
                    frame = event.frame
                    frames.append(Frame(frame.index, frame.pts, frame.image.copy()))
                    event.release()
    faces = search_or_follow(Mtcnn("fast"), frames, [FollowState()] * len(frames))
    for frame, found in zip(frames, faces, strict=True):
        areas = [detection.width * detection.height for detection in found]
        assert len(found) == 2
        assert areas[0] == max(areas), "the largest face comes first"
        crop = cv2.imread(str(out / f"folders/real/frames/two_persons/{frame.index:03}.png"))[..., ::-1]
        expected = align(frame.image, found[0].landmarks, CropRecipe())
        assert crop.shape == expected.shape == (256, 256, 3)
        # The last digits of a network's sums depend on the batch, so that a pixel may be rounded differently.
        assert np.abs(crop.astype(int) - expected).max() <= 1
        assert (crop != expected).mean() < 1e-3


def test_a_run_resumed_after_kill_9_equals_an_uninterrupted_one(root, whole, tmp_path):
    journal = tmp_path / "folders.videos.jsonl"
    done = kill(start(*command(root, tmp_path, "--progress", "none")), journal, 2)
    assert not (tmp_path / "folders.json").exists(), "killed before it had ended"
    again = deepscan(*command(root, tmp_path))
    assert f"{6 - done} of 6 videos to cut, {done} already done" in again.err
    ran, out = whole
    assert again.code == ran.code
    assert lines(tmp_path) == lines(out)
    written = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    assert written == {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    same = [path for path in written if path.suffix == ".json"]
    assert all((tmp_path / path).read_bytes() == (out / path).read_bytes() for path in same)


def test_ctrl_c_shows_how_to_resume(root, tmp_path):
    process = start(*command(root, tmp_path, "--frames", "32"))
    journal = tmp_path / "folders.videos.jsonl"
    wait_for(process, journal)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert b"repeat the command" in err


def test_a_terminal_gets_a_transient_bar_and_a_pipe_plain_lines(root, whole, tmp_path):
    limited = command(root, tmp_path, "--limit", "2", "--kind", "real")
    ran = at_a_terminal("-m", "deepscan", *limited, piped=True)
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'folders.json'}\n")
    for words in ("folders: listing", "━", "2/2", "2 videos in", "dropped: 1 no_face"):
        assert words in ran.screen
    assert "\x1b" not in whole[0].err
    assert "━" not in whole[0].err


def test_the_crop_recipe_of_a_model_is_used_and_recorded(root, tmp_path):
    model = toy.model(tmp_path / "toy", side=64)
    out = tmp_path / "out"
    # The first real video has no face.
    limited = ("--limit", "2", "--kind", "real", "--progress", "none")
    ran = deepscan(*command(root, out, "--model", model, *limited))
    assert (ran.code, ran.err) == (ExitCode.OK, "")
    assert read_crop_recipe(out / "folders.json") == CropRecipe(side=64)
    (video,) = read_benchmark(out / "folders.json").videos
    assert cv2.imread(video.frames[0]).shape == (64, 64, 3)
    other = deepscan(*command(root, out)).refused(ExitCode.CONTRACT)
    assert "crop was" in other[0]
    assert "--overwrite" in other[1]


def test_the_list_shows_the_folders_of_each_data_set():
    ran = deepscan("prepare", "--list")
    assert ran.code == ExitCode.OK
    entries = {entry.splitlines()[0]: entry for entry in ran.out.split("\n\n")}
    assert {"FaceForensics++", "Celeb-DF-v2", "DFDC", "WildDeepfake", "folders"} <= entries.keys()
    assert "List_of_testing_videos.txt" in entries["Celeb-DF-v2"]
    assert "https://github.com/ondyari/FaceForensics" in entries["FaceForensics++"]
    (df40,) = [entry for names, entry in entries.items() if names.startswith("uniface_ff")]
    assert "simswap_ff" in df40
    assert "METHOD/ff" in df40


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["Celeb-DF-v3", "--root", ".", "--out", "o"], ExitCode.USAGE, "did you mean 'Celeb-DF-v"),
        ([], ExitCode.USAGE, "prepare --list"),
        (["UADFV", "--out", "o"], ExitCode.USAGE, "add --root DIR"),
        (["UADFV", "--root", "."], ExitCode.USAGE, "folder for the crops"),
        (["UADFV", "--root", "nowhere", "--out", "o"], ExitCode.MISSING, "folders real and fake"),
        (["Celeb-DF-v2", "--root", ".", "--out", "o"], ExitCode.MISSING, "List_of_testing_videos.txt"),
        (["df40-ff", "--root", ".", "--out", "o"], ExitCode.MISSING, "DF40"),
        (["df40", "--root", ".", "--out", "o", "--name", "x"], ExitCode.USAGE, "leave --name out"),
        (["UADFV", "--root", ".", "--out", "o", "--compression", "c23"], ExitCode.USAGE, "leave --c"),
        (["UADFV", "--root", ".", "--out", "o", "--model", "mtcnn"], ExitCode.USAGE, "name a detector"),
        (["UADFV", "--root", ".", "--out", "o", "--progress", "much"], ExitCode.USAGE, "plain"),
    ],
)
def test_wrong_options_say_what_to_do(arguments, code, words, tmp_path):
    assert words in deepscan("prepare", *arguments, cwd=tmp_path).refused(code)[1]
    assert not (tmp_path / "o").exists() or not any((tmp_path / "o").rglob("*.png"))


def test_a_missing_method_of_df40_is_skipped(tmp_path):
    base = tmp_path / "Celeb-DF-v2"
    for folder in ("Celeb-real", "YouTube-real", "Celeb-synthesis"):
        (base / folder).mkdir(parents=True)
    (base / "Celeb-real/id0_0000.mp4").symlink_to(SAMPLES / "real_hopper.mp4")
    (base / "List_of_testing_videos.txt").write_text("1 Celeb-real/id0_0000.mp4\n")
    fakes = tmp_path / "simswap/cdf"
    fakes.mkdir(parents=True)
    (fakes / "id0_id1_0000.mp4").symlink_to(SAMPLES / "swapped.mp4")
    out = tmp_path / "out"
    ran = deepscan("prepare", "df40-cdf", "--root", tmp_path, "--out", out, "--frames", "2")
    assert ran.code == ExitCode.OK, ran.err
    assert ran.out == f"{out / 'simswap_cdf.json'}\n"
    assert "skipped: uniface_cdf" in ran.err
    assert [video.kind for video in read_benchmark(out / "simswap_cdf.json").videos] == [
        "simswap_Real",
        "simswap_Fake",
    ]
