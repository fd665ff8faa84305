"""`deepscan export`: a model's network as an ONNX file, which runs without torch."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deepscan.cards import CARD, ModelCard, write_card
from deepscan.cli import options as opt
from deepscan.cli.streams import print_line
from deepscan.errors import UsageError, require
from deepscan.files import make_folder
from deepscan.models.lookup import load_card

if TYPE_CHECKING:
    from deepscan.cli.train_view import TrainView
    from deepscan.crop_recipe import CropRecipe

#: Number of crops for comparing a reduced precision.
COMPARED = 512


def export(
    model: Annotated[str, typer.Option(help="Name or folder of a model.", metavar="NAME|DIR")],
    to: Annotated[Literal["onnx"], typer.Option(help="Format of the file.")] = "onnx",
    precision: Annotated[
        Literal["fp32", "int8"],
        typer.Option(
            help="int8 adds an 8-bit file, which is faster on a CPU. bf16 needs no file: use scan --engine "
            "torch --precision bf16."
        ),
    ] = "fp32",
    data: Annotated[
        Path | None,
        typer.Option(
            help="For int8: folder of face pictures with faces.csv, as for train. Split train is used to "
            "quantise, split val to compare with float32.",
            metavar="DIR",
        ),
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="Folder that keeps aligned crops for later runs.", metavar="DIR")
    ] = Path("runs/crops"),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to write. For int8 it may be that of --model.",
            metavar="DIR",
            show_default="NAME-onnx",
        ),
    ] = None,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Export a model to ONNX, so that it runs without torch.

    Writes nothing if a probability differs by more than 0.001 from the
    original. An 8-bit file may differ more: the card records by how much, and
    scan uses the file on a CPU if it is close enough.

    Examples:
      deepscan export --model runs/mine --out mine-onnx
      deepscan export --model runs/mine --precision int8 --data faces
    """
    if precision == "int8" and data is None:
        raise UsageError(
            "--precision int8 needs crops for quantising",
            "add --data DIR, a folder of face pictures with faces.csv",
        )
    if precision == "fp32" and data is not None:
        raise UsageError("--data needs --precision int8", "leave --data out, or add --precision int8")
    card = load_card(model)
    recipe = card.face_crop
    folder = out or Path(f"{card.name}-onnx")
    own = folder.resolve() == card.folder.resolve()
    if (folder / CARD).exists() and not (own and precision == "int8"):
        raise UsageError(f"{folder} already contains a model", "name another folder with --out")
    require(("torch", "safetensors", "onnx", "onnxscript"), "torch", "exporting")
    from deepscan.cli.train_view import TrainView

    view = TrainView(progress)
    quantised = _quantiser(data, cache, recipe, view) if data is not None else None
    if own and "onnx" in card.files:
        made, summary = card, ""
    else:
        view.note(f"exporting {card.name}; this takes minutes for a large network")
        made, summary = _exported(card, folder, own)
    if quantised is not None:
        made, summary = quantised(made)
    write_card(made)
    print_line(f"{folder}  {summary}")


def _quantiser(
    data: Path, cache: Path, recipe: "CropRecipe", view: "TrainView"
) -> Callable[[ModelCard], tuple[ModelCard, str]]:
    """Cut the crops, and return the function that adds an 8-bit file to a card."""
    import numpy as np

    from deepscan.data.crops.crop_cache import prepare_crops
    from deepscan.data.pictures import read_pictures
    from deepscan.engines.rounding import add_int8
    from deepscan.engines.selection import describe_rounding, too_coarse

    with view:
        crops = prepare_crops(read_pictures(data), recipe, cache, on_progress=view.crops)
    val = crops.where("val")
    rows = val[np.linspace(0, len(val) - 1, min(COMPARED, len(val))).astype(int)]

    def add(card: ModelCard) -> tuple[ModelCard, str]:
        view.note(f"quantising {card.name}; this takes many minutes for a large network")
        added = add_int8(
            card, crops.crops, crops.labels, crops.where("train"), rows, f"{data}: crops of split val"
        )
        rounding = added.rounding["onnx-int8"]
        objection = too_coarse(rounding)
        use = f"auto does not use it: {objection}" if objection else "auto uses it on a CPU"
        return added, f"int8: {describe_rounding(rounding)}; {use}"

    return add


def _exported(card: ModelCard, folder: Path, own: bool) -> tuple[ModelCard, str]:
    """Export the network, and return the card of its folder and the difference from torch in words."""
    from deepscan.detectors import load_network
    from deepscan.detectors.preprocess import make_preprocessor
    from deepscan.engines.export import export_model

    network = load_network(card)
    make_folder(folder)
    inputs = make_preprocessor(card.inputs, card.face_crop, card.mean, card.std)
    graph, parity = export_model(card, network, inputs, folder)
    note = f"; {network.export_note}" if network.export_note else ""
    summary = f"within {parity.probability:.1e} of torch on {parity.samples} crops{note}"
    files = {"onnx": graph, **(card.files if own else {})}
    name = card.name if own else folder.resolve().name
    return dataclasses.replace(card, folder=folder, name=name, files=files, rounding={}), summary
