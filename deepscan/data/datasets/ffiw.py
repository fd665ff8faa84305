"""FFIW: faces swapped in videos of several people."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from deepscan.data.benchmarks.benchmark import SPLITS
from deepscan.data.datasets import DATASETS
from deepscan.data.datasets.files import natural, uniquely_named, videos_in
from deepscan.data.datasets.layout import DatasetLayout, SourceVideo

_RELEASE = "FFIW10K-v1-release*/"


class FFIW(DatasetLayout):
    """Originals and swaps in folders of the same names, with masks of what was swapped.

    Its test part was given out later than its training and validation parts, in a folder of its own; either
    may be the root, or lie in it.
    """

    dataset = "FFIW"
    labels = MappingProxyType({"FFIW_Real": 0, "FFIW_Fake": 1})
    origin = "https://github.com/tfzhou/FFIW (a form), under its Terms to Use"
    expects = (
        "source/test and target/test, and where they are wanted the same of train and val, and target_mask,"
        " in it or in its folders FFIW10K-v1-release and FFIW10K-v1-release-test"
    )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        parts = [(base, split) for split in SPLITS for base in _bases(root) if _holds(base, split)]
        if not parts:
            raise self.missing(root / "source" / "test", f"put source/test and target/test into {root}")
        yield from uniquely_named(video for base, split in parts for video in self._part(base, split))

    def _part(self, base: Path, split: str) -> Iterator[SourceVideo]:
        masks = videos_in(base / "target_mask" / split)
        for kind, folder in zip(self.labels, ("source", "target"), strict=True):
            home = base / folder / split
            found = videos_in(home)
            if not found:
                raise self.missing(home, f"put its videos into {home}", "holds no video")
            for name, path in found.items():
                yield SourceVideo(
                    path, kind, split, name, mask=masks.get(name) if self.labels[kind] else None
                )


def _bases(root: Path) -> list[Path]:
    """Return the folders that may hold source and target; an archive may unpack into one more of its name."""
    inside = [*root.glob(_RELEASE), *root.glob(f"{_RELEASE}{_RELEASE}")]
    return [root, *sorted(inside, key=lambda path: natural(str(path)))]


def _holds(base: Path, split: str) -> bool:
    return any((base / folder / split).is_dir() for folder in ("source", "target"))


DATASETS.register("FFIW")(FFIW())
