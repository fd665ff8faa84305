"""Trained on FaceForensics++, tested on other data sets."""

from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.protocols.protocol import Protocol, TestSet, named

_SHIFTER = TestSet("FaceShifter", "FaceShifter", compression="c23")
_DFD = TestSet("DeepFakeDetection", "DeepFakeDetection", compression="c23")

PROTOCOLS.register("cross-dataset")(
    Protocol(
        name="cross-dataset",
        summary="trained on FaceForensics++ c23, tested on data sets of other makers",
        trained_on="FaceForensics++ c23",
        sets={
            "qtfp": (
                *named("Celeb-DF-v1", "Celeb-DF-v2"),
                _SHIFTER,
                *named("UADFV"),
                _DFD,
                *named("DFDC", "DFDCP", "DeeperForensics-1.0", "WildDeepfake", "FFIW"),
            ),
            "dfd-hr": (
                *named("Celeb-DF-v2"),
                _DFD,
                *named("DFDC", "DFDCP", "DeeperForensics-1.0", "WildDeepfake", "FFIW"),
            ),
            "corit": (*named("Celeb-DF-v1", "Celeb-DF-v2", "DFDCP", "DFDC"), _DFD),
        },
        levels={"corit": "frame"},
    )
)
