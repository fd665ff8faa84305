"""`deepscan models`: which models there are, and how others' come to be among them."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from deepscan.cards import ModelCard
from deepscan.cli import options as opt
from deepscan.errors import DeepscanError, ExitCode, require
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.lookup import user_folder

Name = Annotated[
    str, typer.Argument(help="Name of a model, as in the list.", metavar="NAME", show_default=False)
]
Offline = Annotated[bool, typer.Option("--offline", help="Use only files that are on this machine.")]

models = typer.Typer(name="models", invoke_without_command=True)


@models.callback()
def listing(context: typer.Context) -> None:
    """List models, or install published detectors.

    Without a command: lists built-in, installed and available models; a table
    at a terminal, JSON lines in a pipe. Installed models are in XDG_CACHE_HOME
    or ~/.cache, in deepscan/models. scan itself fetches nothing.

    deepscan models

    deepscan models pull gend --accept-license
    """
    if context.invoked_subcommand:
        return
    from rich.table import Table
    from rich.text import Text

    from deepscan.cli.streams import stdout_console
    from deepscan.models.store import list_models

    rows = [each.to_json() for each in list_models(user_folder())]
    if not sys.stdout.isatty():
        for row in rows:
            typer.echo(json.dumps(row))
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "state", "license"):
        grid.add_column(column, no_wrap=True)
    grid.add_column("what it is", overflow="fold")
    styles = {"embedded": "bold", "installed": "bold green", "known": "", "refused": "dim"}
    for row in rows:
        style = styles[row["state"]]
        grid.add_row(*(Text(str(row[key] or ""), style) for key in ("name", "state", "license", "summary")))
    stdout_console().print(grid)


@models.command()
def info(name: Name) -> None:
    """Show a model's card, origin, terms, and how to get it.

    deepscan models info convnet
    """
    from deepscan.models.store import find_listed, list_models

    said = find_listed(name, list_models(user_folder())).describe()
    typer.echo(yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=110), nl=False)


@models.command()
def pull(
    name: Name,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the terms, which are shown in any case.")
    ] = False,
    offline: Offline = False,
) -> None:
    """Fetch a published detector and install it.

    Resumes an interrupted download. The file must have the known hash, or that
    of its first download.

    deepscan models pull gend --accept-license
    """
    from deepscan.models.fetch import pull_model

    _installed(pull_model(name, user_folder(), accepted=accept_license, offline=offline, on_progress=_tell))


@models.command("import")
def bring(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The publisher's file.", show_default=False),
    ],
    name: Annotated[
        str,
        typer.Option(
            "--as",
            help="Name of a published model, whose hash and sizes the file must have, or a new name.",
            metavar="NAME",
            show_default=False,
        ),
    ],
    layout: Annotated[
        opt.LayoutName | None,
        typer.Option(
            help=f"Layout of the weights, if the file does not show it: {', '.join(WEIGHT_LAYOUTS.names)}.",
            metavar="NAME",
        ),
    ] = None,
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            # Its former name, which scripts may still use.
            "--tower",
            help="Of a head alone: open_clip's file of its backbone, or hub to fetch it.",
            metavar="hub|FILE",
            show_default=False,
        ),
    ] = "",
    license: Annotated[
        str,
        typer.Option(help="SPDX identifier, for a file that is not known.", metavar="ID", show_default=False),
    ] = "",
    offline: Offline = False,
) -> None:
    """Install a published detector from a file that you have fetched.

    deepscan models import effort_clip_L14_trainOn_FaceForensic.pth --as effort-ff

    deepscan models import fc_weights.pth --as unifd --backbone hub
    """
    from deepscan.models.fetch import NEEDED, backbone_source

    require(NEEDED, "torch", "installing a published model")
    from deepscan.models.importing import Origin, import_model

    origin = Origin(file, layout=layout or "", backbone=backbone_source(backbone, offline=offline))
    _installed(import_model(origin, name, user_folder(), license=license, on_progress=_tell))


@models.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Models to check; all if none is named.")
    ] = None,
) -> int:
    """Check the files of models against the hashes in their cards.

    deepscan models verify
    """
    from deepscan.models.store import find_listed, list_models

    among = list(list_models(user_folder()))
    worst = ExitCode.OK
    for name in names or [each.name for each in among if each.place]:
        try:
            count = find_listed(name, among).verify()
            typer.echo(f"{name}  ok  {count} files")
        except DeepscanError as error:
            typer.echo(f"{name}  FAILED  {error.message}")
            typer.echo(f"hint: {error.hint}", err=True)
            worst = max(worst, error.exit_code)
    return int(worst)


@models.command()
def remove(
    name: Name,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Forget its hash too, so that another file may take the name."),
    ] = False,
) -> None:
    """Delete an installed model; built-in models stay.

    deepscan models remove gend
    """
    from deepscan.models.store import remove_model

    typer.echo(f"removed {remove_model(name, user_folder(), forget=forget)}")


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _installed(card: ModelCard) -> None:
    if card.calibration is None:
        _tell("it is not calibrated, so its verdicts are inconclusive: see deepscan calibrate")
    _tell(f"scan with it: deepscan scan PATH --model {card.name}")
    typer.echo(str(card.folder))
