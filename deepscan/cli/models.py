"""`deepscan models`: the models that can be used, and installing published ones."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import yaml

from deepscan.cards import ModelCard
from deepscan.cli import options as opt
from deepscan.cli.command import Command, CommandGroup
from deepscan.cli.exit_codes import epilog
from deepscan.cli.streams import hand_on, print_line, stdout_console
from deepscan.errors import DeepscanError, ExitCode, UsageError, require
from deepscan.models.layouts import WEIGHT_LAYOUTS
from deepscan.models.lookup import user_folder

Name = Annotated[str, typer.Argument(help="Name of a model in the list.", metavar="NAME", show_default=False)]
Offline = Annotated[bool, typer.Option("--offline", help="Use only files that are already on this machine.")]

F = TypeVar("F", bound=Callable[..., Any])

models = typer.Typer(name="models", cls=CommandGroup, invoke_without_command=True)


def _command(name: str) -> Callable[[F], F]:
    """Return the decorator that makes a function the command `deepscan models NAME`."""
    return models.command(name, cls=Command, epilog=epilog(f"models {name}"))


@models.callback()
def group(context: typer.Context) -> None:
    """List models, and install published ones.

    Without a command, lists models. scan itself never downloads a model.

    Examples:
      deepscan models list
      deepscan models info gend
      deepscan models pull gend --accept-license
    """
    if not context.invoked_subcommand:
        list_command()


@_command("list")
def list_command(json_: opt.Json = False) -> None:
    """List built-in, installed and known models.

    Prints a table at a terminal, JSON lines in a pipe or with --json. Known
    models can be installed with pull or import. Installed models are in
    deepscan/models below XDG_CACHE_HOME or ~/.cache.

    Examples:
      deepscan models list
      deepscan models list --json
    """
    from rich.table import Table
    from rich.text import Text

    from deepscan.models.store import list_models

    rows = [each.to_json() for each in list_models(user_folder())]
    if json_ or not sys.stdout.isatty():
        for row in rows:
            print_line(json.dumps(row))
        return
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "state", "license"):
        grid.add_column(column, no_wrap=True)
    grid.add_column("description", overflow="fold")
    styles = {"embedded": "bold", "installed": "bold green", "known": "", "refused": "dim"}
    for row in rows:
        style = styles[row["state"]]
        grid.add_row(*(Text(str(row[key] or ""), style) for key in ("name", "state", "license", "summary")))
    stdout_console().print(grid)


@_command("info")
def info(
    name: Name,
    json_: opt.Json = False,
    yaml_: Annotated[bool, typer.Option("--yaml", help="Print the whole card as YAML.")] = False,
) -> None:
    """Show what a model is, how good it is, what it is not for, its license and files.

    For a model that is not installed, also shows how to install it. With --yaml
    or --json, prints everything on its card.

    Examples:
      deepscan models info convnet
      deepscan models info convnet --yaml
    """
    from deepscan.cli.model_info import print_model
    from deepscan.models.store import find_listed, list_models

    if json_ and yaml_:
        raise UsageError("--json and --yaml exclude each other", "leave one of them out")
    model = find_listed(name, list_models(user_folder()))
    if json_:
        print_line(json.dumps(model.describe(), indent=2))
    elif yaml_:
        hand_on(yaml.safe_dump(model.describe(), sort_keys=False, allow_unicode=True, width=110), None)
    else:
        print_model(model)


@_command("pull")
def pull(
    name: Name,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the license. Without this, pull only shows it.")
    ] = False,
    offline: Offline = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Download a published detector and install it.

    Resumes an interrupted download. The file must have the SHA-256 that deepscan
    knows; if it knows none, the one of your first download.

    Examples:
      deepscan models pull gend --accept-license
    """
    from deepscan.models.fetch import pull_model

    note = _notes(quiet)
    _show_installed(
        pull_model(name, user_folder(), accepted=accept_license, offline=offline, on_progress=note), note
    )


@_command("import")
def bring(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Weights file from the publisher.", show_default=False),
    ],
    name: Annotated[
        str,
        typer.Option(
            "--as",
            help="Name for the model: that of a known one, which the file must match, or a new one.",
            metavar="NAME",
            show_default=False,
        ),
    ],
    layout: Annotated[
        opt.LayoutName | None,
        typer.Option(
            help="Layout of the weights, if deepscan cannot tell from the file: "
            f"{', '.join(WEIGHT_LAYOUTS.names)}.",
            metavar="NAME",
        ),
    ] = None,
    backbone: Annotated[
        str,
        typer.Option(
            "--backbone",
            # The old name still works.
            "--tower",
            help="For a file that has only the head: the backbone's open_clip file, or hub to download it.",
            metavar="hub|FILE",
            show_default=False,
        ),
    ] = "",
    license: Annotated[
        str,
        typer.Option(
            help="SPDX identifier of the license, for a new name.", metavar="ID", show_default=False
        ),
    ] = "",
    offline: Offline = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Install a published detector from a file that you have downloaded.

    Reads only tensors from the file, and never runs code in it.

    Examples:
      deepscan models import effort_clip_L14.pth --as effort-ff
      deepscan models import fc_weights.pth --as unifd --backbone hub
    """
    from deepscan.models.fetch import NEEDED, backbone_source

    require(NEEDED, "torch", "installing a published model")
    from deepscan.models.importing import Origin, import_model

    origin = Origin(file, layout=layout or "", backbone=backbone_source(backbone, offline=offline))
    note = _notes(quiet)
    _show_installed(import_model(origin, name, user_folder(), license=license, on_progress=note), note)


@_command("verify")
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Models to check."),
    ] = None,
) -> int:
    """Check the files of models against the hashes in their cards.

    Without NAME, checks all built-in and installed models.

    Examples:
      deepscan models verify
      deepscan models verify gend
    """
    from deepscan.models.store import find_listed, list_models

    among = list(list_models(user_folder()))
    worst = ExitCode.OK
    for name in names or [each.name for each in among if each.folder]:
        try:
            count = find_listed(name, among).verify()
            print_line(f"{name}  ok  {count} files")
        except DeepscanError as error:
            print_line(f"{name}  FAILED  {error.message}")
            sys.stderr.write(f"hint: {error.hint}\n")
            worst = max(worst, error.exit_code)
    return int(worst)


@_command("remove")
def remove(
    name: Name,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Forget its SHA-256 too, so that a different file may have this name."),
    ] = False,
) -> None:
    """Delete an installed model.

    Built-in models cannot be deleted.

    Examples:
      deepscan models remove gend
    """
    from deepscan.models.store import remove_model

    print_line(f"removed {remove_model(name, user_folder(), forget=forget)}")


def _notes(quiet: bool) -> Callable[[str], None]:
    """Return the function that shows a line on stderr, or drops it."""
    from deepscan.cli.progress import ProgressView

    return ProgressView("none" if quiet else "plain").note


def _show_installed(card: ModelCard, note: Callable[[str], None]) -> None:
    if card.calibration is None:
        note("not calibrated: every verdict will be inconclusive until you run deepscan calibrate")
    note(f"to scan with it: deepscan scan PATH --model {card.name}")
    print_line(str(card.folder))
