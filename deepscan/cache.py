"""The user's cache folder, for files that are downloaded, imported or built once."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Return the folder in the user's cache for one kind of file, such as `models`."""
    # Follows the XDG base directory specification, as libraries that download weights do.
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepscan" / kind
