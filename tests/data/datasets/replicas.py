"""Small replicas of every data set, with the expected outcomes counted by hand."""

import json
from collections.abc import Mapping

from deepscan.data.datasets import DF40_DOMAINS, DF40_METHODS

from .faceforensics_replicas import (
    DEEPERFORENSICS,
    DEEPFAKEDETECTION,
    FACEFORENSICS,
    FACESHIFTER,
    METHODS,
    df40,
    part,
)
from .replica import Replica, put, sequence


def celeb_df(version: int) -> Replica:
    """The labels in its list are inverted: 1 is real."""
    kind = f"CelebDFv{version}"
    # Listed videos are in `val` and `test`; id2_0001 is missing.
    reals = "00170 id1_0007 id2_0001:error"
    fakes = "id1_id0_0007 id1_id2_0007 id2_id0_0001:no_face id2_id1_0001:decode_error"
    return Replica(
        f"Celeb-DF-v{version}",
        {
            "List_of_testing_videos.txt": (
                "1 YouTube-real/00170.mp4\n1 Celeb-real/id1_0007.mp4\n1 Celeb-real/id2_0001.mp4\n"
                "0 Celeb-synthesis/id1_id0_0007.mp4\n0 Celeb-synthesis/id1_id2_0007.mp4\n"
                "0 Celeb-synthesis/id2_id0_0001.mp4\n0 Celeb-synthesis/id2_id1_0001.mp4\n"
            )
        }
        | put("YouTube-real", "00170 00011")
        | put("Celeb-real", "id0_0010 id0_0002 id1_0007")
        | put(
            "Celeb-synthesis",
            fake="id0_id1_0002 id1_id0_0007 id1_id2_0007",
            blank="id2_id0_0001",
            empty="id2_id1_0001",
        ),
        {
            f"{kind}_real train": "id0_0002 id0_0010 00011",
            f"{kind}_fake train": "id0_id1_0002",
            f"{kind}_real val": reals,
            f"{kind}_fake val": fakes,
            f"{kind}_real test": reals,
            f"{kind}_fake test": fakes,
        },
        ("List_of_testing_videos.txt", "Celeb-real", "YouTube-real", "Celeb-synthesis"),
    )


DFDC = Replica(
    "DFDC",
    {
        "test/labels.csv": "filename,label\nb.mp4,0\na.mp4,1\nc.mp4,1\nd.mp4,0\ne.mp4,1\nf.mp4,0\n",
        "validation/labels.csv": "filename,label\ng.mp4,1\nh.mp4,0\n",
        "train/dfdc_train_part_2/metadata.json": json.dumps(
            {
                "y.mp4": {"label": "REAL", "split": "train"},
                "x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"},
            }
        ),
        "train/dfdc_train_part_10/metadata.json": json.dumps({"w.mp4": {"label": "FAKE", "split": "train"}}),
    }
    | put("test", "b d", fake="a", blank="c", empty="e")
    | put("validation", "h", fake="g")
    | put("train/dfdc_train_part_2", fake="x")
    | put("train/dfdc_train_part_10", fake="w"),
    {
        "DFDC_Real train": "y:error",
        "DFDC_Fake train": "x w",
        "DFDC_Real val": "h",
        "DFDC_Fake val": "g",
        "DFDC_Real test": "b d f:error",
        "DFDC_Fake test": "a c:no_face e:decode_error",
    },
    ("test/labels.csv", "train/dfdc_train_part_10/metadata.json"),
)

_PEOPLE = "643049/643049"
DFDCP = Replica(
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
    | put("original_videos/643049", "643049_A_001 643049_C_000 643049_C_001", blank="643049_C_002")
    | put("method_A/1/1_A", fake="1_2_A_001 1_2_A_002", empty="1_2_A_003")
    | put("method_B/1/1_C", fake="1_2_C_003"),
    {
        "DFDCP_Real train": "643049_A_001",
        "DFDCP_Real test": "643049_C_000 643049_C_001 643049_C_002:no_face",
        "DFDCP_FakeA train": "1_2_A_001",
        "DFDCP_FakeA test": "1_2_A_002 1_2_A_003:decode_error",
        "DFDCP_FakeB test": "1_2_C_003 1_2_C_004:error",
    },
    ("dataset.json",),
)


def uadfv(files: dict[str, str], real: str, fake: str) -> Replica:
    """There are no split lists: every video is in every split."""
    videos = {
        f"UADFV_{kind} {split}": names
        for kind, names in (("Real", real), ("Fake", fake))
        for split in ("train", "val", "test")
    }
    return Replica("UADFV", files, videos, ("real", "fake"))


UADFV = uadfv(
    put("real", "0000 0001", blank="0002")
    | put("fake", fake="0000_fake", empty="0001_fake", gone="0002_fake"),
    "0000 0001 0002:no_face",
    "0000_fake 0001_fake:decode_error 0002_fake:error",
)

#: Crops of other tools, with or without a folder `frames`, next to folders of masks and landmarks.
UADFV_PICTURES = uadfv(
    sequence("real/frames/0000", "real", "real")
    | sequence("real/frames/0001", "blank")
    | sequence("real/landmarks/0000", "blank")
    | sequence("fake/0000_fake", "fake", "empty", "fake", "empty", "fake")
    | sequence("fake/0001_fake", "empty", "gone")
    | sequence("fake/masks/0000_fake", "blank"),
    "0000 0001:no_face",
    "0000_fake 0001_fake:decode_error",
)

WILDDEEPFAKE = Replica(
    "WildDeepfake",
    sequence("real_test/0/real/103", "real", "real", "blank", "real")
    | sequence("real_test/0/real/20", "real")
    | sequence("real_test/3/real/5", "blank", "blank")
    | sequence("fake_test/1/fake/0", "fake", "empty", "fake")
    | sequence("fake_test/1/fake/1", "blank", "fake")
    | sequence("fake_test/2/fake/0", "empty", "gone")
    | sequence("real_train/0/real/1", "real", "real")
    | sequence("fake_train/0/fake/1", "fake", "gone")
    | {"real_test/0.tar.gz": "", "fake_test/1.tar.gz": ""},
    {
        "WDF_Real train": "0_real_1",
        "WDF_Fake train": "0_fake_1",
        "WDF_Real test": "0_real_20 0_real_103 3_real_5:no_face",
        "WDF_Fake test": "1_fake_0 1_fake_1 2_fake_0:decode_error",
    },
    ("real_test", "fake_test", "fake_train"),
    # The first and the last picture of each: two and one of reals, two and one of fakes.
    frames=(3, 3),
)

FFIW = Replica(
    "FFIW",
    put("source/train", "a")
    | put("target/train", fake="a")
    | put("target_mask/train", mask="a")
    | put("source/val", "c")
    | put("target/val", blank="c")
    | put("source/test", "d e", empty="f")
    | put("target/test", fake="d e", blank="f", gone="g")
    | put("target_mask/test", mask="d f"),
    {
        "FFIW_Real train": "a",
        "FFIW_Fake train": "a",
        "FFIW_Real val": "c",
        "FFIW_Fake val": "c:no_face",
        "FFIW_Real test": "d e f:decode_error",
        "FFIW_Fake test": "d e f:no_face g:error",
    },
    ("source/test", "target/train"),
    masks={"FFIW_Fake": 2},
)

FOLDERS = Replica(
    "folders",
    put("real", "one", gone="gone")
    | sequence("real/deep/er", "real", "real", "real")
    | put("real", "still", suffix=".png")
    | put("fake", fake="two", empty="bad")
    | put("fake", fake="still", suffix=".png")
    | sequence("fake/none", "blank"),
    {
        "real test": "deep_er gone:error one still",
        "fake test": "bad:decode_error none:no_face two still",
    },
    ("real", "fake"),
    # Reals: a video, a sequence of three, a picture. Fakes: a video, a picture.
    frames=(5, 3),
)

#: Name of a data set -> its replica.
REPLICAS: Mapping[str, Replica] = {
    replica.dataset: replica
    for replica in (
        *(FACEFORENSICS, FACESHIFTER, DEEPFAKEDETECTION, celeb_df(1), celeb_df(2), DFDC, DFDCP, UADFV),
        *(DEEPERFORENSICS, WILDDEEPFAKE, FFIW, FOLDERS, *map(part, METHODS)),
        *(df40(f"{method}_{domain}") for domain in DF40_DOMAINS for method in DF40_METHODS),
    )
}
