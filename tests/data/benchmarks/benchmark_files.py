"""Small benchmark files in the published variants, with empty crops."""

import json


def crops(folder, video, frames=(0, 1)):
    """Create empty crops, whose content no test reads, and return their paths relative to the folder."""
    (folder / video).mkdir(parents=True, exist_ok=True)
    for frame in frames:
        (folder / video / f"{frame:03d}.png").touch()
    return [f"{video}/{frame:03d}.png" for frame in frames]


def file(folder, data, name="UADFV", key=None):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(data if isinstance(data, str) else json.dumps({key or name: data}))
    return path


def entry(kind, frames, **more):
    return {"label": kind, "frames": frames, **more}


def uadfv(folder):
    """A data set without levels: one real and one fake video, both in two splits."""
    kinds = {}
    for kind in ("UADFV_Real", "UADFV_Fake"):
        videos = {"0000": entry(kind, crops(folder, f"UADFV/{kind}/frames/0000"))}
        kinds[kind] = {"train": {}, "val": videos, "test": videos}
    return file(folder, kinds)


def ff(folder, levels=("c23", "c40"), name="FaceForensics++", key=None):
    """A data set with levels, two kinds of fakes with the same name, and masks of one."""
    kinds = {}
    for kind, video in (("FF-real", "000"), ("FF-DF", "000_003"), ("FF-NT", "000_003")):
        of_level = {
            level: {video: entry(kind, crops(folder, f"ff/{kind}/{level}/frames/{video}"))}
            for level in levels
        }
        kinds[kind] = {"train": {level: {} for level in levels}, "test": of_level}
    masks = crops(folder, "ff/FF-DF/c23/masks/000_003")
    for level in levels:
        kinds["FF-DF"]["test"][level]["000_003"]["masks"] = masks[::-1]
    return file(folder, kinds, name, key)
