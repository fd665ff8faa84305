"""DF40: forty methods, of which 31 were applied to videos of FaceForensics++ and Celeb-DF."""

from collections.abc import Iterator
from pathlib import Path

from deepscan.data.datasets import DF40_DOMAINS, DF40_METHODS, register
from deepscan.data.datasets.celeb_df import FOLDERS, LIST, CelebDF
from deepscan.data.datasets.faceforensics import ORIGINALS, pairs_of
from deepscan.data.datasets.layout import (
    DatasetLayout,
    SourceVideo,
    as_videos,
    pictures_in,
    subfolder,
    videos_in,
    videos_or_sequences,
)

#: Folder names of a domain.
_FOLDERS = {"ff": ("ff", "ffpp"), "cdf": ("cdf", "cdfv2")}


class DF40(DatasetLayout):
    """The test set of one method on one source of videos, with the real test videos of that source.

    DF40 publishes its fakes as cropped faces, those of swaps and reenactments as videos too. The reals are
    read in the same form: otherwise the form alone would separate faces from whole videos.

    Args:
        method: `uniface`.
        domain: `ff` or `cdf`.
    """

    origin = (
        "https://github.com/YZY-stack/DF40 (CC BY-NC 4.0), with links to its real faces; the real videos are"
        " those of FaceForensics++ and Celeb-DF, under their own terms"
    )

    def __init__(self, method: str, domain: str) -> None:
        self.dataset = f"{method}_{domain}"
        self.kinds = (f"{method}_Real", f"{method}_Fake")
        self._method, self._domain = method, domain
        reals = (
            f"FaceForensics++ with test.json and {ORIGINALS}/c23"
            if domain == "ff"
            else f"Celeb-DF-v2 with {LIST} and {' and '.join(f for f in FOLDERS if not FOLDERS[f])}"
        )
        self.expects = (
            f"{method}/{domain} with frames or videos (directly or in a folder DF40), and, inside or next to"
            f" this folder, {reals}, each with frames if the fakes are frames, else videos"
        )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        domains = _FOLDERS[self._domain]
        choices = [f"{base}{self._method}/{domain}" for base in ("", "DF40/") for domain in domains]
        home = self.folder(root, *choices)
        fakes = videos_or_sequences(home)
        if not fakes:
            raise self.missing(home, f"put its frames or videos into {home}", "has neither frames nor videos")
        as_faces = any(item.frames for item in fakes.values())
        real, fake = self.kinds
        yield from self._reals(root, as_faces, real)
        yield from as_videos(fakes, fake, "test")

    def _reals(self, root: Path, as_faces: bool, kind: str) -> Iterator[SourceVideo]:
        """Yield the real test videos of the domain, as cropped faces or as videos, existing or not."""
        if self._domain == "ff":
            base = self.nearby(root, "FaceForensics++", ORIGINALS)
            pairs = pairs_of(base, self, ("test",))["test"]
            listed = [(f"{ORIGINALS}/c23", name) for pair in pairs for name in pair]
        else:
            base = self.nearby(root, "Celeb-DF-v2", LIST)
            listed = [(folder, name) for folder, name in CelebDF(2).listed(base) if not FOLDERS[folder]]
        found: dict[str, tuple[Path, dict[str, Path]]] = {}
        for folder, name in listed:
            if folder not in found:
                found[folder] = self._form(base, folder, as_faces)
            home, videos = found[folder]
            if as_faces:
                yield SourceVideo(home / name, kind, "test", name, frames=pictures_in(home / name))
            else:
                yield SourceVideo(videos.get(name, home / f"{name}.mp4"), kind, "test", name)

    def _form(self, base: Path, folder: str, as_faces: bool) -> tuple[Path, dict[str, Path]]:
        """Return the folder of the reals in the requested form, and its videos."""
        home = subfolder(base, folder) or base / folder
        if not as_faces:
            videos = videos_in(home)
            if not videos:
                raise self.missing(home / "videos", problem="has no videos, but the fakes are videos")
            return home, videos
        cut_out = home / "frames"
        if not cut_out.is_dir() or not any(cut_out.iterdir()):
            raise self.missing(cut_out, problem="has no frames, but the fakes are frames")
        return cut_out, {}


register(*(DF40(method, domain) for method in DF40_METHODS for domain in DF40_DOMAINS))
