"""Fetching a published detector, only when asked to and resumed, from the hub or an address."""

import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deepscan.cards import ModelCard, sha256_of
from deepscan.errors import ContractError, MissingError, UsageError, first_line, require
from deepscan.models.catalogue import Known, check_refused, known
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.store import check_free, hashes

#: What reading and writing weights needs.
NEEDED = ("torch", "safetensors", "huggingface_hub")
#: Seconds that a server may take to answer.
_PATIENCE = 10
#: Where downloads lie in the store until they are imported; what was interrupted goes on there.
DOWNLOADS = ".downloads"
_PIECE = 1 << 20
#: Seconds between two lines that say how far a download is.
_INTERVAL = 10.0
OnProgress = Callable[[str], None]


def pull_model(
    name: str, store: Path, *, accepted: bool, offline: bool, on_progress: OnProgress
) -> ModelCard:
    """Fetch a known model, install it, and return its card.

    Args:
        name: Its name in the catalogue.
        store: The folder of the user's models.
        accepted: Whether its terms are accepted.
        offline: Whether only what is here already may be used.
        on_progress: Called with a line for each step.

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
    on_progress(wanted.terms_line)
    if not accepted:
        raise UsageError(
            f"the terms of {name} are not accepted",
            f"read {wanted.source.publisher}, and add --accept-license",
        )
    require(NEEDED, "torch", "installing a published model")
    from deepscan.models.importing import Origin, import_model

    downloads = store / DOWNLOADS / name
    downloads.mkdir(parents=True, exist_ok=True)
    path, revision = _fetched(wanted, store, offline, on_progress)
    backbone = backbone_source("hub", offline=offline) if WEIGHT_LAYOUTS.get(wanted.layout).backbone else None
    origin = Origin(path, revision=revision, accepted=True, backbone=backbone)
    try:
        card = import_model(origin, name, store, on_progress=on_progress)
    except ContractError:
        # It is whole, and not what it should be: nothing of it is to be gone on with.
        shutil.rmtree(downloads)
        raise
    shutil.rmtree(downloads)
    return card


def _fetched(wanted: Known, store: Path, offline: bool, on_progress: OnProgress) -> tuple[Path, str]:
    """Return the file and the commit that it is of, empty where it has none.

    Raises:
        MissingError: It cannot be had.
    """
    try:
        if wanted.source.hub:
            return _from_hub(wanted, store, offline, on_progress)
        return _from_address(wanted, store, offline, on_progress), ""
    except MissingError:
        raise
    # What huggingface_hub's HTTP client raises has changed from version to version.
    except Exception as error:
        raise MissingError(
            f"{wanted.name} cannot be fetched from {wanted.source.address}: {first_line(error)}",
            f"repeat it to go on; or fetch {wanted.source.file} elsewhere, and: "
            f"deepscan models import FILE --as {wanted.name}",
        )


def _from_hub(wanted: Known, store: Path, offline: bool, on_progress: OnProgress) -> tuple[Path, str]:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    source = wanted.source
    kept = _in_cache(wanted, store, offline, on_progress)
    if kept:
        # What lies beside it goes there too: it is looked for beside the file.
        commit, folder = kept.parent.name, None
        lacking = [file for file in source.beside if not kept.with_name(file).is_file()]
    else:
        commit, folder, lacking = "", store / DOWNLOADS / wanted.name, list(source.beside)
    if offline:
        if not kept:
            raise _absent(wanted)
        for file in lacking:
            on_progress(f"note: {file} of {source.hub} is not here, and --offline fetches nothing")
        return kept, commit
    if lacking or not kept:
        # Asked once, with an end: a download asks for what it cannot reach again and again, for minutes.
        asked = huggingface_hub.HfApi().model_info(
            source.hub, revision=commit or source.revision, timeout=_PATIENCE
        )
        commit = commit or asked.sha or ""

    def get(file: str) -> Path:
        return Path(huggingface_hub.hf_hub_download(source.hub, file, revision=commit, local_dir=folder))

    for file in lacking:
        try:
            get(file)
        except LocalEntryNotFoundError:  # a kind of the next, and means: out of reach
            raise
        except EntryNotFoundError:
            on_progress(f"note: {source.hub} has no {file}")
    if kept:
        return kept, commit
    size = f", {source.bytes / 1e9:.1f} GB" if source.bytes else ""
    on_progress(f"fetching {source.file} of {source.hub} at {commit}{size}")
    return get(source.file), commit


def _in_cache(wanted: Known, store: Path, offline: bool, on_progress: OnProgress) -> Path | None:
    """Return the file that another program has fetched, where its hash is right or nothing may be fetched.

    One that is cut short, or of which nothing is known, would be taken again by every later attempt.
    """
    import huggingface_hub

    source = wanted.source
    kept = huggingface_hub.try_to_load_from_cache(source.hub, source.file, revision=source.revision)
    if not isinstance(kept, str):
        return None
    expected = source.sha256 or hashes(store).get(wanted.name)
    if offline or (expected and sha256_of(Path(kept)) == expected):
        on_progress(f"{source.file} of {source.hub} is in the hub's cache")
        return Path(kept)
    on_progress(
        f"{source.file} in the hub's cache is not taken: its hash is {'another' if expected else 'not known'}"
    )
    return None


def _from_address(wanted: Known, store: Path, offline: bool, on_progress: OnProgress) -> Path:
    path = store / DOWNLOADS / wanted.name / wanted.source.file
    if not path.is_file():
        if offline:
            raise _absent(wanted)
        on_progress(f"fetching {wanted.source.url}")
        download(wanted.source.url, path, on_progress)
    return path


def download(url: str, path: Path, on_progress: OnProgress) -> None:
    """Fetch a file, going on where an earlier attempt was interrupted.

    Args:
        url: Its address.
        path: Where it goes; it is there only when it is whole.
        on_progress: Called now and then with a line that says how far it is.

    Raises:
        OSError: It cannot be reached or written, or ends early; what has come stays, to be gone on with.
    """
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.is_file() else 0
    asked = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(asked, timeout=_PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # The part that is here is not the beginning of what is there now.
            part.unlink()
        raise
    with answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = have if goes_on else 0
        stated = answer.headers.get("Content-Length")
        total = done + int(stated) if stated else None
        reported = time.monotonic()
        with part.open("ab" if goes_on else "wb") as file:
            while piece := answer.read(_PIECE):
                done += file.write(piece)
                if time.monotonic() - reported >= _INTERVAL:
                    reported = time.monotonic()
                    on_progress(
                        f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
                    )
    if total is not None and done != total:
        raise OSError(f"it ended after {done:,} of {total:,} bytes")
    part.replace(path)


def _absent(wanted: Known) -> MissingError:
    return MissingError(
        f"{wanted.source.file} of {wanted.name} is not here, and --offline fetches nothing",
        "repeat it without --offline where there is a network",
    )


def backbone_source(stated: str, *, offline: bool) -> Path | Callable[[str], Path] | None:
    """Return where an importer takes the backbone of a head from, as `--backbone` states it.

    Args:
        stated: `hub` for what fetches the published one once it is asked for, a path, or empty for none.
        offline: Whether only what is here already may be used.
    """
    if stated != "hub":
        return Path(stated) if stated else None
    from deepscan.backbones.weights import fetch_backbone

    instead = "then: deepscan models import HEAD --as NAME --backbone FILE"
    return partial(fetch_backbone, offline=offline, instead=instead)
