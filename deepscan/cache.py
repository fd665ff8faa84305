"""The user's cache: where what is fetched, imported or built once is kept."""

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Return the folder in the user's cache for one kind of thing, such as `models`."""
    # As the XDG base directory specification has it, and the libraries that fetch weights do.
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepscan" / kind
