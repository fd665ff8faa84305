"""Trained on FaceForensics++, tested on the newer face swaps of DF40, in two domains."""

from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.protocols.protocol import Protocol, named

_SWAPS = ("uniface", "blendface", "mobileswap", "e4s", "facedancer", "fsgan", "inswap", "simswap")
_FIVE = ("uniface", "e4s", "facedancer", "fsgan", "inswap")

PROTOCOLS.register("df40-ff")(
    Protocol(
        name="df40-ff",
        summary="trained on FaceForensics++ c23, tested on eight newer swaps of its own videos (DF40)",
        trained_on="FaceForensics++ c23",
        sets={row: named(*(f"{swap}_ff" for swap in _SWAPS)) for row in ("qtfp", "dfd-hr")},
    )
)
PROTOCOLS.register("df40-cdf")(
    Protocol(
        name="df40-cdf",
        summary="trained on FaceForensics++, tested on five newer swaps of Celeb-DF's videos (DF40)",
        trained_on="FaceForensics++",
        sets={"corit": named(*(f"{swap}_cdf" for swap in _FIVE))},
        levels={"corit": "frame"},
    )
)
