"""Small replicas of data sets, of empty files, with what is in them counted by hand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepscan.data.datasets import DF40_METHODS


@dataclass(frozen=True)
class Replica:
    """A data set in small.

    Attributes:
        files: Paths under its root -> what is in them.
        videos: `kind split compression` -> names, both in the order in which they are given.
        needed: Files and folders without which there is no data set.
    """

    files: Mapping[str, str]
    videos: Mapping[str, str]
    needed: tuple[str, ...]

    def write(self, root: Path) -> Path:
        for name, text in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    @property
    def expected(self) -> list[tuple[str, str, str, str]]:
        wanted = []
        for key, names in self.videos.items():
            kind, split, *compression = key.split()
            wanted += [(kind, split, compression[0] if compression else "", name) for name in names.split()]
        return wanted


def empty(folder: str, names: str, suffix: str = ".mp4") -> dict[str, str]:
    return {f"{folder}/{name}{suffix}": "" for name in names.split()}


LISTS = {
    "train.json": json.dumps([["071", "054"], ["087", "081"]]),
    "val.json": json.dumps([["720", "672"]]),
    "test.json": json.dumps([["953", "974"]]),
}
IDS = "071 054 087 081 720 672 953 974"
SWAPS = "071_054 054_071 087_081 081_087 720_672 672_720 953_974 974_953"
YOUTUBE, MANIPULATED = "original_sequences/youtube", "manipulated_sequences"


def faceforensics(*methods: tuple[str, str]) -> Replica:
    """c23 of everything, and c40 of the first method and the reals."""
    files = LISTS | empty(f"{YOUTUBE}/c23/videos", IDS) | empty(f"{YOUTUBE}/c40/videos", IDS)
    videos = {}
    for compression in ("c23", "c40"):
        videos[f"FF-real train {compression}"] = "071 054 087 081"
        videos[f"FF-real val {compression}"] = "720 672"
        videos[f"FF-real test {compression}"] = "953 974"
    for kind, folder in methods:
        for compression in ("c23", "c40") if kind == methods[0][0] else ("c23",):
            files |= empty(f"{MANIPULATED}/{folder}/{compression}/videos", SWAPS)
            videos[f"{kind} train {compression}"] = "071_054 054_071 087_081 081_087"
            videos[f"{kind} val {compression}"] = "720_672 672_720"
            videos[f"{kind} test {compression}"] = "953_974 974_953"
    folders = tuple(f"{MANIPULATED}/{folder}" for _, folder in methods)
    return Replica(files, videos, ("train.json", "val.json", "test.json", YOUTUBE, *folders))


FOUR = (("FF-DF", "Deepfakes"), ("FF-F2F", "Face2Face"), ("FF-FS", "FaceSwap"), ("FF-NT", "NeuralTextures"))
ACTORS, SWAPPED = "01__exit_phone_room 02__hugging_happy", "01_02__exit_phone_room__YVGY8LOK"


def celeb_df(version: int) -> Replica:
    real, fake = f"CelebDFv{version}_real", f"CelebDFv{version}_fake"
    tested = "1 YouTube-real/00170.mp4\n1 Celeb-real/id1_0007.mp4\n0 Celeb-synthesis/id1_id0_0007.mp4\n"
    files = (
        {"List_of_testing_videos.txt": tested}
        | empty("Celeb-real", "id0_0010 id0_0002 id1_0007")
        | empty("YouTube-real", "00170 00011")
        | empty("Celeb-synthesis", "id0_id1_0002 id1_id0_0007")
    )
    videos = {
        f"{real} train": "id0_0002 id0_0010 00011",
        f"{fake} train": "id0_id1_0002",
        f"{real} val": "00170 id1_0007",
        f"{fake} val": "id1_id0_0007",
        f"{real} test": "00170 id1_0007",
        f"{fake} test": "id1_id0_0007",
    }
    return Replica(
        files, videos, ("List_of_testing_videos.txt", "Celeb-real", "YouTube-real", "Celeb-synthesis")
    )


DFDC = Replica(
    {
        "test/labels.csv": "filename,label\nb.mp4,0\na.mp4,1\nc.mp4,1\n",
        "validation/labels.csv": "filename,label\nd.mp4,1\n",
        "train/dfdc_train_part_2/metadata.json": json.dumps({"y.mp4": {"label": "REAL", "split": "train"}}),
        "train/dfdc_train_part_10/metadata.json": json.dumps(
            {"x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"}}
        ),
    }
    | empty("test", "a b c")
    | empty("validation", "d")
    | empty("train/dfdc_train_part_2", "y")
    | empty("train/dfdc_train_part_10", "x"),
    {
        "DFDC_Real train": "y",
        "DFDC_Fake train": "x",
        "DFDC_Fake val": "d",
        "DFDC_Real test": "b",
        "DFDC_Fake test": "a c",
    },
    ("test/labels.csv", "train/dfdc_train_part_10/metadata.json"),
)

DFDCP = Replica(
    {
        "dataset.json": json.dumps(
            {
                "original_videos/643049/643049_A_001.mp4": {"label": "real", "set": "train"},
                "original_videos/643049/643049_C_000.mp4": {"label": "real", "set": "test"},
                "method_A/643049/643049_A/1503310_643049_A_001.mp4": {"label": "fake", "set": "train"},
                "method_B/1224068/1224068_C/1231375_1224068_C_003.mp4": {"label": "fake", "set": "test"},
            }
        )
    }
    | empty("original_videos/643049", "643049_A_001 643049_C_000")
    | empty("method_A/643049/643049_A", "1503310_643049_A_001")
    | empty("method_B/1224068/1224068_C", "1231375_1224068_C_003"),
    {
        "DFDCP_Real train": "643049_A_001",
        "DFDCP_Real test": "643049_C_000",
        "DFDCP_FakeA train": "1503310_643049_A_001",
        "DFDCP_FakeB test": "1231375_1224068_C_003",
    },
    ("dataset.json",),
)

UADFV = Replica(
    empty("real", "0000 0001 0002") | empty("fake", "0000_fake 0001_fake"),
    {
        f"UADFV_{kind} {split}": names
        for kind, names in (("Real", "0000 0001 0002"), ("Fake", "0000_fake 0001_fake"))
        for split in ("train", "val", "test")
    },
    ("real", "fake"),
)

DEEPERFORENSICS = Replica(
    {
        "lists/splits/train.txt": "071_W008.mp4\n054_M101.mp4\n",
        "lists/splits/val.txt": "720_M004.mp4\n",
        "lists/splits/test.txt": "953_W101.mp4\n",
    }
    | empty("manipulated_videos/end_to_end", "071_W008 054_M101 720_M004 953_W101")
    | empty("manipulated_videos/end_to_end_level_1", "071_W008 054_M101 720_M004 953_W101")
    | empty("source_videos/W008", "W008_light_up_happy_camera_front")
    | empty(f"{YOUTUBE}/c23/videos", IDS),
    {
        "DF_real train": "071 054",
        "DF_real val": "720",
        "DF_real test": "953",
        "DF_fake train": "071_W008 054_M101",
        "DF_fake val": "720_M004",
        "DF_fake test": "953_W101",
    },
    (
        "lists/splits/train.txt",
        "lists/splits/val.txt",
        "lists/splits/test.txt",
        "manipulated_videos/end_to_end",
        f"{YOUTUBE}/c23/videos",
    ),
)

WILDDEEPFAKE = Replica(
    empty("real_test/0/real/103", "11 9", ".png")
    | empty("real_test/0/real/20", "1", ".png")
    | empty("real_test/3/real/5", "7", ".png")
    | empty("fake_test/1/fake/0", "4 30", ".png")
    | empty("real_train/0/real/1", "2", ".png")
    | empty("fake_train/0/fake/1", "2", ".png")
    | {"real_test/0.tar.gz": "", "fake_test/1.tar.gz": ""},
    {
        "WDF_Real train": "0_real_1",
        "WDF_Fake train": "0_fake_1",
        "WDF_Real test": "0_real_20 0_real_103 3_real_5",
        "WDF_Fake test": "1_fake_0",
    },
    ("real_test", "fake_test", "fake_train"),
)

FFIW = Replica(
    empty("source/train", "a b")
    | empty("target/train", "a b")
    | empty("target_mask/train", "a b")
    | empty("source/val", "c")
    | empty("target/val", "c")
    | empty("source/test", "d")
    | empty("target/test", "d e"),
    {
        "FFIW_Real train": "a b",
        "FFIW_Fake train": "a b",
        "FFIW_Real val": "c",
        "FFIW_Fake val": "c",
        "FFIW_Real test": "d",
        "FFIW_Fake test": "d e",
    },
    ("source/test", "target/train"),
)

FOLDERS = Replica(
    empty("real", "one two") | empty("fake/three", "0 1", ".png") | empty("fake", "four"),
    {"real test": "one two", "fake test": "four three"},
    ("real", "fake"),
)


def df40(method: str, domain: str) -> Replica:
    """One method of DF40 as cut-out faces, the reals of its domain in the same folder."""
    if domain == "ff":
        reals, listed, fakes = "FaceForensics++/original_sequences/youtube/c23/frames", "953 974", "953_974"
        files = {"FaceForensics++/test.json": LISTS["test.json"]} | {
            f"{reals}/{name}/{frame}.png": "" for name in f"{listed} 071".split() for frame in ("000", "100")
        }
        needed = ("FaceForensics++/test.json", reals)
    else:
        listed, fakes, list_ = "00170 id1_0007", "id1_id0_0007", "Celeb-DF-v2/List_of_testing_videos.txt"
        tested = "1 YouTube-real/00170.mp4\n1 Celeb-real/id1_0007.mp4\n0 Celeb-synthesis/id1_id0_0007.mp4\n"
        files = {
            list_: tested,
            "Celeb-DF-v2/YouTube-real/frames/00170/000.png": "",
            "Celeb-DF-v2/Celeb-real/frames/id1_0007/000.png": "",
            "Celeb-DF-v2/Celeb-real/frames/id0_0000/000.png": "",
        }
        needed = (list_, "Celeb-DF-v2/Celeb-real/frames")
    files |= empty(f"{method}/{domain}/frames/{fakes}", "000 100", ".png")
    videos = {f"{method}_Real test": listed, f"{method}_Fake test": fakes}
    return Replica(files, videos, (*needed, f"{method}/{domain}"))


REPLICAS: dict[str, Replica] = {
    "FaceForensics++": faceforensics(*FOUR),
    "FaceShifter": faceforensics(("FF-FH", "FaceShifter")),
    "DeepFakeDetection": Replica(
        empty("original_sequences/actors/c23/videos", ACTORS)
        | empty("original_sequences/actors/raw/videos", ACTORS)
        | empty(f"{MANIPULATED}/DeepFakeDetection/c23/videos", SWAPPED),
        {f"DFD_real {split} {c}": ACTORS for c in ("raw", "c23") for split in ("train", "val", "test")}
        | {f"DFD_fake {split} c23": SWAPPED for split in ("train", "val", "test")},
        ("original_sequences/actors", f"{MANIPULATED}/DeepFakeDetection"),
    ),
    "Celeb-DF-v1": celeb_df(1),
    "Celeb-DF-v2": celeb_df(2),
    "DFDC": DFDC,
    "DFDCP": DFDCP,
    "UADFV": UADFV,
    "DeeperForensics-1.0": DEEPERFORENSICS,
    "WildDeepfake": WILDDEEPFAKE,
    "FFIW": FFIW,
    "folders": FOLDERS,
    **{kind: faceforensics((kind, folder)) for kind, folder in FOUR},
    **{f"{m}_{domain}": df40(m, domain) for domain in ("ff", "cdf") for m in DF40_METHODS},
}
