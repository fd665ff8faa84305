"""Tested again under distortions, five levels each."""

from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.protocols.protocol import Protocol, TestSet

PROTOCOLS.register("robustness")(
    Protocol(
        name="robustness",
        summary="the in-domain test set, blurred, covered, dulled, compressed and shrunk in five levels each",
        trained_on="FaceForensics++ c23, or the split train of the folder",
        sets={
            row: (TestSet("FaceForensics++", "FaceForensics++", compression="c23", local=True),)
            for row in ("corit", "qtfp", "dfd-hr")
        },
        levels={"corit": "frame"},
        distorted=True,
    )
)
