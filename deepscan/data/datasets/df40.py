"""DF40: forty methods, of which 31 were run on videos of FaceForensics++ and of Celeb-DF."""

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

#: What the folder of a domain is called.
_FOLDERS = {"ff": ("ff", "ffpp"), "cdf": ("cdf", "cdfv2")}


class DF40(DatasetLayout):
    """The tests of one method, run on one kind of videos, against the tested reals of that kind.

    DF40 gives out its fakes as cut-out faces, those of swaps and reenactments as videos as well. The reals
    are taken in the same form: with faces against whole videos, the form alone would tell them apart.

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
            f"{method}/{domain} with frames or videos (in it or in its folder DF40), and in it or beside it"
            f" {reals}, each with frames if the fakes are frames, else videos"
        )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        domains = _FOLDERS[self._domain]
        choices = [f"{base}{self._method}/{domain}" for base in ("", "DF40/") for domain in domains]
        home = self.folder(root, *choices)
        fakes = videos_or_sequences(home)
        if not fakes:
            raise self.missing(
                home, f"put its frames or videos into {home}", "holds neither frames nor videos"
            )
        cut = any(item.frames for item in fakes.values())
        real, fake = self.kinds
        yield from self._reals(root, cut, real)
        yield from as_videos(fakes, fake, "test")

    def _reals(self, root: Path, cut: bool, kind: str) -> Iterator[SourceVideo]:
        """Yield the tested reals of the domain, each as it should be there: cut-out faces, or a video."""
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
                found[folder] = self._form(base, folder, cut)
            home, videos = found[folder]
            if cut:
                yield SourceVideo(home / name, kind, "test", name, frames=pictures_in(home / name))
            else:
                yield SourceVideo(videos.get(name, home / f"{name}.mp4"), kind, "test", name)

    def _form(self, base: Path, folder: str, cut: bool) -> tuple[Path, dict[str, Path]]:
        """Return where the reals of a folder lie in a form, and the videos there."""
        home = subfolder(base, folder) or base / folder
        if not cut:
            videos = videos_in(home)
            if not videos:
                raise self.missing(home / "videos", problem="holds no video, and the fakes are videos")
            return home, videos
        cut_out = home / "frames"
        if not cut_out.is_dir() or not any(cut_out.iterdir()):
            raise self.missing(cut_out, problem="holds no frames, and the fakes are frames")
        return cut_out, {}


register(*(DF40(method, domain) for method in DF40_METHODS for domain in DF40_DOMAINS))
