"""Plain folders: `real` and `fake`."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from deepscan.data.layouts import LAYOUTS
from deepscan.data.layouts.files import below, subfolder
from deepscan.data.layouts.layout import Layout, SourceVideo

#: Split -> what its folder may be called.
_SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


class Folders(Layout):
    """Anybody's videos, folders of frames and pictures, in `real` and `fake`.

    Where the root holds folders of splits, `real` and `fake` lie in each of them; else all videos are `test`.
    A folder, at whatever depth, that holds pictures is one video; pictures that lie in `real` or `fake`
    itself are one each.
    """

    dataset = "folders"
    labels = MappingProxyType({"real": 0, "fake": 1})
    origin = "no place: they are your own videos"
    expects = (
        "the folders real and fake, in train, val and test or with no such folders, with videos or folders"
        " of frames in them; one of the two may be empty"
    )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        parts = {split: subfolder(root, *names) for split, names in _SPLITS.items()}
        homes = {split: home for split, home in parts.items() if home} or {"test": root}
        anything = False
        for split, home in homes.items():
            for kind in self.labels:
                folder = subfolder(home, kind)
                if folder is None:
                    raise self.missing(home / kind)
                for name, item in below(folder).items():
                    anything = True
                    yield SourceVideo(item.path, kind, split, name, frames=item.frames)
        if not anything:
            raise self.missing(root, "put videos into its folders real and fake", "holds no video")


LAYOUTS.register("folders")(Folders())
