"""Evaluation protocols of the field: lists of test sets. A new protocol is an entry in the table below."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepscan.errors import UsageError
from deepscan.registry import Registry

Level = Literal["frame", "video"]
Reading = Literal["crops", "pictures"]


@dataclass(frozen=True, slots=True)
class TestSet:
    """One test set of a protocol.

    Attributes:
        name: Its name in tables: `Celeb-DF-v2`.
        dataset: Its benchmark file, and the data set of `deepscan prepare`.
        kinds: Kinds of fakes to include; empty for all. Reals are always included.
        split: Split of the data set.
        compression: Compression level, such as `c23`; None if the data set has none.
        local: Whether the split `val` of a folder's faces.csv replaces it, if there is one.
    """

    name: str
    dataset: str
    kinds: tuple[str, ...] = ()
    split: str = "test"
    compression: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class Protocol:
    """Test sets with the metrics that are measured on them.

    Attributes:
        name: The value of `--protocol`.
        summary: One line for `--help`.
        trained_on: Training data of the papers' models; results of other training data are not comparable.
        sets: Method whose paper lists them -> its test sets; the first is the default.
        levels: Method -> the level of its paper's main metric; `video` if not listed.
        metrics: Names of the metrics in the table, the main one first.
        reading: Face `crops` from benchmark files, or whole `pictures` from folders.
        distorted: Whether each set is also measured under every distortion.
    """

    name: str
    summary: str
    trained_on: str
    sets: Mapping[str, tuple[TestSet, ...]]
    levels: Mapping[str, Level] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("auc",)
    reading: Reading = "crops"
    distorted: bool = False

    def __post_init__(self) -> None:
        if not self.sets or not all(self.sets.values()):
            raise ValueError(f"protocol {self.name} has no test sets")
        for tests in self.sets.values():
            if len({test.name for test in tests}) < len(tests):
                raise ValueError(f"protocol {self.name} lists a test set twice")

    def of(self, row: str | None, method: str) -> str:
        """Return the method whose test sets to use.

        Args:
            row: The user's choice; None for the method of the model.
            method: The method of the model.

        Raises:
            UsageError: The protocol has no test sets for the user's choice.
        """
        if row is None:
            return method if method in self.sets else next(iter(self.sets))
        if row not in self.sets:
            raise UsageError(
                f"protocol {self.name} has no test sets for {row!r}", f"choose from: {', '.join(self.sets)}"
            )
        return row

    def level(self, row: str) -> Level:
        """Return the level of the main metric in a method's paper."""
        return self.levels.get(row, "video")


def whole_datasets(*datasets: str) -> tuple[TestSet, ...]:
    """Return the test splits of whole data sets."""
    return tuple(TestSet(dataset, dataset) for dataset in datasets)


_DFD = TestSet("DeepFakeDetection", "DeepFakeDetection", compression="c23")
_IN_DOMAIN = (TestSet("FaceForensics++", "FaceForensics++", compression="c23", local=True),)
_SWAPS = ("uniface", "blendface", "mobileswap", "e4s", "facedancer", "fsgan", "inswap", "simswap")
_GENERATORS = whole_datasets(
    *("progan", "cyclegan", "biggan", "stylegan", "gaugan", "stargan", "deepfake", "seeingdark", "san"),
    *("crn", "imle", "guided", "ldm_200", "ldm_200_cfg", "ldm_100"),
    *("glide_100_27", "glide_50_27", "glide_100_10", "dalle"),
)

_TABLE = (
    Protocol(
        name="cross-dataset",
        summary="trained on FaceForensics++ c23, tested on other data sets",
        trained_on="FaceForensics++ c23",
        sets={
            "qtfp": (
                *whole_datasets("Celeb-DF-v1", "Celeb-DF-v2"),
                TestSet("FaceShifter", "FaceShifter", compression="c23"),
                *whole_datasets("UADFV"),
                _DFD,
                *whole_datasets("DFDC", "DFDCP", "DeeperForensics-1.0", "WildDeepfake", "FFIW"),
            ),
            "dfd-hr": (
                *whole_datasets("Celeb-DF-v2"),
                _DFD,
                *whole_datasets("DFDC", "DFDCP", "DeeperForensics-1.0", "WildDeepfake", "FFIW"),
            ),
            "corit": (*whole_datasets("Celeb-DF-v1", "Celeb-DF-v2", "DFDCP", "DFDC"), _DFD),
        },
        levels={"corit": "frame"},
    ),
    Protocol(
        name="cross-manipulation",
        summary="each manipulation of FaceForensics++ against its reals; for a model trained on three of "
        "them, the result on the fourth is the relevant one",
        trained_on="FaceForensics++ c23 without the tested manipulation",
        sets={
            "corit": tuple(
                TestSet(kind, "FaceForensics++", (kind,), compression="c23")
                for kind in ("FF-DF", "FF-F2F", "FF-FS", "FF-NT")
            )
        },
        levels={"corit": "frame"},
    ),
    Protocol(
        name="df40-ff",
        summary="trained on FaceForensics++ c23, tested on eight newer swaps of the same videos (DF40)",
        trained_on="FaceForensics++ c23",
        sets={row: whole_datasets(*(f"{swap}_ff" for swap in _SWAPS)) for row in ("qtfp", "dfd-hr")},
    ),
    Protocol(
        name="df40-cdf",
        summary="trained on FaceForensics++, tested on five newer swaps of Celeb-DF videos (DF40)",
        trained_on="FaceForensics++",
        sets={"corit": whole_datasets("uniface_cdf", "e4s_cdf", "facedancer_cdf", "fsgan_cdf", "inswap_cdf")},
        levels={"corit": "frame"},
    ),
    Protocol(
        name="universal",
        summary="trained on ProGAN pictures, tested on 19 generators (ForenSynths and UniversalFakeDetect)",
        trained_on="ForenSynths, ProGAN",
        sets={"corit": _GENERATORS, "unifd": _GENERATORS},
        levels={"corit": "frame", "unifd": "frame"},
        metrics=("average_precision", "accuracy"),
        reading="pictures",
    ),
    Protocol(
        name="robustness",
        summary="the in-domain test set under blur, occlusion, low contrast, compression and downscaling, "
        "at five levels each",
        trained_on="FaceForensics++ c23, or the train split of the folder",
        sets=dict.fromkeys(("corit", "qtfp", "dfd-hr"), _IN_DOMAIN),
        levels={"corit": "frame"},
        distorted=True,
    ),
    Protocol(
        name="in-domain",
        summary="the held-out part of the training data: the test videos of FaceForensics++, or the val "
        "split of a folder with faces.csv",
        trained_on="FaceForensics++ c23, or the train split of the folder",
        sets=dict.fromkeys(("qtfp", "corit", "dfd-hr"), _IN_DOMAIN),
        levels={"corit": "frame"},
    ),
)
#: Name -> protocol.
PROTOCOLS: Registry[Protocol] = Registry("protocol", {protocol.name: __name__ for protocol in _TABLE})
for _protocol in _TABLE:
    PROTOCOLS.register(_protocol.name)(_protocol)
