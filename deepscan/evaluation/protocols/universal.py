"""Trained on ProGAN's pictures, tested on those of other generators, faces or not."""

from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.protocols.protocol import Protocol, named

_GENERATORS = (
    *("progan", "cyclegan", "biggan", "stylegan", "gaugan", "stargan", "deepfake", "seeingdark", "san"),
    *("crn", "imle", "guided", "ldm_200", "ldm_200_cfg", "ldm_100"),
    *("glide_100_27", "glide_50_27", "glide_100_10", "dalle"),
)

PROTOCOLS.register("universal")(
    Protocol(
        name="universal",
        summary="trained on ProGAN's pictures, tested on those of 19 generators (ForenSynths and "
        "UniversalFakeDetect)",
        trained_on="ForenSynths, ProGAN",
        sets={"corit": named(*_GENERATORS), "unifd": named(*_GENERATORS)},
        levels={"corit": "frame", "unifd": "frame"},
        metrics=("average_precision", "accuracy"),
        reading="pictures",
    )
)
