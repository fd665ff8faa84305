"""`deepscan export`: a model's network as a file that scans without torch."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deepscan.cards import CARD, ModelCard, write_card
from deepscan.errors import UsageError, require
from deepscan.files import make_folder
from deepscan.models.lookup import load_card

if TYPE_CHECKING:
    from deepscan.crop_recipe import CropRecipe

#: Crops on which a reduced precision is compared.
COMPARED = 512


def export(
    model: Annotated[str, typer.Option(help="Name or folder of a model.", metavar="NAME|DIR")],
    to: Annotated[Literal["onnx"], typer.Option(help="Format of the file.")] = "onnx",
    precision: Annotated[
        Literal["fp32", "int8"],
        typer.Option(
            help="int8 adds a file in 8 bits, which a CPU runs quicker. bf16 needs no file: scan with "
            "--engine torch --precision bf16."
        ),
    ] = "fp32",
    data: Annotated[
        Path | None,
        typer.Option(
            help="For int8: folder of face pictures and faces.csv, as in train. Fits 8 bits to split train, "
            "and compares with float32 on split val.",
            metavar="DIR",
        ),
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder for aligned crops, made once.", metavar="DIR")] = Path(
        "runs/crops"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to write. For int8 it may be the model's own.",
            metavar="DIR",
            show_default="NAME-onnx",
        ),
    ] = None,
) -> None:
    """Export a model as a file that runs without torch.

    Writes nothing if a probability of the file differs by more than 0.001 from
    the original's. In 8 bits it may: the card records by how much, and scan
    uses that file on a CPU if it is close enough.

    deepscan export --model runs/mine --out mine-onnx

    deepscan export --model runs/mine --precision int8 --data faces --out runs/mine
    """
    if precision == "int8" and data is None:
        raise UsageError(
            "8 bits are fitted to crops, and none are given",
            "name face pictures with faces.csv by --data DIR",
        )
    if precision == "fp32" and data is not None:
        raise UsageError("--data is for --precision int8", "leave it out")
    card = load_card(model)
    recipe = card.face_crop
    folder = out or Path(f"{card.name}-onnx")
    own = folder.resolve() == card.folder.resolve()
    if (folder / CARD).exists() and not (own and precision == "int8"):
        raise UsageError(f"{folder} holds a model already", "name another folder with --out")
    require(("torch", "safetensors", "onnx", "onnxscript"), "torch", "exporting")
    quantised = _quantiser(data, cache, recipe) if data is not None else None
    made, summary = (card, "") if own and "onnx" in card.files else _exported(card, folder, own)
    if quantised is not None:
        made, summary = quantised(made)
    write_card(made)
    typer.echo(f"{folder}  {summary}")


def _quantiser(data: Path, cache: Path, recipe: "CropRecipe") -> Callable[[ModelCard], tuple[ModelCard, str]]:
    """Return what adds a file in 8 bits to a card, its crops having been cut."""
    import numpy as np

    from deepscan.cli.train_view import TrainView
    from deepscan.data.crops.crop_cache import prepare_crops
    from deepscan.data.pictures import read_pictures
    from deepscan.engines.rounding import add_int8
    from deepscan.engines.selection import describe_rounding, too_coarse

    with TrainView("auto") as view:
        crops = prepare_crops(read_pictures(data), recipe, cache, on_progress=view.crops)
    val = crops.where("val")
    rows = val[np.linspace(0, len(val) - 1, min(COMPARED, len(val))).astype(int)]

    def add(card: ModelCard) -> tuple[ModelCard, str]:
        typer.echo(f"quantising {card.name}: for a large network this takes many minutes", err=True)
        added = add_int8(
            card, crops.crops, crops.labels, crops.where("train"), rows, f"{data}: crops of split val"
        )
        rounding = added.rounding["onnx-int8"]
        objection = too_coarse(rounding)
        taken = f"auto does not take it: {objection}" if objection else "auto takes it on a CPU"
        return added, f"in 8 bits {describe_rounding(rounding)}; {taken}"

    return add


def _exported(card: ModelCard, folder: Path, own: bool) -> tuple[ModelCard, str]:
    """Return the card of a folder with the network as an ONNX file, and how near it is."""
    from deepscan.detectors import load_network
    from deepscan.detectors.preprocess import make_preprocessor
    from deepscan.engines.export import export_model

    network = load_network(card)
    make_folder(folder)
    typer.echo(f"exporting {card.name}: for a large network this takes minutes", err=True)
    inputs = make_preprocessor(card.inputs, card.face_crop, card.mean, card.std)
    graph, parity = export_model(card, network, inputs, folder)
    note = f"; {network.export_note}" if network.export_note else ""
    summary = f"within {parity.probability:.1e} of torch on {parity.samples} crops{note}"
    files = {"onnx": graph, **(card.files if own else {})}
    name = card.name if own else folder.resolve().name
    return dataclasses.replace(card, folder=folder, name=name, files=files, rounding={}), summary
