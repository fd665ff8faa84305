"""Download a published detector from the hub or an address, with resumption."""

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
from deepscan.models.catalogue import PublishedModel, check_refused, published_model
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.store import check_free, hashes

#: Packages needed to read and write weights.
NEEDED = ("torch", "safetensors", "huggingface_hub")
#: Timeout for a server's answer in seconds.
_PATIENCE = 10
#: Folder in the store with downloads until they are imported, and with interrupted ones.
DOWNLOADS = ".downloads"
_CHUNK = 1 << 20
#: Seconds between two progress lines of a download.
_INTERVAL = 10.0
OnProgress = Callable[[str], None]


def pull_model(
    name: str, store: Path, *, accepted: bool, offline: bool, on_progress: OnProgress
) -> ModelCard:
    """Download a published model, install it, and return its card.

    Args:
        name: Its name in the catalogue.
        store: Folder of installed models.
        accepted: Whether its terms are accepted.
        offline: Whether to use only files that are already on this machine.
        on_progress: Called with a line for each step.

    Raises:
        UsageError: The model is unknown, installed already, or its terms are not accepted.
        MissingError: Its page needs a browser, or it cannot be reached.
        ContractError: The model is not supported, or the file is not the published one.
    """
    model = published_model(name)
    check_refused(model)
    check_free(name, store)
    if model.source.page:
        raise MissingError(
            f"downloading {name} needs a browser: {model.source.page}",
            f"download {model.source.file} there, then: deepscan models import FILE --as {name}",
        )
    on_progress(model.terms_line)
    if not accepted:
        raise UsageError(
            f"the license of {name} is not accepted",
            f"read {model.source.publisher}, then add --accept-license",
        )
    require(NEEDED, "torch", "installing a published model")
    from deepscan.models.importing import Origin, import_model

    downloads = store / DOWNLOADS / name
    downloads.mkdir(parents=True, exist_ok=True)
    path, revision = _fetch(model, store, offline, on_progress)
    backbone = backbone_source("hub", offline=offline) if WEIGHT_LAYOUTS.get(model.layout).backbone else None
    origin = Origin(path, revision=revision, accepted=True, backbone=backbone)
    try:
        card = import_model(origin, name, store, on_progress=on_progress)
    except ContractError:
        # The download is complete but wrong, so it must not be resumed.
        shutil.rmtree(downloads)
        raise
    shutil.rmtree(downloads)
    return card


def _fetch(model: PublishedModel, store: Path, offline: bool, on_progress: OnProgress) -> tuple[Path, str]:
    """Return the file and its commit, empty if it has none.

    Raises:
        MissingError: The file cannot be downloaded.
    """
    try:
        if model.source.hub:
            return _from_hub(model, store, offline, on_progress)
        return _from_address(model, store, offline, on_progress), ""
    except MissingError:
        raise
    # The exceptions of huggingface_hub's HTTP client differ between versions.
    except Exception as error:
        raise MissingError(
            f"{model.name} cannot be downloaded from {model.source.address}: {first_line(error)}",
            f"run the command again to resume, or download {model.source.file} on another machine, then: "
            f"deepscan models import FILE --as {model.name}",
        )


def _from_hub(model: PublishedModel, store: Path, offline: bool, on_progress: OnProgress) -> tuple[Path, str]:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    source = model.source
    cached = _in_cache(model, store, offline, on_progress)
    if cached:
        # Further files go into the cache too, because they are read from the same folder.
        commit, folder = cached.parent.name, None
        missing = [file for file in source.beside if not cached.with_name(file).is_file()]
    else:
        commit, folder, missing = "", store / DOWNLOADS / model.name, list(source.beside)
    if offline:
        if not cached:
            raise _offline_error(model)
        for file in missing:
            on_progress(f"note: {file} from {source.hub} is missing, and --offline forbids downloads")
        return cached, commit
    if missing or not cached:
        # One request with a timeout: a download would retry an unreachable hub for minutes.
        info = huggingface_hub.HfApi().model_info(
            source.hub, revision=commit or source.revision, timeout=_PATIENCE
        )
        commit = commit or info.sha or ""

    def get(file: str) -> Path:
        return Path(huggingface_hub.hf_hub_download(source.hub, file, revision=commit, local_dir=folder))

    for file in missing:
        try:
            get(file)
        except LocalEntryNotFoundError:  # a subclass of the next one, for an unreachable hub
            raise
        except EntryNotFoundError:
            on_progress(f"note: {source.hub} has no {file}")
    if cached:
        return cached, commit
    size = f", {source.bytes / 1e9:.1f} GB" if source.bytes else ""
    on_progress(f"downloading {source.file} from {source.hub} at {commit}{size}")
    return get(source.file), commit


def _in_cache(model: PublishedModel, store: Path, offline: bool, on_progress: OnProgress) -> Path | None:
    """Return the file from the hub's cache, if its hash is right or downloads are forbidden.

    A truncated or unknown file would otherwise be used again by every later attempt.
    """
    import huggingface_hub

    source = model.source
    cached = huggingface_hub.try_to_load_from_cache(source.hub, source.file, revision=source.revision)
    if not isinstance(cached, str):
        return None
    expected = source.sha256 or hashes(store).get(model.name)
    if offline or (expected and sha256_of(Path(cached)) == expected):
        on_progress(f"{source.file} of {source.hub} is in the Hugging Face cache")
        return Path(cached)
    on_progress(
        f"{source.file} in the Hugging Face cache is not used: its hash is "
        f"{'wrong' if expected else 'unknown'}"
    )
    return None


def _from_address(model: PublishedModel, store: Path, offline: bool, on_progress: OnProgress) -> Path:
    path = store / DOWNLOADS / model.name / model.source.file
    if not path.is_file():
        if offline:
            raise _offline_error(model)
        on_progress(f"downloading {model.source.url}")
        download(model.source.url, path, on_progress)
    return path


def download(url: str, path: Path, on_progress: OnProgress) -> None:
    """Download a file, resuming an interrupted attempt.

    Args:
        url: Its address.
        path: The file; it appears only when it is complete.
        on_progress: Called every few seconds with a progress line.

    Raises:
        OSError: The address cannot be reached, the file cannot be written, or the download ends early; the
            downloaded part is kept for resumption.
    """
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # The part is longer than the file at the address.
            part.unlink()
        raise
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        done = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        reported = time.monotonic()
        with part.open("ab" if resumed else "wb") as file:
            while chunk := answer.read(_CHUNK):
                done += file.write(chunk)
                if time.monotonic() - reported >= _INTERVAL:
                    reported = time.monotonic()
                    on_progress(
                        f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
                    )
    if total is not None and done != total:
        raise OSError(f"the download ended after {done:,} of {total:,} bytes")
    part.replace(path)


def _offline_error(model: PublishedModel) -> MissingError:
    return MissingError(
        f"{model.source.file} of {model.name} is missing, and --offline forbids downloads",
        "run the command without --offline on a machine with a network",
    )


def backbone_source(option: str, *, offline: bool) -> Path | Callable[[str], Path] | None:
    """Return the source of a head's backbone from the value of `--backbone`.

    Args:
        option: `hub` for a function that downloads the published one when needed, a path, or empty for none.
        offline: Whether to use only files that are already on this machine.
    """
    if option != "hub":
        return Path(option) if option else None
    from deepscan.backbones.weights import fetch_backbone

    instead = "then: deepscan models import HEAD --as NAME --backbone FILE"
    return partial(fetch_backbone, offline=offline, instead=instead)
