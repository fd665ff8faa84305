"""Published data sets in the layout of their authors: label and split of each video."""

import difflib
from typing import TYPE_CHECKING

from deepscan.errors import UsageError
from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.data.datasets.layout import DatasetLayout

_HERE = "deepscan.data.datasets"
#: The methods of DF40 that were applied to videos of FaceForensics++ and Celeb-DF: face swaps, reenactments
#: and syntheses of whole faces.
# fmt: off
DF40_METHODS = (
    "uniface", "blendface", "mobileswap", "e4s", "facedancer", "fsgan", "inswap", "simswap", "faceswap",
    "fomm", "facevid2vid", "wav2lip", "MRAA", "one_shot_free", "pirender", "tpsm", "lia", "danet",
    "sadtalker", "mcnet", "hyperreenact",
    "VQGAN", "StyleGAN2", "StyleGAN3", "StyleGANXL", "sd2.1", "ddim", "rddm", "pixart", "DiT", "SiT",
)
# fmt: on
#: The two sources of these videos, as suffixes of benchmark file names.
DF40_DOMAINS = ("ff", "cdf")

_WHOLE = {
    "FaceForensics++": f"{_HERE}.faceforensics",
    "FaceShifter": f"{_HERE}.faceforensics",
    "DeepFakeDetection": f"{_HERE}.faceforensics",
    "Celeb-DF-v1": f"{_HERE}.celeb_df",
    "Celeb-DF-v2": f"{_HERE}.celeb_df",
    "DFDC": f"{_HERE}.dfdc",
    "DFDCP": f"{_HERE}.dfdc",
    "UADFV": f"{_HERE}.folders",
    "DeeperForensics-1.0": f"{_HERE}.faceforensics",
    "WildDeepfake": f"{_HERE}.folders",
    "FFIW": f"{_HERE}.folders",
    "folders": f"{_HERE}.folders",
}
_SINGLE = ("FF-DF", "FF-F2F", "FF-FS", "FF-NT")
_DF40 = tuple(f"{method}_{domain}" for domain in DF40_DOMAINS for method in DF40_METHODS)

#: Name of a data set -> its layout.
DATASETS: "Registry[DatasetLayout]" = Registry(
    "data set",
    _WHOLE | dict.fromkeys(_SINGLE, f"{_HERE}.faceforensics") | dict.fromkeys(_DF40, f"{_HERE}.df40"),
)

#: Alternative names, without case and punctuation -> data sets.
_ALIASES: dict[str, tuple[str, ...]] = {
    "ff": ("FaceForensics++",),
    "ffpp": ("FaceForensics++",),
    "faceforensics": ("FaceForensics++",),
    "fsh": ("FaceShifter",),
    "dfd": ("DeepFakeDetection",),
    "cdfv1": ("Celeb-DF-v1",),
    "cdfv2": ("Celeb-DF-v2",),
    "dfdcpreview": ("DFDCP",),
    "deeperforensics": ("DeeperForensics-1.0",),
    "dfo": ("DeeperForensics-1.0",),
    "wdf": ("WildDeepfake",),
    "ffiw10k": ("FFIW",),
    "df40": _DF40,
    "df40ff": tuple(name for name in _DF40 if name.endswith("_ff")),
    "df40cdf": tuple(name for name in _DF40 if name.endswith("_cdf")),
}


def register(*layouts: "DatasetLayout") -> None:
    """Add layouts to `DATASETS`, under the names of their data sets."""
    for layout in layouts:
        DATASETS.register(layout.dataset)(layout)


def names_of(text: str) -> tuple[str, ...]:
    """Return the names of the data sets that a user's input refers to.

    Case and punctuation are ignored, common abbreviations are accepted (`dfd`, `wdf`), and `df40`, `df40-ff`
    and `df40-cdf` stand for all of their methods.

    Args:
        text: The user's input.

    Raises:
        UsageError: No data set has this name.
    """
    plain = {_plain(name): (name,) for name in DATASETS.names} | _ALIASES
    if text in DATASETS.names:
        return (text,)
    if _plain(text) in plain:
        return plain[_plain(text)]
    close = difflib.get_close_matches(_plain(text), plain, n=1, cutoff=0.75)
    if close and len(plain[close[0]]) == 1:
        raise UsageError(f"unknown data set {text!r}", f"did you mean {plain[close[0]][0]!r}?")
    raise UsageError(
        f"unknown data set {text!r}",
        f"choose from: {', '.join((*_WHOLE, *_SINGLE))}, df40, or one of its methods, such as {_DF40[0]}",
    )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
