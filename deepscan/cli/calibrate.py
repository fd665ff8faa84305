"""`deepscan calibrate`: probabilities and thresholds of a model, fitted to data of yours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepscan.calibration import MAX_FNR, MAX_FPR, CalibrationMethod
from deepscan.cards import CARD, ModelCard, write_card
from deepscan.cli.options import (
    DATA,
    OUTPUT,
    PROTOCOL_NAMES,
    Available,
    Cache,
    Data,
    Device,
    DiscardScores,
    Engine,
    Frames,
    FullPrecision,
    Model,
    Only,
    ProtocolName,
    Root,
    SetsOf,
    Style,
    progress_option,
)
from deepscan.errors import UsageError, require
from deepscan.models.lookup import find_model, is_embedded, load_card
from deepscan.offline import keep_matplotlib_out_of_home

if TYPE_CHECKING:
    from deepscan.evaluation.protocols import Level
    from deepscan.evaluation.report import Report

FIT = "Fit"


def calibrate(
    model: Model,
    fit: Annotated[
        CalibrationMethod, typer.Option(help="How raw scores become probabilities.", rich_help_panel=FIT)
    ] = "temperature",
    false_alarms: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of reals that may be called fake.", rich_help_panel=FIT),
    ] = MAX_FPR,
    misses: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of fakes that may get no_evidence.", rich_help_panel=FIT),
    ] = MAX_FNR,
    engine: Engine = "auto",
    device: Device = "auto",
    precision: FullPrecision = "fp32",
    protocol: Annotated[
        ProtocolName,
        typer.Option(help=f"Test sets to fit on: {PROTOCOL_NAMES}.", metavar="NAME", rich_help_panel=DATA),
    ] = "cross-dataset",
    data: Data = Path("data"),
    root: Root = None,
    sets: SetsOf = None,
    only: Only = None,
    available: Available = False,
    frames: Frames = 32,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for scores and report. Scores that eval left there are used.",
            metavar="DIR",
            show_default="runs/eval/MODEL-PROTOCOL-DATA, as eval",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    cache: Cache = Path("runs/crops"),
    overwrite: DiscardScores = False,
    progress: Annotated[Style, progress_option(OUTPUT)] = "auto",
) -> None:
    """Fit a model's probabilities and thresholds to data of yours, and write them into its card.

    Scores the test sets as eval does, fits on half of their groups, and
    measures on the other half.

    deepscan calibrate --model runs/mine --data crops --set mine

    deepscan calibrate --model runs/mine --data crops --fit isotonic --false-alarms 0.01
    """
    keep_matplotlib_out_of_home()  # before it is imported
    require(("sklearn", "matplotlib"), "eval", "calibrating")
    from deepscan.cli.eval_modes import make_request, measure_model
    from deepscan.cli.eval_view import EvalView
    from deepscan.scanning.options import ScanOptions

    _check_writable(model)
    card = load_card(model)
    request = make_request(
        card,
        protocol,
        sets,
        data,
        out,
        root=root,
        cache=cache,
        only=tuple(only or ()),
        available=available,
        frames=frames,
        overwrite=overwrite,
    )
    options = ScanOptions(model=model, engine=engine, device=device, precision=precision)
    report = measure_model(request, options, EvalView(progress))
    _write(report, card, request.protocol.level(request.row), fit, false_alarms, misses)


def _check_writable(model: str) -> None:
    """Refuse a model whose card is not the user's to change.

    Raises:
        UsageError: The model came with deepscan.
    """
    if is_embedded(find_model(model)):
        raise UsageError(
            f"model {model} came with deepscan, and its card stays as it is",
            f"copy {load_card(model).folder} and name the copy with --model",
        )


def _write(
    report: "Report",
    card: ModelCard,
    level: "Level",
    fit: CalibrationMethod,
    false_alarms: float,
    misses: float,
) -> None:
    """Write the calibration into the card, and print it."""
    from deepscan.evaluation.results import calibrate_from_report

    made = calibrate_from_report(report, card, level, fit, fpr=false_alarms, fnr=misses)
    write_card(made)
    found = made.calibration
    assert found is not None
    typer.echo(
        f"{card.folder / CARD}: fake from {found.fake:.3f}, no_evidence below {found.no_evidence:.3f}, "
        f"by {found.method} on {found.n} {found.level}s"
    )
