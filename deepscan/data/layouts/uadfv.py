"""UADFV."""

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from deepscan.data.benchmark import SPLITS
from deepscan.data.layouts import LAYOUTS
from deepscan.data.layouts.files import subfolder, videos_or_sequences
from deepscan.data.layouts.layout import Layout, SourceVideo


class UADFV(Layout):
    """49 videos and a swap of each, with no lists: all are in every split."""

    dataset = "UADFV"
    labels = MappingProxyType({"UADFV_Real": 0, "UADFV_Fake": 1})
    origin = (
        "https://docs.google.com/forms/d/e/1FAIpQLScKPoOv15TIZ9Mn0nGScIVgKRM9tFWOmjh9eHKx57Yp-XcnxA/viewform"
        " (its makers' form), under the terms agreed to there"
    )
    expects = "the folders real and fake, with the videos in them"

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        for kind, folder in zip(self.labels, ("real", "fake"), strict=True):
            home = subfolder(root, folder)
            if home is None:
                raise self.missing(root / folder)
            found = videos_or_sequences(home)
            if not found:
                raise self.missing(home, f"put its videos into {home}", "holds no video")
            for split in SPLITS:
                for name, item in found.items():
                    yield SourceVideo(item.path, kind, split, name, frames=item.frames)


LAYOUTS.register("UADFV")(UADFV())
