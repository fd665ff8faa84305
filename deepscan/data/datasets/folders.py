"""Data sets in folders of reals and fakes: your own videos, UADFV, WildDeepfake, FFIW."""

from collections.abc import Iterator
from pathlib import Path

from deepscan.data.benchmarks.benchmark import SPLITS
from deepscan.data.datasets import register
from deepscan.data.datasets.layout import (
    DatasetLayout,
    SourceVideo,
    as_videos,
    below,
    natural,
    subfolder,
    uniquely_named,
    videos_in,
    videos_or_sequences,
)

#: Split -> possible names of its folder.
_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


class Folders(DatasetLayout):
    """Any videos, folders of frames and pictures, in `real` and `fake`.

    If the root has folders of splits, `real` and `fake` are in each of them; otherwise all videos are `test`.
    A folder with pictures, at any depth, is one video; a picture directly in `real` or `fake` is one too.
    """

    dataset = "folders"
    kinds = ("real", "fake")
    origin = "your own videos"
    expects = (
        "the folders real and fake, directly or in train, val and test, with videos or folders of frames; one"
        " of the two may be empty"
    )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        homes = {split: home for split, names in _SPLITS.items() if (home := subfolder(root, *names))}
        any_videos = False
        for split, home in (homes or {"test": root}).items():
            for kind in self.kinds:
                found = below(self.folder(home, kind))
                any_videos = any_videos or bool(found)
                yield from as_videos(found, kind, split)
        if not any_videos:
            raise self.missing(root, "put videos into its folders real and fake", "has no videos")


class UADFV(DatasetLayout):
    """49 videos and a swap of each, without split lists: all videos are in every split."""

    dataset = "UADFV"
    kinds = ("UADFV_Real", "UADFV_Fake")
    origin = (
        "https://docs.google.com/forms/d/e/1FAIpQLScKPoOv15TIZ9Mn0nGScIVgKRM9tFWOmjh9eHKx57Yp-XcnxA/viewform"
        " (a form of its authors), under the terms agreed to there"
    )
    expects = "the folders real and fake, with videos"

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        for kind, folder in zip(self.kinds, ("real", "fake"), strict=True):
            home = self.folder(root, folder)
            found = self.filled(home, videos_or_sequences(home))
            for split in SPLITS:
                yield from as_videos(found, kind, split)


_PACKED = (".tar.gz", ".tgz", ".tar")


class WildDeepfake(DatasetLayout):
    """Sequences of pictures, named by frame number, in two splits."""

    dataset = "WildDeepfake"
    kinds = ("WDF_Real", "WDF_Fake")
    origin = (
        "https://github.com/OpenTAI/wild-deepfake (an agreement to sign), for research only; as cropped faces"
    )
    expects = (
        "the folders real_test and fake_test, optionally real_train and fake_train, each with its archives"
        " unpacked"
    )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the sequences under a folder; see the base class."""
        train = any(subfolder(root, *_places(word, "train")) for word in ("real", "fake"))
        for split in ("train", "test") if train else ("test",):
            for kind, word in zip(self.kinds, ("real", "fake"), strict=True):
                folder = self.folder(root, *_places(word, split))
                self._check_unpacked(folder)
                found = {name: item for name, item in below(folder).items() if item.path.is_dir()}
                yield from as_videos(self.filled(folder, found, "picture"), kind, split)

    def _check_unpacked(self, folder: Path) -> None:
        """Raise if an archive in a folder is not unpacked, instead of measuring on a part of the data."""
        for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
            suffix = next((end for end in _PACKED if path.name.lower().endswith(end)), "")
            if suffix and not (folder / path.name[: -len(suffix)]).is_dir():
                remedy = f"run tar -xf {path.name} in {folder}, or move it away if it is unpacked elsewhere"
                raise self.missing(path, remedy, "is not unpacked")


def _places(word: str, split: str) -> tuple[str, ...]:
    """Return the possible paths of a part of WildDeepfake."""
    return f"{word}_{split}", f"{word} {split}", f"{word}/{split}", f"{split}/{word}"


_RELEASE = "FFIW10K-v1-release*/"


class FFIW(DatasetLayout):
    """Originals and swaps of the same names, with masks of the swapped faces.

    The test part was published later, in a separate folder; the folder of either part may be the root, or be
    inside it.
    """

    dataset = "FFIW"
    kinds = ("FFIW_Real", "FFIW_Fake")
    origin = "https://github.com/tfzhou/FFIW (a form), under its Terms to Use"
    expects = (
        "source/test and target/test, optionally the same for train and val, and target_mask, directly or in"
        " folders FFIW10K-v1-release and FFIW10K-v1-release-test"
    )

    @uniquely_named
    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        parts = [(base, split) for split in SPLITS for base in _bases(root) if _holds(base, split)]
        if not parts:
            raise self.missing(root / "source" / "test", f"put source/test and target/test into {root}")
        for base, split in parts:
            masks = videos_in(base / "target_mask" / split)
            for kind, folder, masks_of_kind in zip(
                self.kinds, ("source", "target"), ({}, masks), strict=True
            ):
                home = base / folder / split
                for name, path in self.filled(home, videos_in(home)).items():
                    yield SourceVideo(path, kind, split, name, mask=masks_of_kind.get(name))


def _bases(root: Path) -> list[Path]:
    """Return the folders that may contain source and target; an archive may add a nested folder."""
    inside = [*root.glob(_RELEASE), *root.glob(f"{_RELEASE}{_RELEASE}")]
    return [root, *sorted(inside, key=lambda path: natural(str(path)))]


def _holds(base: Path, split: str) -> bool:
    return any((base / folder / split).is_dir() for folder in ("source", "target"))


register(Folders(), UADFV(), WildDeepfake(), FFIW())
