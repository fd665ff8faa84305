"""A small data set of numbered frames, and a fake face finder."""

import numpy as np

from deepscan.crop_recipe import CropRecipe
from deepscan.data.datasets.layout import DatasetLayout, SourceVideo
from deepscan.faces.face import Detection

RECIPE = CropRecipe(side=64)
#: Landmarks that the finder reports in frames of 160 x 96, slightly rotated; wider frames have no face.
FACE = (RECIPE.template @ np.float32([[0.8, 0.1], [-0.1, 0.8]]) + (60, 20)).astype(np.float32)
FACELESS = (192, 96)


class Finder:
    """Finds the same two faces in every frame, except in wide ones."""

    mode, every = "fast", 1

    def __init__(self, mode="fast", device="cpu"):
        pass

    def detect(self, images):
        large = Detection(np.float32([40, 10, 140, 90]), FACE, 0.9)
        small = Detection(np.float32([0, 0, 10, 10]), FACE / 8, 0.99)
        return [[] if image.shape[1] == FACELESS[0] else [large, small] for image in images]


class Replica(DatasetLayout):
    """Videos in LEVEL/KIND/SPLIT/NAME.mp4, where `all` means every split, and masks in masks/KIND."""

    dataset = "Replica"
    kinds = ("R_real", "R_fake")
    origin = "nowhere"
    expects = "folders"
    nested = True

    def videos(self, root):
        for level in ("c23", "c40"):
            for kind in self.kinds:
                for path in sorted((root / level / kind).glob("*/*")):
                    mask = root / "masks" / kind / path.name
                    for split in (
                        ("train", "val", "test") if path.parent.name == "all" else (path.parent.name,)
                    ):
                        frames = tuple(sorted(path.iterdir())) if path.is_dir() else ()
                        existing_mask = mask if mask.exists() else None
                        yield SourceVideo(path, kind, split, path.stem, level, existing_mask, frames)
