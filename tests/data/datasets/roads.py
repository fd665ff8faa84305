"""Small replicas of every data set, of clips, and what is to come of each, counted by hand."""

import json
from collections.abc import Mapping

from .faceforensics_roads import (
    DEEPERFORENSICS,
    DEEPFAKEDETECTION,
    DF40_CDF_PICTURES,
    DF40_CDF_VIDEOS,
    DF40_FF_PICTURES,
    DF40_FF_VIDEOS,
    FACE2FACE,
    FACEFORENSICS,
    FACESHIFTER,
)
from .road import Road, put, sequence


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

#: Crops that others have cut, in a folder `frames` or not, with folders beside them that are no videos.
UADFV_PICTURES = Road(
    "UADFV",
    sequence("real/frames/0000", "real", "real")
    | sequence("real/frames/0001", "blank")
    | sequence("real/landmarks/0000", "blank")
    | sequence("fake/0000_fake", "fake", "empty", "fake", "empty", "fake")
    | sequence("fake/0001_fake", "empty", "gone")
    | sequence("fake/masks/0000_fake", "blank"),
    {f"UADFV_Real {split}": "ok 1, no_face 1" for split in ("train", "val", "test")}
    | {f"UADFV_Fake {split}": "ok 1, decode_error 1" for split in ("train", "val", "test")},
    videos=(1, 1),
    frames=(2, 2),
    missing={"no_face": 1, "decode_error": 1},
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
