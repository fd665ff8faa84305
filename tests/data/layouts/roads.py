"""Small replicas of every data set, of clips, and what is to come of each, counted by hand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from .replicas import MANIPULATED, YOUTUBE, empty


@dataclass(frozen=True)
class Road:
    """A replica and its counts.

    Attributes:
        dataset: Its name.
        files: Path of each file -> what it shows, or says.
        became: `kind split` -> how many videos of each status, without those of which there are none.
        videos: How many reals and fakes of the test split have a score.
        frames: How many frames they have.
        missing: Why others of that split have none -> how many.
        masks: Kind -> how many of its videos have masks, in whatever split.
        protocol: Which protocol tests it.
        row: Whose test sets.
    """

    dataset: str
    files: Mapping[str, str]
    became: Mapping[str, str]
    videos: tuple[int, int]
    frames: tuple[int, int]
    missing: Mapping[str, int]
    masks: Mapping[str, int] = field(default_factory=dict)
    protocol: str = "cross-dataset"
    row: str = "qtfp"


def put(folder: str, names: str, what: str, suffix: str = ".mp4") -> dict[str, str]:
    """Lay the same clip under each name."""
    return dict.fromkeys(empty(folder, names, suffix), what)


def sequence(folder: str, *pictures: str) -> dict[str, str]:
    """Lay pictures into a folder, by the numbers of frames that end past a change of digits."""
    return {f"{folder}/{8 + at}.png": what for at, what in enumerate(pictures)}


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


def celeb_df(version: int) -> Road:
    """The numbers in its list are the other way round: 1 is real."""
    kind = f"CelebDFv{version}"
    tested = (
        "1 YouTube-real/00170.mp4\n1 Celeb-real/id1_0007.mp4\n1 Celeb-real/id2_0001.mp4\n"
        "0 Celeb-synthesis/id1_id0_0007.mp4\n0 Celeb-synthesis/id1_id2_0007.mp4\n"
        "0 Celeb-synthesis/id2_id0_0001.mp4\n0 Celeb-synthesis/id2_id1_0001.mp4\n"
    )
    files = (
        {"List_of_testing_videos.txt": tested}
        | put("YouTube-real", "00170 00011", "real")
        | put("Celeb-real", "id0_0002 id1_0007", "real")
        | put("Celeb-synthesis", "id0_id1_0002 id1_id0_0007 id1_id2_0007", "fake")
        | put("Celeb-synthesis", "id2_id0_0001", "blank")
        | put("Celeb-synthesis", "id2_id1_0001", "empty")
    )
    # What the list names is `val` as well; id2_0001 is not there.
    tested_reals, tested_fakes = "ok 2, error 1", "ok 2, no_face 1, decode_error 1"
    became = {f"{kind}_real train": "ok 2", f"{kind}_fake train": "ok 1"}
    for split in ("val", "test"):
        became |= {f"{kind}_real {split}": tested_reals, f"{kind}_fake {split}": tested_fakes}
    missing = {"no_face": 1, "decode_error": 1, "error": 1}
    return Road(f"Celeb-DF-v{version}", files, became, videos=(2, 2), frames=(4, 4), missing=missing)


DFDC = Road(
    "DFDC",
    {
        "test/labels.csv": "filename,label\nb.mp4,0\na.mp4,1\nc.mp4,1\nd.mp4,0\ne.mp4,1\nf.mp4,0\n",
        "validation/labels.csv": "filename,label\ng.mp4,1\nh.mp4,0\n",
        "train/dfdc_train_part_0/metadata.json": json.dumps(
            {
                "y.mp4": {"label": "REAL", "split": "train"},
                "x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"},
            }
        ),
    }
    | put("test", "b d", "real")
    | put("test", "a", "fake")
    | put("test", "c", "blank")
    | put("test", "e", "empty")
    | put("validation", "g", "fake")
    | put("validation", "h", "real")
    | put("train/dfdc_train_part_0", "x", "fake"),
    {
        "DFDC_Real train": "error 1",
        "DFDC_Fake train": "ok 1",
        "DFDC_Real val": "ok 1",
        "DFDC_Fake val": "ok 1",
        "DFDC_Real test": "ok 2, error 1",
        "DFDC_Fake test": "ok 1, no_face 1, decode_error 1",
    },
    videos=(2, 1),
    frames=(4, 2),
    missing={"no_face": 1, "decode_error": 1, "error": 1},
)

_PEOPLE = "643049/643049"
DFDCP = Road(
    "DFDCP",
    {
        "dataset.json": json.dumps(
            {
                f"original_videos/{_PEOPLE}_A_001.mp4": {"label": "real", "set": "train"},
                f"original_videos/{_PEOPLE}_C_000.mp4": {"label": "real", "set": "test"},
                f"original_videos/{_PEOPLE}_C_001.mp4": {"label": "real", "set": "test"},
                f"original_videos/{_PEOPLE}_C_002.mp4": {"label": "real", "set": "test"},
                "method_A/1/1_A/1_2_A_001.mp4": {"label": "fake", "set": "train"},
                "method_A/1/1_A/1_2_A_002.mp4": {"label": "fake", "set": "test"},
                "method_A/1/1_A/1_2_A_003.mp4": {"label": "fake", "set": "test"},
                "method_B/1/1_C/1_2_C_003.mp4": {"label": "fake", "set": "test"},
                "method_B/1/1_C/1_2_C_004.mp4": {"label": "fake", "set": "test"},
            }
        )
    }
    | put("original_videos/643049", "643049_A_001 643049_C_000 643049_C_001", "real")
    | put("original_videos/643049", "643049_C_002", "blank")
    | put("method_A/1/1_A", "1_2_A_001 1_2_A_002", "fake")
    | put("method_A/1/1_A", "1_2_A_003", "empty")
    | put("method_B/1/1_C", "1_2_C_003", "fake"),
    {
        "DFDCP_Real train": "ok 1",
        "DFDCP_Real test": "ok 2, no_face 1",
        "DFDCP_FakeA train": "ok 1",
        "DFDCP_FakeA test": "ok 1, decode_error 1",
        "DFDCP_FakeB test": "ok 1, error 1",
    },
    videos=(2, 2),
    frames=(4, 4),
    missing={"no_face": 1, "decode_error": 1, "error": 1},
)

UADFV_VIDEOS = Road(
    "UADFV",
    put("real", "0000 0001", "real")
    | put("real", "0002", "blank")
    | put("fake", "0000_fake", "fake")
    | put("fake", "0001_fake", "empty")
    | put("fake", "0002_fake", "gone"),
    {f"UADFV_Real {split}": "ok 2, no_face 1" for split in ("train", "val", "test")}
    | {f"UADFV_Fake {split}": "ok 1, decode_error 1, error 1" for split in ("train", "val", "test")},
    videos=(2, 1),
    frames=(4, 2),
    missing={"no_face": 1, "decode_error": 1, "error": 1},
)

#: Crops that others have cut, with folders beside them that are no videos.
UADFV_PICTURES = Road(
    "UADFV",
    sequence("real/frames/0000", "real", "real")
    | sequence("real/frames/0001", "blank")
    | sequence("real/landmarks/0000", "blank")
    | sequence("fake/frames/0000_fake", "fake", "empty", "fake", "empty", "fake")
    | sequence("fake/frames/0001_fake", "empty", "gone"),
    {f"UADFV_Real {split}": "ok 1, no_face 1" for split in ("train", "val", "test")}
    | {f"UADFV_Fake {split}": "ok 1, decode_error 1" for split in ("train", "val", "test")},
    videos=(1, 1),
    frames=(2, 2),
    missing={"no_face": 1, "decode_error": 1},
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

WILDDEEPFAKE = Road(
    "WildDeepfake",
    sequence("real_test/0/real/103", "real", "real", "blank", "real")
    | sequence("real_test/0/real/20", "real")
    | sequence("real_test/3/real/5", "blank", "blank")
    | sequence("fake_test/1/fake/0", "fake", "empty", "fake")
    | sequence("fake_test/1/fake/1", "blank", "fake")
    | sequence("fake_test/2/fake/0", "empty", "gone")
    | sequence("real_train/0/real/1", "real", "real")
    | sequence("fake_train/0/fake/1", "fake", "gone"),
    {
        "WDF_Real train": "ok 1",
        "WDF_Fake train": "ok 1",
        "WDF_Real test": "ok 2, no_face 1",
        "WDF_Fake test": "ok 2, decode_error 1",
    },
    videos=(2, 2),
    # The first and the last picture of each: two and one of the reals, two and one of the fakes.
    frames=(3, 3),
    missing={"no_face": 1, "decode_error": 1},
)

FFIW = Road(
    "FFIW",
    put("source/train", "a", "real")
    | put("target/train", "a", "fake")
    | put("target_mask/train", "a", "mask")
    | put("source/val", "c", "real")
    | put("target/val", "c", "blank")
    | put("source/test", "d e", "real")
    | put("source/test", "f", "empty")
    | put("target/test", "d e", "fake")
    | put("target/test", "f", "blank")
    | put("target/test", "g", "gone")
    | put("target_mask/test", "d f", "mask"),
    {
        "FFIW_Real train": "ok 1",
        "FFIW_Fake train": "ok 1",
        "FFIW_Real val": "ok 1",
        "FFIW_Fake val": "no_face 1",
        "FFIW_Real test": "ok 2, decode_error 1",
        "FFIW_Fake test": "ok 2, no_face 1, error 1",
    },
    videos=(2, 2),
    frames=(4, 4),
    missing={"no_face": 1, "decode_error": 1, "error": 1},
    masks={"FFIW_Fake": 2},
)

FOLDERS = Road(
    "folders",
    put("real", "one", "real")
    | sequence("real/deep/er", "real", "real", "real")
    | put("real", "still", "real", ".png")
    | put("real", "gone", "gone")
    | put("fake", "two", "fake")
    | put("fake", "bad", "empty")
    | put("fake", "still", "fake", ".png")
    | sequence("fake/none", "blank"),
    {"real test": "ok 3, error 1", "fake test": "ok 2, no_face 1, decode_error 1"},
    videos=(3, 2),
    # A video, a sequence of three and a picture; a video and a picture.
    frames=(5, 3),
    missing={"no_face": 1, "decode_error": 1, "error": 1},
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

#: What a road is called in a test -> the road.
ROADS: Mapping[str, Road] = {
    "FaceForensics++": FACEFORENSICS,
    "FF-F2F": FACE2FACE,
    "FaceShifter": FACESHIFTER,
    "DeepFakeDetection": DEEPFAKEDETECTION,
    "Celeb-DF-v1": celeb_df(1),
    "Celeb-DF-v2": celeb_df(2),
    "DFDC": DFDC,
    "DFDCP": DFDCP,
    "UADFV": UADFV_VIDEOS,
    "UADFV as pictures": UADFV_PICTURES,
    "DeeperForensics-1.0": DEEPERFORENSICS,
    "WildDeepfake": WILDDEEPFAKE,
    "FFIW": FFIW,
    "folders": FOLDERS,
    "DF40 ff": DF40_FF_VIDEOS,
    "DF40 ff as pictures": DF40_FF_PICTURES,
    "DF40 cdf": DF40_CDF_VIDEOS,
    "DF40 cdf as pictures": DF40_CDF_PICTURES,
}
