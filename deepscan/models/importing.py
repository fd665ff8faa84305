"""Import a publisher's file of weights as a model folder."""

import datetime
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from deepscan.backbones.weight_rules import fill, rename, shaped
from deepscan.cards import Golden, ModelCard, ModelFile, sha256_of, write_card
from deepscan.crop_recipe import CropRecipe
from deepscan.detectors import DETECTORS, load_network
from deepscan.detectors.predict import predict
from deepscan.detectors.preprocess import make_preprocessor
from deepscan.detectors.weights import WEIGHTS, save_weights
from deepscan.engines.export import TOLERANCE
from deepscan.engines.golden import golden_crops
from deepscan.errors import ContractError, DeepscanError, MissingError, UsageError, first_line
from deepscan.models import store as stores
from deepscan.models.catalogue import PublishedModel, catalogue, check_refused, published_model
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import WeightLayout, Weights
from deepscan.models.lookup import load_card
from deepscan.models.published_weights import Checkpoint, check_exists, read_checkpoint, read_config

#: Number of missing and of left-over weights that an error lists.
LISTED = 12
_HINT = "the file is incomplete, or from another network or version of its code: see --layout"


@dataclass(frozen=True, slots=True)
class Origin:
    """A file to import.

    Attributes:
        path: The file.
        layout: Name of its layout; empty to detect it from the weights' names.
        backbone: A file with the head's backbone, or a function that returns its path from the backbone's
            name; None if the file has both.
        revision: Commit of the file's repository; empty if unknown.
        accepted: Whether its terms were accepted.
    """

    path: Path
    layout: str = ""
    backbone: Path | Callable[[str], Path] | None = None
    revision: str = ""
    accepted: bool = False


def import_model(
    origin: Origin,
    name: str,
    store: Path,
    *,
    license: str = "",
    on_progress: Callable[[str], None] = lambda line: None,
) -> ModelCard:
    """Install a published detector from a file, and return its card.

    If the catalogue has a model of that name, the file's hash, size, layout and counts must match it. Under
    any other name the model gets the preprocessing of its layout's reference model and the given license.

    Args:
        origin: The file.
        name: Name for the model.
        store: Folder of installed models.
        license: SPDX identifier, for a name that is not in the catalogue.
        on_progress: Called with a line for each step and each assumption.

    Raises:
        UsageError: The name is invalid or taken, the file does not exist, or the layout is unknown.
        MissingError: The head's backbone is not given or cannot be downloaded.
        ContractError: The file is not the published one, cannot be read, or does not match its network.
    """
    stores.check_free(name, store)
    listed = catalogue().get(name)
    check_refused(listed)
    check_exists(origin.path)
    if listed and not origin.accepted:
        on_progress(listed.terms_line)
    on_progress(f"reading {origin.path}")
    sha256 = sha256_of(origin.path)
    _check_file(origin.path, sha256, name, store, listed)
    checkpoint = read_checkpoint(origin.path)
    layout_name, layout = _layout_of(checkpoint, origin, listed)
    reference = listed or published_model(layout.reference)
    needed = layout.needed(checkpoint.weights)
    _check_counts(needed, listed)
    config = checkpoint.config or (read_config(origin.path, layout.config) if layout.config else {})
    backbone = _backbone(layout, needed, origin)
    weights, left = _rename({**_backbone_weights(backbone), **layout.convert(needed)}, layout, origin)
    network, assumed = layout.network(weights, config)
    _check_backbone(network["backbone"], layout, listed)
    for line in assumed:
        on_progress(f"note: assumed {line}")
    source = _source(origin, backbone, sha256, layout_name, reference, listed is not None, assumed)
    with _folder(store, name) as folder:
        card = ModelCard(
            folder=folder,
            name=name,
            method=layout.method,
            summary=reference.summary if listed else f"{layout.method}, a file in {reference.name}'s layout",
            license=listed.license if listed else license or "LicenseRef-not-stated",
            files={},
            network=network,
            mean=reference.mean,
            std=reference.std,
            trained=dict(reference.trained) if listed else {"data": "unknown"},
            not_for=reference.not_for,
            source=source,
        )
        on_progress(f"building {layout.method} on {network['backbone']['name']}")
        _write(card, reference.crop, weights, left, origin.path)
    stores.record_hash(name, sha256, store)
    return load_card(store / name)


def _check_file(path: Path, sha256: str, name: str, store: Path, listed: PublishedModel | None) -> None:
    expected, actual = listed.source.bytes if listed else None, path.stat().st_size
    if expected and actual < expected:
        raise ContractError(
            f"{path} has {actual:,} bytes, but {name} has {expected:,}: it is truncated", "download it again"
        )
    stores.check_hash(name, sha256, store, listed)


def _layout_of(
    checkpoint: Checkpoint, origin: Origin, listed: PublishedModel | None
) -> tuple[str, WeightLayout]:
    """Return the layout that is named or detected.

    Raises:
        UsageError: The named layout is unknown.
        ContractError: The layout cannot be detected, is refused, or differs from the published model's.
    """
    recognised = [
        name for name in WEIGHT_LAYOUTS.names if WEIGHT_LAYOUTS.get(name)().recognises(checkpoint.weights)
    ]
    name = origin.layout or next(iter(recognised), "")
    if not name:
        some = ", ".join(list(checkpoint.weights)[:3])
        raise ContractError(
            f"{origin.path} has an unknown layout; its weights are named {some}, ...",
            f"name its layout with --layout: {', '.join(WEIGHT_LAYOUTS.names)}",
        )
    layout = WEIGHT_LAYOUTS.get(name)()
    check_refused(published_model(layout.reference))
    assert isinstance(layout, WeightLayout), "the catalogue must refuse the models of all other layouts"
    if listed and listed.layout != name:
        raise ContractError(
            f"{origin.path} has the layout {name}, but {listed.name} has {listed.layout}",
            "import it under another name with --as",
        )
    return name, layout


def _check_counts(needed: Weights, listed: PublishedModel | None) -> None:
    if listed is None or listed.tensors is None:
        return
    tensors, elements = len(needed), sum(value.numel() for value in needed.values())
    if (tensors, elements) != (listed.tensors, listed.elements):
        raise ContractError(
            f"the file has {tensors:,} tensors with {elements:,} elements, but {listed.name} has "
            f"{listed.tensors:,} with {listed.elements:,}: it is incomplete or has another backbone",
            "download it again, or import it under another name with --as",
        )


def _rename(weights: Weights, layout: WeightLayout, origin: Origin) -> tuple[dict[str, Tensor], list[str]]:
    try:
        return rename(weights, layout.rules)
    except (IndexError, RuntimeError) as error:  # torch raises these for parts that do not match
        raise ContractError(f"weights in {origin.path} cannot be combined: {first_line(error)}", _HINT)


def _check_backbone(settings: Mapping[str, Any], layout: WeightLayout, listed: PublishedModel | None) -> None:
    """Check the sizes of a published head's backbone, which the counts of the head's file do not cover."""
    if listed and layout.backbone and settings != {"name": layout.backbone}:
        raise ContractError(
            f"the backbone differs from that of {listed.name}: {dict(settings)}",
            f"give the published weights of {layout.backbone}",
        )


def _backbone(layout: WeightLayout, needed: Weights, origin: Origin) -> Path | None:
    """Return the file of a head's backbone, downloaded if necessary; None if the file has a backbone.

    Raises:
        MissingError: A backbone is needed, and is not given or cannot be downloaded.
        UsageError: A backbone is given but not needed.
    """
    only_head = bool(layout.backbone) and not any(".visual." in f".{name}" for name in needed)
    if only_head and origin.backbone is None:
        raise MissingError(
            f"{origin.path} has only a head; its backbone, OpenAI's CLIP, is not given",
            "add --backbone hub to download it, or --backbone FILE: open_clip's file of ViT-L/14 (openai)",
        )
    if origin.backbone is not None and not only_head:
        raise UsageError(f"{origin.path} includes its backbone", "leave out --backbone")
    return origin.backbone(layout.backbone) if callable(origin.backbone) else origin.backbone


def _backbone_weights(path: Path | None) -> Weights:
    """Return the backbone's weights from a file with all of CLIP; empty without a file.

    Raises:
        UsageError: The file does not exist.
        ContractError: The file has no backbone as named by open_clip.
    """
    if path is None:
        return {}
    check_exists(path)
    backbone = {
        name: value for name, value in read_checkpoint(path).weights.items() if name.startswith("visual.")
    }
    if not backbone:
        raise ContractError(
            f"{path} has no vision backbone with open_clip's names",
            "give open_clip's file with all of CLIP",
        )
    return backbone


def _source(
    origin: Origin,
    backbone: Path | None,
    sha256: str,
    layout: str,
    reference: PublishedModel,
    listed: bool,
    assumed: tuple[str, ...],
) -> dict[str, Any]:
    """Return `source` for the card; a file that is not in the catalogue gets no claims of its publisher."""
    claims: dict[str, Any] = {"preprocessing": f"as published with {reference.name}"}
    if listed:
        claims = {
            "publisher": reference.source.publisher,
            "address": reference.source.address,
            "terms": reference.terms,
            "threshold": reference.threshold,
            "video_rule": reference.video_rule,
            "deviates": reference.deviates,
            "published": [dict(result) for result in reference.published],
            "published_in": reference.published_in,
        }
    return {
        **claims,
        **({"revision": origin.revision} if origin.revision else {}),
        "file": origin.path.name,
        "bytes": origin.path.stat().st_size,
        "sha256": sha256,
        "layout": layout,
        **({"tower": {"file": backbone.name, "sha256": sha256_of(backbone)}} if backbone else {}),
        **({"assumed": list(assumed)} if assumed else {}),
        **({"terms_accepted": True} if origin.accepted else {}),
        "imported": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _write(card: ModelCard, crop: CropRecipe, weights: Weights, left: list[str], path: Path) -> None:
    """Fill the network, then write its weights and the card with the golden score."""
    network = DETECTORS.get(card.method)().build({"tuning": {"type": "frozen"}, **card.network})
    origin, own = f"the weights in {path}", network.state_dict()
    loaded = {name: shaped(value, own.get(name)) for name, value in weights.items()}
    # It would keep the random weights in memory in addition to the loaded ones.
    del own
    fill(network, loaded, left, origin, listed=LISTED, assign=True, hint=_HINT)
    save_weights(card.folder / WEIGHTS, network)
    if crop.input_side != network.side:
        # The backbone's side differs from the published one's.
        crop = replace(crop, resize=network.side)
    files = {"torch": ModelFile(WEIGHTS, sha256_of(card.folder / WEIGHTS))}
    card = replace(card, crop=crop, files=files)
    inputs = make_preprocessor(card.inputs, crop, card.mean, card.std)
    del network
    # Loaded again, to score exactly the stored weights.
    score = float(predict(load_network(card), golden_crops(crop.input_side), inputs).mean())
    if not 0 <= score <= 1:
        raise ContractError(
            f"{origin} gives an invalid score: {score}",
            "download it again: some of its numbers are NaN or infinite",
        )
    write_card(replace(card, golden=Golden(round(score, 6), TOLERANCE)))


@contextmanager
def _folder(store: Path, name: str) -> Iterator[Path]:
    """Yield a temporary folder that becomes the model's on success and is removed on failure.

    Raises:
        DeepscanError: The folder cannot be written.
    """
    temporary = store / f".{name}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(store / name)
    except OSError as error:
        raise DeepscanError(
            f"cannot write to folder {store}: {error.strerror}", "free disk space or check its permissions"
        )
    finally:
        with suppress(OSError):
            shutil.rmtree(temporary, ignore_errors=True)
