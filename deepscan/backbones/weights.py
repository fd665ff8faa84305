"""Weights of backbones: from the hub, an installed package or a file, and put into a backbone."""

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

#: Seconds that the hub may take to answer before it counts as out of reach.
PATIENCE = 10
#: What stands before the names of weights in files of ours: averaged ones of a run, a model's, a run's.
_OURS = ("average.", "", "network.")
#: What names an installed package that holds weights, and how its files of weights end.
PACKAGE = "package:"
#: What names a file of ours whose whole network is meant, not its backbone alone.
NETWORK = "network:"
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
#: Layout of published weights -> what reads it.
_READERS = {"open_clip": clip, "timm": timm, "efficientnet": efficientnet}


def load_weights(backbone: Backbone, name: str, path: Path) -> None:
    """Fill a backbone from a file: its publisher's, or a checkpoint of ours.

    Args:
        backbone: The backbone.
        name: Its name.
        path: A safetensors file, or one of torch, of which only tensors are read.

    Raises:
        MissingError: The file is not there.
        ContractError: It cannot be read, or holds another backbone's weights.
    """
    locate(name, str(path))
    try:
        given, left = _read(path, name, backbone)
    except (ContractError, MemoryError):
        raise
    except Exception as error:  # what a file that is none of theirs raises in either library is not stated
        raise ContractError(
            f"{path} cannot be read as weights: {first_line(error)}",
            "give a safetensors file, or one of torch",
        )
    if not given:
        raise ContractError(
            f"{path} has no weights of a backbone, by the names of {name}'s publisher or by ours",
            f"give a file or a checkpoint with the backbone {name}",
        )
    fill(backbone, given, left, f"the weights in {path}, for the backbone {name},")


def _read(path: Path, name: str, backbone: Backbone) -> tuple[dict[str, Tensor], list[str]]:
    ours = stored(path, "backbone.")
    if ours or name not in PUBLISHED:
        return ours, []
    found = PUBLISHED[name]
    reader = _READERS[found.layout]
    return translate(reader.read(path, found.model, backbone), reader.RULES, backbone)


def stored(path: Path, part: str) -> dict[str, Tensor]:
    """Return the weights of a part of a network from a file of ours, none where it has none.

    Args:
        path: The file.
        part: What their names begin with in a network, such as `head.`.
    """
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        for prefix in (before + part for before in _OURS):
            if mine := [name for name in names if name.startswith(prefix)]:
                return {name.removeprefix(prefix): file.get_tensor(name) for name in mine}
    return {}


def _named(found: Published) -> str:
    return f"{found.files[0]} of the Hugging Face repository {found.repository}"


def locate(name: str, weights: str) -> Path:
    """Return the file of a backbone's weights.

    Args:
        name: The backbone's name.
        weights: `hub`, `package:` and the name of an installed package, or a path, after `network:` or not.

    Raises:
        UsageError: None are published.
        MissingError: The file or the package is not there, or the hub cannot be reached.
        ContractError: The package holds no file of weights, or several.
    """
    if weights == "hub":
        return fetch_backbone(name)
    if weights.startswith(PACKAGE):
        return _in_package(weights.removeprefix(PACKAGE))
    weights = weights.removeprefix(NETWORK)
    if not Path(weights).is_file():
        raise MissingError(
            f"there is no weights file {weights}",
            f"put {_named(PUBLISHED[name])} there, or give weights=hub"
            if name in PUBLISHED
            else "give the path of a checkpoint of ours, or weights=random",
        )
    return Path(weights)


def _in_package(name: str) -> Path:
    """Return the one file of weights in an installed package; none of its code runs."""
    try:
        files = importlib.metadata.files(name) or ()
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(f"the package {name} is not installed", package_hint(name))
    found = [file for file in files if file.suffix in _SUFFIXES]
    if len(found) != 1:
        raise ContractError(
            f"the package {name} holds {len(found)} files of weights, not one",
            "give the path of the file as weights=FILE",
        )
    return Path(str(found[0].locate()))


def fetch_backbone(name: str, offline: bool = False, instead: str = "and give it as weights=FILE") -> Path:
    """Return the file of a backbone's published weights, from the cache or else from the hub.

    Args:
        name: The backbone's name.
        offline: Whether the hub is not to be asked.
        instead: What is to be done with a file that was fetched elsewhere, for the hint.

    Raises:
        UsageError: None are published.
        MissingError: The hub cannot be reached, or has them no more.
    """
    turn_reports_off()
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    found = published(name)
    for file in found.files:
        kept = huggingface_hub.try_to_load_from_cache(found.repository, file)
        if isinstance(kept, str):
            return Path(kept)
    hint = f"fetch {_named(found)} where there is a network, {instead}"
    if offline:
        raise MissingError(
            f"the weights of {name} are not in the hub's cache, and --offline fetches nothing", hint
        )
    reason: Exception | None = None
    try:
        # Asked once, with an end: a download asks for what it cannot reach again and again, for minutes.
        huggingface_hub.HfApi().model_info(found.repository, timeout=PATIENCE)
        for file in found.files:
            try:
                return Path(huggingface_hub.hf_hub_download(found.repository, file))
            except EntryNotFoundError as error:
                reason = error
    except Exception as error:  # whatever its HTTP client raises, of which it has changed
        reason = error
    raise MissingError(f"cannot fetch the weights of {name} from the hub: {first_line(reason)}", hint)


def build_backbone(stated: Mapping[str, Any], weights: str = "random") -> Backbone:
    """Return the backbone that a network's `backbone` states.

    Args:
        stated: Its `name`, and arguments of its builder.
        weights: `hub` for the published weights of that name, `random`, `package:NAME` for those in an
            installed package, or the path of a file: of the publisher's layout, or a checkpoint of a network
            with such a backbone.

    Raises:
        UsageError: The name, a key or a value is wrong, or no weights are published.
        MissingError: The weights are not there and cannot be fetched.
        ContractError: The weights are of another backbone.
    """
    arguments = dict(stated)
    name = arguments.pop("name", None)
    if name is None:
        raise UsageError("the network's backbone has no name", f"choose from: {', '.join(BACKBONES.names)}")
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
