"""Replicas of FaceForensics++ and of what is made from its videos, counted by hand."""

import json
from collections.abc import Mapping

from .replicas import MANIPULATED, YOUTUBE
from .road import Road, put, sequence

#: The lists of FaceForensics++: of the test videos one pair is whole.
LISTS = {
    "train.json": json.dumps([["071", "054"]]),
    "val.json": json.dumps([["720", "672"]]),
    "test.json": json.dumps([["953", "974"], ["001", "002"]]),
}
#: Its reals: 001 shows no face, 002 is not there, and what is compressed otherwise is not asked for.
REALS = (
    put(f"{YOUTUBE}/c23/videos", "071 054 720 672 953 974", "real")
    | put(f"{YOUTUBE}/c23/videos", "001", "blank")
    | put(f"{YOUTUBE}/c40/videos", "071 054", "real")
)
FF_REAL = {"FF-real train": "ok 2", "FF-real val": "ok 2", "FF-real test": "ok 2, no_face 1, error 1"}


def method(folder: str, whole: str, masks: str, **odd: str) -> dict[str, str]:
    """Lay fakes of FaceForensics++ and the masks of some."""
    home = f"{MANIPULATED}/{folder}"
    laid = put(f"{home}/c23/videos", whole, "fake") | put(f"{home}/masks/videos", masks, "mask")
    for what, names in odd.items():
        laid |= put(f"{home}/c23/videos", names, what)
    return laid


FACEFORENSICS = Road(
    "FaceForensics++",
    LISTS
    | REALS
    | method("Deepfakes", "071_054 953_974 974_953", "071_054 953_974 974_953 001_002", empty="001_002")
    | method("Face2Face", "720_672 953_974", "953_974", blank="974_953")
    | method("FaceSwap", "953_974 974_953", "974_953")
    | method("NeuralTextures", "672_720 953_974 974_953 001_002", "672_720 953_974 974_953 001_002"),
    # Lists name two videos a method in train and val, and four in test.
    FF_REAL
    | {
        "FF-DF train": "ok 1, error 1",
        "FF-DF val": "error 2",
        "FF-DF test": "ok 2, decode_error 1, error 1",
        "FF-F2F train": "error 2",
        "FF-F2F val": "ok 1, error 1",
        "FF-F2F test": "ok 1, no_face 1, error 2",
        "FF-FS train": "error 2",
        "FF-FS val": "error 2",
        "FF-FS test": "ok 2, error 2",
        "FF-NT train": "error 2",
        "FF-NT val": "ok 1, error 1",
        "FF-NT test": "ok 3, error 1",
    },
    videos=(2, 8),
    frames=(4, 16),
    missing={"no_face": 2, "decode_error": 1, "error": 7},
    masks={"FF-DF": 3, "FF-F2F": 1, "FF-FS": 1, "FF-NT": 4},
    protocol="in-domain",
)

#: One manipulation may be prepared alone, and evaluated under its own name.
FACE2FACE = Road(
    "FF-F2F",
    LISTS
    | REALS
    | method("Face2Face", "720_672 953_974 002_001", "953_974", blank="974_953", empty="001_002"),
    FF_REAL
    | {
        "FF-F2F train": "error 2",
        "FF-F2F val": "ok 1, error 1",
        "FF-F2F test": "ok 2, no_face 1, decode_error 1",
    },
    videos=(2, 2),
    frames=(4, 4),
    missing={"no_face": 2, "decode_error": 1, "error": 1},
    masks={"FF-F2F": 1},
)

FACESHIFTER = Road(
    "FaceShifter",
    LISTS
    | REALS
    | method("FaceShifter", "071_054 720_672 953_974 974_953", "953_974", blank="054_071", empty="001_002"),
    FF_REAL
    | {
        "FF-FH train": "ok 1, no_face 1",
        "FF-FH val": "ok 1, error 1",
        "FF-FH test": "ok 2, decode_error 1, error 1",
    },
    videos=(2, 2),
    frames=(4, 4),
    missing={"no_face": 1, "decode_error": 1, "error": 2},
    masks={"FF-FH": 1},
)

_ACTORS = "original_sequences/actors/c23/videos"
DEEPFAKEDETECTION = Road(
    "DeepFakeDetection",
    put(_ACTORS, "01__exit_phone_room 02__hugging_happy", "real")
    | put(_ACTORS, "03__podium_speech_happy", "gone")
    | method(
        "DeepFakeDetection",
        "01_02__exit_phone_room__YVGY8LOK",
        "01_02__exit_phone_room__YVGY8LOK",
        blank="02_01__hugging_happy__AAAAAAAA",
        empty="02_03__hugging_happy__BBBBBBBB",
    ),
    # There are no lists: every video is in every split, and has its masks there.
    {f"DFD_real {split}": "ok 2, error 1" for split in ("train", "val", "test")}
    | {f"DFD_fake {split}": "ok 1, no_face 1, decode_error 1" for split in ("train", "val", "test")},
    videos=(2, 1),
    frames=(4, 2),
    missing={"no_face": 1, "decode_error": 1, "error": 1},
    masks={"DFD_fake": 3},
)


DEEPERFORENSICS = Road(
    "DeeperForensics-1.0",
    {
        "lists/splits/train.txt": "071_W008.mp4\n",
        "lists/splits/val.txt": "720_M004.mp4\n",
        "lists/splits/test.txt": "953_W101.mp4\n974_M101.mp4\n001_M101.mp4\n002_W101.mp4\n",
    }
    | put("manipulated_videos/end_to_end", "071_W008 953_W101 974_M101", "fake")
    | put("manipulated_videos/end_to_end", "001_M101", "blank")
    | put("manipulated_videos/end_to_end", "002_W101", "empty")
    | put("manipulated_videos/end_to_end_level_1", "071_W008 953_W101", "fake")
    | put("source_videos/W101", "W101_light_up_happy_camera_front", "real")
    | REALS,
    # A real is the video that was changed, each once: its number is that of the swap.
    {
        "DF_real train": "ok 1",
        "DF_fake train": "ok 1",
        "DF_real val": "ok 1",
        "DF_fake val": "error 1",
        "DF_real test": "ok 2, no_face 1, error 1",
        "DF_fake test": "ok 2, no_face 1, decode_error 1",
    },
    videos=(2, 2),
    frames=(4, 4),
    missing={"no_face": 2, "decode_error": 1, "error": 1},
)

#: Where DF40 takes its reals from, by the domain, and the videos of theirs that are tested.
_FF_REALS = f"FaceForensics++/{YOUTUBE}/c23"
_CDF_LIST = {
    "Celeb-DF-v2/List_of_testing_videos.txt": (
        "1 YouTube-real/00170.mp4\n1 Celeb-real/id1_0007.mp4\n1 Celeb-real/id2_0001.mp4\n"
        "1 Celeb-real/id3_0001.mp4\n0 Celeb-synthesis/id1_id0_0007.mp4\n"
    )
}
_FF_LIST = {"FaceForensics++/test.json": LISTS["test.json"]}


def df40(domain: str, files: Mapping[str, str], missing: Mapping[str, int], *became: str) -> Road:
    """A method against the tested reals of its domain, of which two show a face, as do two fakes."""
    row = {"ff": "qtfp", "cdf": "corit"}[domain]
    return Road(
        f"uniface_{domain}",
        files,
        {f"uniface_{word} test": counts for word, counts in zip(("Real", "Fake"), became, strict=True)},
        videos=(2, 2),
        frames=(4, 4),
        missing=missing,
        protocol=f"df40-{domain}",
        row=row,
    )


DF40_FF_VIDEOS = df40(
    "ff",
    _FF_LIST
    | put(f"{_FF_REALS}/videos", "953 974 071", "real")
    | put(f"{_FF_REALS}/videos", "001", "empty")
    | sequence(f"{_FF_REALS}/frames/002", "real")
    | put("uniface/ff", "953_974 974_953", "fake")
    | put("uniface/ff", "001_002", "blank"),
    {"no_face": 1, "decode_error": 1, "error": 1},
    "ok 2, decode_error 1, error 1",
    "ok 2, no_face 1",
)
DF40_FF_PICTURES = df40(
    "ff",
    _FF_LIST
    | sequence(f"{_FF_REALS}/frames/953", "real", "real")
    | sequence(f"{_FF_REALS}/frames/974", "real", "empty", "real")
    | sequence(f"{_FF_REALS}/frames/001", "empty")
    | put(f"{_FF_REALS}/videos", "002", "real")
    | sequence("uniface/ff/frames/953_974", "fake", "fake")
    | sequence("uniface/ff/frames/974_953", "fake", "blank", "fake")
    | sequence("uniface/ff/frames/001_002", "blank")
    | sequence("uniface/ff/masks/953_974", "blank"),
    {"no_face": 1, "decode_error": 1, "error": 1},
    "ok 2, decode_error 1, error 1",
    "ok 2, no_face 1",
)
DF40_CDF_VIDEOS = df40(
    "cdf",
    _CDF_LIST
    | put("Celeb-DF-v2/YouTube-real", "00170 00011", "real")
    | put("Celeb-DF-v2/Celeb-real", "id1_0007", "real")
    | put("Celeb-DF-v2/Celeb-real", "id2_0001", "blank")
    | put("uniface/cdf", "id0_id1_0000 id1_id0_0007", "fake")
    | put("uniface/cdf", "id2_id1_0001", "empty"),
    {"no_face": 1, "decode_error": 1, "error": 1},
    "ok 2, no_face 1, error 1",
    "ok 2, decode_error 1",
)
DF40_CDF_PICTURES = df40(
    "cdf",
    _CDF_LIST
    | sequence("Celeb-DF-v2/YouTube-real/frames/00170", "real", "real")
    | sequence("Celeb-DF-v2/Celeb-real/frames/id1_0007", "real", "real")
    | sequence("Celeb-DF-v2/Celeb-real/frames/id2_0001", "blank", "blank")
    | sequence("uniface/cdf/frames/id0_id1_0000", "fake", "fake")
    | sequence("uniface/cdf/frames/id1_id0_0007", "fake", "fake")
    | sequence("uniface/cdf/frames/id2_id1_0001", "gone"),
    {"no_face": 1, "decode_error": 1, "error": 1},
    "ok 2, no_face 1, error 1",
    "ok 2, decode_error 1",
)
