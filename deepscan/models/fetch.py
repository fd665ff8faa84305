"""Fetching a published detector, only when asked to and resumed, from the hub or an address."""

import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from deepscan.cards import ModelCard
from deepscan.errors import ContractError, MissingError, UsageError, first_line, require
from deepscan.models.catalogue import Known, check_refused, known
from deepscan.models.layouts import LAYOUTS
from deepscan.models.store import check_free

#: What reading and writing weights needs.
NEEDED = ("torch", "safetensors", "huggingface_hub")
#: Seconds that whoever has a file may take to answer.
PATIENCE = 10
#: Where downloads lie in the store until they are imported; what was interrupted goes on there.
DOWNLOADS = ".downloads"
_PIECE = 1 << 20
#: Seconds between two lines that say how far a download is.
_INTERVAL = 10.0
Tell = Callable[[str], None]


def pull(name: str, store: Path, *, accepted: bool, offline: bool, tell: Tell) -> ModelCard:
    """Fetch a known model, install it, and return its card.

    Args:
        name: Its name in the catalogue.
        store: The folder of the user's models.
        accepted: Whether its terms are accepted.
        offline: Whether only what is here already may be used.
        tell: Is told, a line each, what is being done.

    Raises:
        UsageError: It is not known, is installed already, or its terms are not accepted.
        MissingError: It lies where a browser is needed, or cannot be reached.
        ContractError: It cannot be taken, or what came is not what is known by that name.
    """
    wanted = known(name)
    check_refused(wanted)
    check_free(name, store)
    if wanted.source.page:
        raise MissingError(
            f"{name} lies on a page that needs a browser: {wanted.source.page}",
            f"fetch {wanted.source.file} there, then: deepscan models import FILE --as {name}",
        )
    tell(wanted.told)
    if not accepted:
        raise UsageError(
            f"the terms of {name} are not accepted",
            f"read {wanted.source.publisher}, and add --accept-license",
        )
    require(NEEDED, "torch", "installing a published model")
    from deepscan.models.importing import Origin, import_model

    downloads = store / DOWNLOADS / name
    downloads.mkdir(parents=True, exist_ok=True)
    path, revision = _fetched(wanted, downloads, offline, tell)
    tower = LAYOUTS.get(wanted.layout).tower
    origin = Origin(
        path, revision=revision, accepted=True, tower=_published_tower(tower, offline) if tower else None
    )
    try:
        card = import_model(origin, name, store, tell=tell)
    except ContractError:
        # It is whole, and not what it should be: nothing of it is to be gone on with.
        shutil.rmtree(downloads)
        raise
    shutil.rmtree(downloads)
    return card


def _fetched(wanted: Known, folder: Path, offline: bool, tell: Tell) -> tuple[Path, str]:
    """Return the file and the commit that it is of, empty where it has none.

    Raises:
        MissingError: It cannot be had.
    """
    try:
        if wanted.source.hub:
            return _from_hub(wanted, folder, offline, tell)
        return _from_address(wanted, folder, offline, tell), ""
    except MissingError:
        raise
    # What huggingface_hub's HTTP client raises has changed from version to version.
    except Exception as error:
        raise MissingError(
            f"{wanted.name} cannot be fetched from {wanted.source.address}: {first_line(error)}",
            f"repeat it to go on; or fetch {wanted.source.file} elsewhere, and: "
            f"deepscan models import FILE --as {wanted.name}",
        )


def _from_hub(wanted: Known, folder: Path, offline: bool, tell: Tell) -> tuple[Path, str]:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    source = wanted.source
    # Another program may have fetched it already.
    kept = huggingface_hub.try_to_load_from_cache(source.hub, source.file, revision=source.revision)
    if isinstance(kept, str):
        tell(f"{source.file} of {source.hub} is in the hub's cache")
        return Path(kept), Path(kept).parent.name
    if offline:
        raise _absent(wanted)
    # Asked once, with an end: a download asks for what it cannot reach again and again, for minutes.
    commit = huggingface_hub.HfApi().model_info(source.hub, revision=source.revision, timeout=PATIENCE).sha
    size = f", {source.bytes / 1e9:.1f} GB" if source.bytes else ""
    tell(f"fetching {source.file} of {source.hub} at {commit}{size}")

    def get(file: str) -> Path:
        return Path(huggingface_hub.hf_hub_download(source.hub, file, revision=commit, local_dir=folder))

    for file in source.beside:
        try:
            get(file)
        except EntryNotFoundError:
            tell(f"note: {source.hub} has no {file}")
    return get(source.file), commit or ""


def _from_address(wanted: Known, folder: Path, offline: bool, tell: Tell) -> Path:
    path = folder / wanted.source.file
    if not path.is_file():
        if offline:
            raise _absent(wanted)
        tell(f"fetching {wanted.source.url}")
        download(wanted.source.url, path, tell)
    return path


def download(url: str, path: Path, tell: Tell) -> None:
    """Fetch a file, going on where an earlier attempt was interrupted.

    Args:
        url: Its address.
        path: Where it goes; it is there only when it is whole.
        tell: Is told now and then how far it is.

    Raises:
        OSError: It cannot be reached or written, or ends early; what has come stays, to be gone on with.
    """
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.is_file() else 0
    asked = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(asked, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # What is here is no beginning of what is there now.
            part.unlink()
        raise
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = have if goes_on else 0
        stated = answer.headers.get("Content-Length")
        total = done + int(stated) if stated else None
        told = time.monotonic()
        with part.open("ab" if goes_on else "wb") as file:
            while piece := answer.read(_PIECE):
                done += file.write(piece)
                if time.monotonic() - told >= _INTERVAL:
                    told = time.monotonic()
                    tell(f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB")
    if total is not None and done != total:
        raise OSError(f"it ended after {done:,} of {total:,} bytes")
    part.replace(path)


def _absent(wanted: Known) -> MissingError:
    return MissingError(
        f"{wanted.source.file} of {wanted.name} is not here, and --offline fetches nothing",
        "repeat it without --offline where there is a network",
    )


def tower_file(stated: str, *, offline: bool) -> Path | None:
    """Return the file of a tower that `--tower` names.

    Args:
        stated: `hub` for the published one that heads alone need, a path, or empty for none.
        offline: Whether only what is here already may be used.

    Raises:
        MissingError: It cannot be had.
    """
    if stated != "hub":
        return Path(stated) if stated else None
    return _published_tower(
        next(tower for name in LAYOUTS.names if (tower := LAYOUTS.get(name).tower)), offline
    )


def _published_tower(name: str, offline: bool) -> Path:
    from deepscan.backbones.weights import fetch_tower

    try:
        return fetch_tower(name, offline)
    except MissingError as error:
        fetched = error.hint.partition(", and")[0]
        raise MissingError(
            error.message, f"{fetched}, then: deepscan models import HEAD --as NAME --tower FILE"
        )
