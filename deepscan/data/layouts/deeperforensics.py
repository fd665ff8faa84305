"""DeeperForensics-1.0."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from deepscan.data.benchmark import SPLITS
from deepscan.data.layouts import LAYOUTS
from deepscan.data.layouts.faceforensics import REAL
from deepscan.data.layouts.files import nearby, read_lines, subfolder, videos_in
from deepscan.data.layouts.layout import Layout, SourceVideo


class DeeperForensics(Layout):
    """Swaps of end_to_end, without perturbations, against the videos of FaceForensics++ that they change.

    Its own source videos show the actors whose faces were taken; its makers say that they are not the real
    part. That is the targets, videos of FaceForensics++ in c23, each in the split of its swap.
    """

    dataset = "DeeperForensics-1.0"
    labels = MappingProxyType({"DF_real": 0, "DF_fake": 1})
    origin = (
        "https://github.com/EndlessSora/DeeperForensics-1.0/tree/master/dataset (a form), under its Terms of"
        " Use; the real videos: https://github.com/ondyari/FaceForensics (a form)"
    )
    expects = (
        "manipulated_videos/end_to_end, lists/splits and, here or in a folder FaceForensics++ in it or beside"
        f" it, {REAL}/c23/videos"
    )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        listed = {split: self._listed(root, split) for split in SPLITS}
        home = subfolder(root, "manipulated_videos/end_to_end")
        if home is None:
            raise self.missing(root / "manipulated_videos" / "end_to_end")
        part = f"{REAL}/c23/videos"
        base = nearby(root, "FaceForensics++", part)
        if base is None:
            raise self.missing(root / part, f"put {part} of FaceForensics++, the real videos, into {root}")
        targets = {split: dict.fromkeys(name.partition("_")[0] for name in listed[split]) for split in SPLITS}
        for kind, folder, names in (("DF_real", base / part, targets), ("DF_fake", home, listed)):
            found = videos_in(folder)
            if not found:
                raise self.missing(folder, f"put its videos into {folder}", "holds no video")
            for split in SPLITS:
                for name in names[split]:
                    yield SourceVideo(found.get(name, folder / f"{name}.mp4"), kind, split, name)

    def _listed(self, root: Path, split: str) -> dict[str, None]:
        path = root / "lists" / "splits" / f"{split}.txt"
        if not path.is_file():
            raise self.missing(path)
        return dict.fromkeys(Path(line).stem for line in read_lines(path))


LAYOUTS.register("DeeperForensics-1.0")(DeeperForensics())
