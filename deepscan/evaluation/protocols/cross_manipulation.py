"""Trained on three manipulations of FaceForensics++, tested on the fourth."""

from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.protocols.protocol import Protocol, TestSet

PROTOCOLS.register("cross-manipulation")(
    Protocol(
        name="cross-manipulation",
        summary="each manipulation of FaceForensics++ against its reals; of a model that was trained on the "
        "other three, the held-out one is the figure that counts",
        trained_on="FaceForensics++ c23 without the manipulation that is tested",
        sets={
            "corit": tuple(
                TestSet(kind, "FaceForensics++", (kind,), compression="c23")
                for kind in ("FF-DF", "FF-F2F", "FF-FS", "FF-NT")
            )
        },
        levels={"corit": "frame"},
    )
)
