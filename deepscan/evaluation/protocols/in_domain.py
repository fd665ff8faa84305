"""Tested on the held-out part of what was trained on."""

from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.protocols.protocol import Protocol, TestSet

PROTOCOLS.register("in-domain")(
    Protocol(
        name="in-domain",
        summary="the held-out part of the training data: FaceForensics++'s test videos, or the split val of "
        "a folder with faces.csv",
        trained_on="FaceForensics++ c23, or the split train of the folder",
        sets={
            row: (TestSet("FaceForensics++", "FaceForensics++", compression="c23", local=True),)
            for row in ("qtfp", "corit", "dfd-hr")
        },
        levels={"corit": "frame"},
    )
)
