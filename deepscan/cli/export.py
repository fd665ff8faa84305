"""`deepscan export`: a model's network as a file that scans without torch."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from deepscan import cards
from deepscan.errors import UsageError, require


def export(
    model: Annotated[str, typer.Option(help="A model by name, or its folder.", metavar="NAME|DIR")],
    to: Annotated[str, typer.Option(help="Form of the network: onnx.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to write: card and network.",
            metavar="DIR",
            show_default="NAME-onnx",
        ),
    ] = None,
) -> None:
    """Write a model's network as a file that runs without torch, and hold it against the network first.

    Nothing is written where the two differ: the largest difference of a probability is 0.001.

    deepscan export --model runs/mine --out mine-onnx, then deepscan scan videos/ --model mine-onnx
    """
    if to != "onnx":
        raise UsageError(f"there is no form {to!r}", "choose from: onnx")
    card = cards.load(model)
    if card.crop is None:
        raise UsageError(f"model {card.name!r} is no detector", "name a detector with --model")
    folder = out or Path(f"{card.name}-onnx")
    if (folder / cards.CARD).exists():
        raise UsageError(f"{folder} holds a model already", "name another folder with --out")
    require(("torch", "safetensors", "onnx", "onnxscript"), "torch", "exporting")
    from deepscan.detectors import load_network
    from deepscan.detectors.inputs import make_inputs
    from deepscan.engines.export import export_model
    from deepscan.training.session import writable

    network = load_network(card)
    writable(folder, "--out")
    typer.echo(f"exporting {card.name}: for a large network this takes minutes", err=True)
    inputs = make_inputs(card.inputs, card.crop, card.mean, card.std)
    graph, parity = export_model(card, network, inputs, folder)
    cards.save(dataclasses.replace(card, folder=folder, name=folder.resolve().name, files={"onnx": graph}))
    note = f"; {network.export_note}" if network.export_note else ""
    typer.echo(f"{folder}  within {parity.probability:.1e} of torch on {parity.samples} crops{note}")
