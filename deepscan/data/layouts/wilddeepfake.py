"""WildDeepfake: sequences of face pictures from the web."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from deepscan.data.layouts import LAYOUTS
from deepscan.data.layouts.files import below, natural, subfolder
from deepscan.data.layouts.layout import Layout, SourceVideo

_PACKED = (".tar.gz", ".tgz", ".tar")


class WildDeepfake(Layout):
    """Sequences of pictures, whose names are the numbers of frames, in its own two splits."""

    dataset = "WildDeepfake"
    labels = MappingProxyType({"WDF_Real": 0, "WDF_Fake": 1})
    origin = (
        "https://github.com/OpenTAI/wild-deepfake (an agreement to sign), for research alone; as cut-out"
        " faces"
    )
    expects = (
        "the folders real_test and fake_test, and where it is wanted real_train and fake_train, each with its"
        " archives unpacked in it"
    )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the sequences under a folder; see the base class."""
        train = any(self._part(root, word, "train") for word in ("real", "fake"))
        for split in ("train", "test") if train else ("test",):
            for kind, word in zip(self.labels, ("real", "fake"), strict=True):
                folder = self._part(root, word, split)
                if folder is None:
                    raise self.missing(root / f"{word}_{split}")
                self._check_unpacked(folder)
                found = {name: item for name, item in below(folder).items() if item.path.is_dir()}
                if not found:
                    raise self.missing(folder, f"put its sequences into {folder}", "holds no picture")
                for name, item in found.items():
                    yield SourceVideo(item.path, kind, split, name, frames=item.frames)

    @staticmethod
    def _part(root: Path, word: str, split: str) -> Path | None:
        return subfolder(root, f"{word}_{split}", f"{word} {split}", f"{word}/{split}", f"{split}/{word}")

    def _check_unpacked(self, folder: Path) -> None:
        """Refuse a folder with archives of which some are not unpacked, rather than measure on a part."""
        for path in sorted(folder.iterdir(), key=lambda path: natural(path.name)):
            suffix = next((end for end in _PACKED if path.name.lower().endswith(end)), "")
            if suffix and not (folder / path.name[: -len(suffix)]).is_dir():
                remedy = f"tar -xf {path.name} in {folder}, or move it away if that is done elsewhere"
                raise self.missing(path, remedy, "is not unpacked")


LAYOUTS.register("WildDeepfake")(WildDeepfake())
