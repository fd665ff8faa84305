"""Celeb-DF, versions 1 and 2."""

from collections.abc import Iterator
from pathlib import Path

from deepscan.data.datasets import register
from deepscan.data.datasets.layout import (
    DatasetLayout,
    SourceVideo,
    read_lines,
    uniquely_named,
    unreadable_list,
    videos_in,
)

LIST = "List_of_testing_videos.txt"
#: Its folders -> 0 for real, 1 for fake.
FOLDERS = {"Celeb-real": 0, "YouTube-real": 0, "Celeb-synthesis": 1}


class CelebDF(DatasetLayout):
    """Videos of celebrities: those in the list are `test` and `val`, all others are `train`.

    Args:
        version: 1 or 2.
    """

    origin = "https://github.com/yuezunli/celeb-deepfakeforensics (a form), under the Terms to Use Celeb-DF"
    expects = f"the folders {', '.join(FOLDERS)} and {LIST}"

    def __init__(self, version: int) -> None:
        self.dataset = f"Celeb-DF-v{version}"
        self.kinds = (f"CelebDFv{version}_real", f"CelebDFv{version}_fake")

    @uniquely_named
    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        paths = {folder: self.folder(root, folder) for folder in FOLDERS}
        found = {folder: self.filled(path, videos_in(path)) for folder, path in paths.items()}
        test_videos = self.listed(root)
        for folder, label in FOLDERS.items():
            for name, path in found[folder].items():
                if (folder, name) not in test_videos:
                    yield SourceVideo(path, self.kinds[label], "train", name)
        for split in ("val", "test"):
            for folder, name in test_videos:
                path = found[folder].get(name, paths[folder] / f"{name}.mp4")
                yield SourceVideo(path, self.kinds[FOLDERS[folder]], split, name)

    def listed(self, root: Path) -> dict[tuple[str, str], None]:
        """Return the folders and names of the listed videos, in list order.

        Raises:
            MissingError: The list does not exist.
            UsageError: The list cannot be read.
        """
        path = root / LIST
        if not path.is_file():
            raise self.missing(path)
        names = {folder.lower(): folder for folder in FOLDERS}
        listed: dict[tuple[str, str], None] = {}
        for line in read_lines(path):
            # The number before the path repeats the label, but inverted: 1 is real.
            folder, _, name = line.split(maxsplit=1)[-1].partition("/")
            if folder.lower() not in names or not name:
                raise unreadable_list(path, f"line {line!r} names no folder of {self.dataset}")
            listed[names[folder.lower()], Path(name).stem] = None
        return listed


register(CelebDF(1), CelebDF(2))
