"""Replicas of FaceForensics++ and of data sets based on it, with outcomes counted by hand."""

import json
from dataclasses import replace

from .replica import Replica, put, sequence

YOUTUBE, MANIPULATED = "original_sequences/youtube", "manipulated_sequences"
#: The split lists of FaceForensics++; one pair of test videos is complete.
LISTS = {
    "train.json": json.dumps([["071", "054"]]),
    "val.json": json.dumps([["720", "672"]]),
    "test.json": json.dumps([["953", "974"], ["001", "002"]]),
}
#: Its reals: 001 shows no face, 002 is missing, and c40 is incomplete.
REALS = put(f"{YOUTUBE}/c23/videos", "071 054 720 672 953 974", blank="001") | put(
    f"{YOUTUBE}/c40/videos", "071 054"
)
FF_REAL = {
    "FF-real train c23": "071 054",
    "FF-real val c23": "720 672",
    "FF-real test c23": "953 974 001:no_face 002:error",
    "FF-real train c40": "071 054",
    "FF-real val c40": "720:error 672:error",
    "FF-real test c40": "953:error 974:error 001:error 002:error",
}
METHODS = {"FF-DF": "Deepfakes", "FF-F2F": "Face2Face", "FF-FS": "FaceSwap", "FF-NT": "NeuralTextures"}


def method(folder: str, masks: str, **shown: str) -> dict[str, str]:
    """Return the files of fakes of FaceForensics++ and of some masks."""
    home = f"{MANIPULATED}/{folder}"
    return put(f"{home}/c23/videos", **shown) | put(f"{home}/masks/videos", mask=masks)


FACEFORENSICS = Replica(
    "FaceForensics++",
    LISTS
    | REALS
    | method(
        "Deepfakes",
        "071_054 953_974 974_953 001_002",
        fake="071_054 953_974 974_953",
        empty="001_002",
    )
    | put(f"{MANIPULATED}/Deepfakes/c40/videos", fake="071_054")
    | method("Face2Face", "953_974", fake="720_672 953_974", blank="974_953")
    | method("FaceSwap", "974_953", fake="953_974 974_953")
    | method(
        "NeuralTextures",
        "672_720 953_974 974_953 001_002",
        fake="672_720 953_974 974_953 001_002",
    ),
    FF_REAL
    | {
        "FF-DF train c23": "071_054 054_071:error",
        "FF-DF val c23": "720_672:error 672_720:error",
        "FF-DF test c23": "953_974 974_953 001_002:decode_error 002_001:error",
        "FF-DF train c40": "071_054 054_071:error",
        "FF-DF val c40": "720_672:error 672_720:error",
        "FF-DF test c40": "953_974:error 974_953:error 001_002:error 002_001:error",
        "FF-F2F train c23": "071_054:error 054_071:error",
        "FF-F2F val c23": "720_672 672_720:error",
        "FF-F2F test c23": "953_974 974_953:no_face 001_002:error 002_001:error",
        "FF-FS train c23": "071_054:error 054_071:error",
        "FF-FS val c23": "720_672:error 672_720:error",
        "FF-FS test c23": "953_974 974_953 001_002:error 002_001:error",
        "FF-NT train c23": "071_054:error 054_071:error",
        "FF-NT val c23": "720_672:error 672_720",
        "FF-NT test c23": "953_974 974_953 001_002 002_001:error",
    },
    (*LISTS, YOUTUBE, *(f"{MANIPULATED}/{folder}" for folder in METHODS.values())),
    masks={"FF-DF": 3, "FF-F2F": 1, "FF-FS": 1, "FF-NT": 4},
    protocol="in-domain",
)


def part(kind: str) -> Replica:
    """One manipulation of FaceForensics++, which can be prepared and evaluated separately."""
    return replace(
        FACEFORENSICS,
        dataset=kind,
        videos={
            key: names for key, names in FACEFORENSICS.videos.items() if key.split()[0] in ("FF-real", kind)
        },
        needed=(*LISTS, YOUTUBE, f"{MANIPULATED}/{METHODS[kind]}"),
        masks={kind: FACEFORENSICS.masks[kind]},
        protocol="cross-dataset",
    )


FACESHIFTER = Replica(
    "FaceShifter",
    LISTS
    | REALS
    | method(
        "FaceShifter",
        "953_974",
        fake="071_054 720_672 953_974 974_953",
        blank="054_071",
        empty="001_002",
    ),
    FF_REAL
    | {
        "FF-FH train c23": "071_054 054_071:no_face",
        "FF-FH val c23": "720_672 672_720:error",
        "FF-FH test c23": "953_974 974_953 001_002:decode_error 002_001:error",
    },
    (*LISTS, YOUTUBE, f"{MANIPULATED}/FaceShifter"),
    masks={"FF-FH": 1},
)

_ACTORS = "original_sequences/actors"
SWAP = "01_02__exit_phone_room__YVGY8LOK"
DEEPFAKEDETECTION = Replica(
    "DeepFakeDetection",
    put(
        f"{_ACTORS}/c23/videos",
        "01__exit_phone_room 02__hugging_happy",
        gone="03__podium_speech_happy",
    )
    | put(f"{_ACTORS}/raw/videos", "02__hugging_happy")
    | method(
        "DeepFakeDetection",
        SWAP,
        fake=SWAP,
        blank="02_01__hugging_happy__AAAAAAAA",
        empty="02_03__hugging_happy__BBBBBBBB",
    ),
    # There are no split lists: every video is in every split, with its masks.
    {
        f"{kind} {split} {level}": names
        for kind, level, names in (
            ("DFD_real", "raw", "02__hugging_happy"),
            ("DFD_real", "c23", "01__exit_phone_room 02__hugging_happy 03__podium_speech_happy:error"),
            (
                "DFD_fake",
                "c23",
                f"{SWAP} 02_01__hugging_happy__AAAAAAAA:no_face 02_03__hugging_happy__BBBBBBBB:decode_error",
            ),
        )
        for split in ("train", "val", "test")
    },
    (_ACTORS, f"{MANIPULATED}/DeepFakeDetection"),
    masks={"DFD_fake": 3},
)

DEEPERFORENSICS = Replica(
    "DeeperForensics-1.0",
    {
        "lists/splits/train.txt": "071_W008.mp4\n",
        "lists/splits/val.txt": "720_M004.mp4\n",
        "lists/splits/test.txt": "953_W101.mp4\n974_M101.mp4\n001_M101.mp4\n002_W101.mp4\n",
    }
    | put(
        "manipulated_videos/end_to_end",
        fake="071_W008 953_W101 974_M101",
        blank="001_M101",
        empty="002_W101",
    )
    | put("manipulated_videos/end_to_end_level_1", fake="071_W008 953_W101")
    | put("source_videos/W101", "W101_light_up_happy_camera_front")
    | REALS,
    # The reals are the target videos, which have the numbers of the swaps.
    {
        "DF_real train": "071",
        "DF_fake train": "071_W008",
        "DF_real val": "720",
        "DF_fake val": "720_M004:error",
        "DF_real test": "953 974 001:no_face 002:error",
        "DF_fake test": "953_W101 974_M101 001_M101:no_face 002_W101:decode_error",
    },
    (
        *(f"lists/splits/{split}.txt" for split in ("train", "val", "test")),
        "manipulated_videos/end_to_end",
        f"{YOUTUBE}/c23/videos",
    ),
)

#: The reals of DF40 by domain: the list of test videos, the content of each real and fake, a real that exists
#: in the other form only, the expected outcomes, and the required files.
_FF_REALS, _CDF = f"FaceForensics++/{YOUTUBE}/c23", "Celeb-DF-v2"
_DF40 = {
    "ff": (
        {"FaceForensics++/test.json": LISTS["test.json"]},
        {f"{_FF_REALS}/{name}": "real" for name in ("953", "974", "071")} | {f"{_FF_REALS}/001": "empty"},
        {"953_974": "fake", "974_953": "fake", "001_002": "blank"},
        f"{_FF_REALS}/002",
        ("953 974 001:decode_error 002:error", "001_002:no_face 953_974 974_953"),
        ("FaceForensics++/test.json", f"{_FF_REALS}/frames"),
    ),
    "cdf": (
        {
            f"{_CDF}/List_of_testing_videos.txt": (
                "1 YouTube-real/00170.mp4\n1 Celeb-real/id1_0007.mp4\n1 Celeb-real/id2_0001.mp4\n"
                "1 Celeb-real/id3_0001.mp4\n0 Celeb-synthesis/id1_id0_0007.mp4\n"
            )
        },
        {
            f"{_CDF}/YouTube-real/00170": "real",
            f"{_CDF}/YouTube-real/00011": "real",
            f"{_CDF}/Celeb-real/id1_0007": "real",
            f"{_CDF}/Celeb-real/id2_0001": "blank",
        },
        {"id0_id1_0000": "fake", "id1_id0_0007": "fake", "id2_id1_0001": "empty"},
        f"{_CDF}/Celeb-real/id3_0001",
        (
            "00170 id1_0007 id2_0001:no_face id3_0001:error",
            "id0_id1_0000 id1_id0_0007 id2_id1_0001:decode_error",
        ),
        (f"{_CDF}/List_of_testing_videos.txt", f"{_CDF}/Celeb-real/frames"),
    ),
}


def df40(name: str, *, cut: bool = True) -> Replica:
    """A method of DF40 and the real test videos of its domain, as cropped faces or as videos."""

    def placed(path: str, what: str, cut: bool) -> dict[str, str]:
        folder, _, video = path.rpartition("/")
        # The first and the last picture are sampled.
        return (
            sequence(f"{folder}/frames/{video}", what, "empty", what)
            if cut
            else {f"{folder}/videos/{video}.mp4": what}
        )

    word, _, domain = name.rpartition("_")
    files, reals, fakes, wrong_form, (real, fake), needed = _DF40[domain]
    files = files | placed(wrong_form, "real", not cut)
    for path, what in (reals | {f"{word}/{domain}/{video}": what for video, what in fakes.items()}).items():
        files |= placed(path, what, cut)
    return Replica(
        name,
        files,
        {f"{word}_Real test": real, f"{word}_Fake test": fake},
        (*needed, f"{word}/{domain}"),
        protocol=f"df40-{domain}",
        row={"ff": "qtfp", "cdf": "corit"}[domain],
    )
