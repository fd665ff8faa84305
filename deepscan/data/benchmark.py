"""Benchmarks as aligned face crops on disk: videos with their label, split and frames."""

from dataclasses import dataclass

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class FaceVideo:
    """A video as a benchmark has it: the aligned crops of one face, in the order of its frames.

    Attributes:
        dataset: The data set, as its file is named: `Celeb-DF-v2`.
        kind: Name of its label there, which tells the manipulation: `FF-DF`.
        label: 0 for real, 1 for fake.
        split: `train`, `val` or `test`.
        name: The video's name, unique among those of its data set, kind and split.
        frames: Its crops: paths, or what the file states of them.
        masks: What was forged in each frame, as long as `frames`, or empty where that is not known.
        compression: `raw`, `c23` or `c40`, empty where the data set knows no such thing.
    """

    dataset: str
    kind: str
    label: int
    split: str
    name: str
    frames: tuple[str, ...]
    masks: tuple[str, ...] = ()
    compression: str = ""

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise ValueError(f"a label is 0 or 1, not {self.label}")
        if self.split not in SPLITS:
            raise ValueError(f"a split is one of {', '.join(SPLITS)}, not {self.split!r}")
        if self.masks and len(self.masks) != len(self.frames):
            raise ValueError(f"{len(self.masks)} masks do not go with {len(self.frames)} frames")
