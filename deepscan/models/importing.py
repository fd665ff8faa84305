"""From a file of weights as its publisher names them to a model folder of ours."""

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
from deepscan.models.catalogue import Known, catalogue, check_refused, known
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.layouts.layout import WeightLayout, Weights
from deepscan.models.lookup import load_card
from deepscan.models.published_weights import Checkpoint, check_there, read_checkpoint, stated_beside

#: Names of missing and left-over weights that an error lists of each kind.
LISTED = 12
_HINT = "the file is incomplete, of another network, or of another version of its code: see --layout"


@dataclass(frozen=True, slots=True)
class Origin:
    """A file that is to become a model.

    Attributes:
        path: The file.
        layout: Whose names it has; empty for what its names say.
        backbone: A file with the backbone of a head, or what returns it by the backbone's name when needed;
            None where the file holds both.
        revision: The commit that it is of there, empty where there is none.
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

    A name that is known holds the file to what is known of it: hash, size, layout, counts. Under any other
    name the file takes the preprocessing of its layout, and nothing is said of its licence but what is given.

    Args:
        origin: The file.
        name: What the model is to be called.
        store: The folder of the user's models.
        license: SPDX identifier of weights that are not known.
        on_progress: Called with a line for each step, and for each assumption.

    Raises:
        UsageError: The name is taken or no name, the file is not there, or the layout is unknown.
        MissingError: The backbone that its head needs is not given, or not to be had.
        ContractError: It is not the file that is known by that name, cannot be read, or does not fit.
    """
    stores.check_free(name, store)
    listed = catalogue().get(name)
    check_refused(listed)
    check_there(origin.path)
    if listed and not origin.accepted:
        on_progress(listed.terms_line)
    on_progress(f"reading {origin.path}")
    sha256 = sha256_of(origin.path)
    _check_file(origin.path, sha256, name, store, listed)
    checkpoint = read_checkpoint(origin.path)
    called, layout = _layout_of(checkpoint, origin, listed)
    like = listed or known(layout.like)
    needed = layout.needed(checkpoint.weights)
    _check_counts(needed, listed)
    said = checkpoint.stated or (stated_beside(origin.path, layout.config) if layout.config else {})
    backbone = _backbone(layout, needed, origin)
    weights, left = _renamed({**_backbone_weights(backbone), **layout.worked_out(needed)}, layout, origin)
    stated, assumed = layout.network(weights, said)
    _check_backbone(stated["backbone"], layout, listed)
    for line in assumed:
        on_progress(f"note: assumed {line}")
    source = _source(origin, backbone, sha256, called, like, listed is not None, assumed)
    with _folder(store, name) as folder:
        card = ModelCard(
            folder=folder,
            name=name,
            method=layout.method,
            summary=like.summary if listed else f"{layout.method}, a file of the layout of {like.name}",
            license=listed.license if listed else license or "LicenseRef-not-stated",
            files={},
            network=stated,
            mean=like.mean,
            std=like.std,
            trained=dict(like.trained) if listed else {"data": "not stated"},
            not_for=like.not_for,
            source=source,
        )
        on_progress(f"building {layout.method} on {stated['backbone']['name']}")
        _write(card, like.crop, weights, left, origin.path)
    stores.record_hash(name, sha256, store)
    return load_card(store / name)


def _check_file(path: Path, sha256: str, name: str, store: Path, listed: Known | None) -> None:
    expected, found = listed.source.bytes if listed else None, path.stat().st_size
    if expected and found < expected:
        raise ContractError(
            f"{path} has {found:,} bytes, and {name} has {expected:,}: it is cut short", "fetch it again"
        )
    stores.check_hash(name, sha256, store, listed)


def _layout_of(checkpoint: Checkpoint, origin: Origin, listed: Known | None) -> tuple[str, WeightLayout]:
    """Return the layout that is named, or that names show, which must be that of a known model.

    Raises:
        UsageError: The one that is named is unknown.
        ContractError: It is another than the known model's, is none that is known, or is refused.
    """
    seen = [
        name for name in WEIGHT_LAYOUTS.names if WEIGHT_LAYOUTS.get(name)().recognises(checkpoint.weights)
    ]
    name = origin.layout or next(iter(seen), "")
    if not name:
        some = ", ".join(list(checkpoint.weights)[:3])
        raise ContractError(
            f"{origin.path} has no layout that is known here; its weights are called {some}, ...",
            f"known are {', '.join(WEIGHT_LAYOUTS.names)}; --layout names one",
        )
    found = WEIGHT_LAYOUTS.get(name)()
    check_refused(known(found.like))
    assert isinstance(found, WeightLayout), "whatever is only recognised is refused in the catalogue"
    if listed and listed.layout != name:
        raise ContractError(
            f"{origin.path} has the layout {name}, and {listed.name} has {listed.layout}",
            "import it under another name with --as",
        )
    return name, found


def _check_counts(needed: Weights, listed: Known | None) -> None:
    if listed is None or listed.tensors is None:
        return
    tensors, elements = len(needed), sum(value.numel() for value in needed.values())
    if (tensors, elements) != (listed.tensors, listed.elements):
        raise ContractError(
            f"the file holds {tensors:,} tensors of {elements:,} numbers, and {listed.name} has "
            f"{listed.tensors:,} of {listed.elements:,}: it is of another backbone, or not whole",
            "fetch it again, or import it under a name of your own with --as",
        )


def _renamed(weights: Weights, layout: WeightLayout, origin: Origin) -> tuple[dict[str, Tensor], list[str]]:
    try:
        return rename(weights, layout.rules)
    except (IndexError, RuntimeError) as error:  # what torch raises where parts do not go together
        raise ContractError(f"weights in {origin.path} cannot be put together: {first_line(error)}", _HINT)


def _check_backbone(stated: Mapping[str, Any], layout: WeightLayout, listed: Known | None) -> None:
    """Hold the backbone of a known head, which no count of its file covers, to the published one's sizes."""
    if listed and layout.backbone and stated != {"name": layout.backbone}:
        raise ContractError(
            f"the backbone is another than that of {listed.name}: {dict(stated)}",
            f"give the published weights of {layout.backbone}",
        )


def _backbone(layout: WeightLayout, needed: Weights, origin: Origin) -> Path | None:
    """Return the file of a head's backbone, fetched only now if it is to be; None where the file has its own.

    Raises:
        MissingError: It needs a backbone, and none is given or to be had.
        UsageError: A backbone is given and none is needed.
    """
    alone = bool(layout.backbone) and not any(".visual." in f".{name}" for name in needed)
    if alone and origin.backbone is None:
        raise MissingError(
            f"{origin.path} is a head alone, and its backbone, OpenAI's CLIP, is not given",
            "add --backbone hub to fetch it, or --backbone FILE with open_clip's file of ViT-L/14 (openai)",
        )
    if origin.backbone is not None and not alone:
        raise UsageError(f"{origin.path} brings its own backbone", "leave out --backbone")
    return origin.backbone(layout.backbone) if callable(origin.backbone) else origin.backbone


def _backbone_weights(path: Path | None) -> Weights:
    """Return the weights of the backbone in a file of the whole of CLIP; none where there is no file.

    Raises:
        UsageError: It is not there.
        ContractError: It holds no backbone as open_clip names it.
    """
    if path is None:
        return {}
    check_there(path)
    backbone = {
        name: value for name, value in read_checkpoint(path).weights.items() if name.startswith("visual.")
    }
    if not backbone:
        raise ContractError(
            f"{path} has no vision backbone by open_clip's names",
            "give open_clip's file of the whole of CLIP",
        )
    return backbone


def _source(
    origin: Origin,
    backbone: Path | None,
    sha256: str,
    layout: str,
    like: Known,
    listed: bool,
    assumed: tuple[str, ...],
) -> dict[str, Any]:
    """Return what the card says of where the model is from; of a file that is not known only what is so."""
    said: dict[str, Any] = {"preprocessing": f"as published with {like.name}"}
    if listed:
        said = {
            "publisher": like.source.publisher,
            "address": like.source.address,
            "terms": like.terms,
            "threshold": like.threshold,
            "video_rule": like.video_rule,
            "deviates": like.deviates,
            "published": [dict(each) for each in like.published],
            "published_in": like.published_in,
        }
    return {
        **said,
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
    """Fill the network, write its weights and the card with the golden score."""
    network = DETECTORS.get(card.method)().build({"tuning": {"type": "frozen"}, **card.network})
    origin, own = f"the weights in {path}", network.state_dict()
    given = {name: shaped(value, own.get(name)) for name, value in weights.items()}
    # It would keep the random weights in memory beside those that take their place.
    del own
    fill(network, given, left, origin, listed=LISTED, assign=True, hint=_HINT)
    save_weights(card.folder / WEIGHTS, network)
    if crop.input_side != network.side:
        # A backbone of another side than the published one.
        crop = replace(crop, resize=network.side)
    files = {"torch": ModelFile(WEIGHTS, sha256_of(card.folder / WEIGHTS))}
    card = replace(card, crop=crop, files=files)
    inputs = make_preprocessor(card.inputs, crop, card.mean, card.std)
    del network
    # As it will be loaded.
    score = float(predict(load_network(card), golden_crops(crop.input_side), inputs).mean())
    if not 0 <= score <= 1:
        raise ContractError(f"{origin} give no score: {score}", "fetch it again: some numbers in it are none")
    write_card(replace(card, golden=Golden(round(score, 6), TOLERANCE)))


@contextmanager
def _folder(store: Path, name: str) -> Iterator[Path]:
    """Yield a folder that takes the model's place when the context ends well; otherwise nothing stays.

    Raises:
        DeepscanError: It cannot be made.
    """
    fresh = store / f".{name}.part"
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        fresh.rename(store / name)
    except OSError as error:
        raise DeepscanError(
            f"{store} cannot be written into: {error.strerror}", "make room, or see to its rights"
        )
    finally:
        with suppress(OSError):
            shutil.rmtree(fresh, ignore_errors=True)
