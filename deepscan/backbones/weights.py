"""Load a backbone's weights from the Hugging Face hub, an installed package or a file."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from deepscan.backbones import BACKBONES, clip, efficientnet, timm
from deepscan.backbones.backbone import Backbone
from deepscan.backbones.published import PUBLISHED, Published, published
from deepscan.backbones.weight_rules import fill, translate
from deepscan.errors import ContractError, MissingError, UsageError, first_line, package_hint
from deepscan.offline import turn_reports_off

#: Seconds after which a hub that has not answered is unreachable.
PATIENCE = 10
#: Prefixes of weight names in deepscan's files: a run's averaged weights, a model's, a run's.
_OUR_PREFIXES = ("average.", "", "network.")
#: Prefix of `weights` that names an installed package with weights.
PACKAGE = "package:"
#: Prefix of `weights` that names a deepscan file of which the whole network is loaded, not only its backbone.
NETWORK = "network:"
#: Suffixes of weight files in a package.
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
#: Layout of published weights -> module that reads it.
_READERS = {"open_clip": clip, "timm": timm, "efficientnet": efficientnet}


def load_weights(backbone: Backbone, name: str, path: Path) -> None:
    """Fill a backbone from its publisher's file or a deepscan checkpoint.

    Args:
        backbone: The backbone.
        name: Its name.
        path: A safetensors or torch file; only tensors are read from it.

    Raises:
        MissingError: The file does not exist.
        ContractError: The file cannot be read, or holds another backbone's weights.
    """
    locate(name, str(path))
    try:
        weights, left = _read(path, name, backbone)
    except (ContractError, MemoryError):
        raise
    except Exception as error:  # neither library documents what it raises for other files
        raise ContractError(
            f"{path} cannot be read as weights: {first_line(error)}",
            "give a safetensors file, or a torch file that contains only tensors",
        )
    if not weights:
        raise ContractError(
            f"{path} has no backbone weights, neither in the layout of {name}'s publisher nor in deepscan's",
            f"give a file or a checkpoint with the backbone {name}",
        )
    fill(backbone, weights, left, f"the weights in {path} for the backbone {name}")


def _read(path: Path, name: str, backbone: Backbone) -> tuple[dict[str, Tensor], list[str]]:
    ours = stored(path, "backbone.")
    if ours or name not in PUBLISHED:
        return ours, []
    entry = PUBLISHED[name]
    reader = _READERS[entry.layout]
    return translate(reader.read(path, entry.model, backbone), reader.RULES, backbone)


def stored(path: Path, part: str) -> dict[str, Tensor]:
    """Return the weights of a part of a network from a deepscan file; empty if the file has none.

    Args:
        path: The file.
        part: Prefix of the part's names in a network, such as `head.`.
    """
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        for prefix in (before + part for before in _OUR_PREFIXES):
            if matching := [name for name in names if name.startswith(prefix)]:
                return {name.removeprefix(prefix): file.get_tensor(name) for name in matching}
    return {}


def _source(entry: Published) -> str:
    return f"{entry.files[0]} from the Hugging Face repository {entry.repository}"


def locate(name: str, weights: str) -> Path:
    """Return the path of a backbone's weights.

    Args:
        name: The backbone's name.
        weights: `hub`, `package:NAME` of an installed package, or a path with or without `network:`.

    Raises:
        UsageError: No weights are published.
        MissingError: The file or the package is missing, or the hub cannot be reached.
        ContractError: The package does not hold exactly one weights file.
    """
    if weights == "hub":
        return fetch_backbone(name)
    if weights.startswith(PACKAGE):
        return _in_package(weights.removeprefix(PACKAGE))
    weights = weights.removeprefix(NETWORK)
    if not Path(weights).is_file():
        raise MissingError(
            f"weights file {weights} does not exist",
            f"put {_source(PUBLISHED[name])} there, or give weights=hub"
            if name in PUBLISHED
            else "give the path of a deepscan checkpoint, or weights=random",
        )
    return Path(weights)


def _in_package(name: str) -> Path:
    """Return the weights file of an installed package, without running its code."""
    try:
        files = importlib.metadata.files(name) or ()
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(f"the package {name} is not installed", package_hint(name))
    candidates = [file for file in files if file.suffix in _SUFFIXES]
    if len(candidates) != 1:
        raise ContractError(
            f"the package {name} holds {len(candidates)} weights files, not one",
            "give the path of the file as weights=FILE",
        )
    return Path(str(candidates[0].locate()))


def fetch_backbone(name: str, offline: bool = False, instead: str = "and give it as weights=FILE") -> Path:
    """Return the path of a backbone's published weights, from the hub's cache or downloaded.

    Args:
        name: The backbone's name.
        offline: Whether to use only the cache.
        instead: End of the hint: what to do with a file downloaded on another machine.

    Raises:
        UsageError: No weights are published.
        MissingError: The hub cannot be reached, or no longer has the file.
    """
    turn_reports_off()
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    entry = published(name)
    for file in entry.files:
        cached = huggingface_hub.try_to_load_from_cache(entry.repository, file)
        if isinstance(cached, str):
            return Path(cached)
    hint = f"download {_source(entry)} on a machine with a network, {instead}"
    if offline:
        raise MissingError(
            f"the weights of {name} are not in the Hugging Face cache, and --offline forbids downloads", hint
        )
    reason: Exception | None = None
    try:
        # One request with a timeout: a download would retry an unreachable hub for minutes.
        huggingface_hub.HfApi().model_info(entry.repository, timeout=PATIENCE)
        for file in entry.files:
            try:
                return Path(huggingface_hub.hf_hub_download(entry.repository, file))
            except EntryNotFoundError as error:
                reason = error
    except Exception as error:  # its HTTP client, and so its exceptions, differ between versions
        reason = error
    raise MissingError(f"cannot download the weights of {name} from the hub: {first_line(reason)}", hint)


def build_backbone(settings: Mapping[str, Any], weights: str = "random") -> Backbone:
    """Build a backbone from `network.backbone`.

    Args:
        settings: The backbone's `name` and its builder's arguments.
        weights: `random`, `hub` for the published weights, `package:NAME` for an installed package, or the
            path of a file: in the publisher's layout, or a checkpoint of a network with such a backbone.

    Raises:
        UsageError: The name, a key or a value is wrong, or no weights are published.
        MissingError: The weights are missing and cannot be downloaded.
        ContractError: The weights are of another backbone.
    """
    arguments = dict(settings)
    name = arguments.pop("name", None)
    if name is None:
        raise UsageError("network.backbone has no name", f"choose from: {', '.join(BACKBONES.names)}")
    builder = BACKBONES.get(name)
    if weights == "hub":
        published(name)
    try:
        backbone = builder(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad arguments for backbone {name!r}: {error}", "correct network.backbone")
    if weights == "random":
        return backbone
    load_weights(backbone, name, locate(name, weights))
    return backbone
