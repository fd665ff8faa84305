"""`deepscan calibrate`: fit a model's probabilities and thresholds to labelled data."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deepscan.calibration import MAX_FNR, MAX_FPR, CalibrationMethod
from deepscan.cards import CARD, write_card
from deepscan.cli import options as opt
from deepscan.cli.streams import print_line
from deepscan.errors import UsageError, require
from deepscan.models.lookup import is_embedded, load_card
from deepscan.offline import keep_matplotlib_out_of_home

fit_option = partial(typer.Option, rich_help_panel="Fit")


def calibrate(
    model: opt.Model,
    fit: Annotated[
        CalibrationMethod, fit_option(help="How to turn raw scores into probabilities.")
    ] = "temperature",
    false_alarms: Annotated[
        float,
        fit_option(min=0, max=1, help="Share of real samples that may be called fake.", metavar="SHARE"),
    ] = MAX_FPR,
    misses: Annotated[
        float, fit_option(min=0, max=1, help="Share of fakes that may get no_evidence.", metavar="SHARE")
    ] = MAX_FNR,
    engine: opt.Engine = "auto",
    device: opt.Device = "auto",
    precision: opt.FullPrecision = "fp32",
    protocol: opt.Protocol = "cross-dataset",
    data: opt.Data = Path("data"),
    root: opt.Root = None,
    sets: opt.SetsOf = None,
    only: opt.Only = None,
    available: opt.Available = False,
    frames: opt.Frames = 32,
    out: opt.ScoresOut = None,
    cache: opt.Cache = Path("runs/crops"),
    overwrite: opt.DiscardScores = False,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Fit a model's probabilities and thresholds to your data, and store them in its card.

    Scores the test sets as eval does, fits on half of their groups, and
    evaluates on the other half.

    Examples:
      deepscan calibrate --model runs/mine --data crops --set mine
      deepscan calibrate --model runs/mine --data crops --false-alarms 0.01
    """
    keep_matplotlib_out_of_home()  # before it is imported
    require(("sklearn", "matplotlib"), "eval", "calibrating")
    from deepscan.cli.eval_modes import make_request, measure_model
    from deepscan.cli.eval_view import EvalView
    from deepscan.evaluation.results import calibrate_from_report
    from deepscan.scanning.options import ScanOptions

    card = load_card(model)
    if is_embedded(card.folder):
        raise UsageError(
            f"the card of the built-in model {model} cannot be changed",
            f"copy {card.folder}, and name the copy with --model",
        )
    request = make_request(
        card,
        protocol,
        sets,
        data,
        out,
        only,
        available=available,
        frames=frames,
        root=root,
        cache=cache,
        overwrite=overwrite,
    )
    options = ScanOptions(model=model, engine=engine, device=device, precision=precision)
    report = measure_model(request, options, EvalView(progress))
    level = request.protocol.level(request.row)
    made = calibrate_from_report(report, card, level, fit, fpr=false_alarms, fnr=misses)
    write_card(made)
    found = made.calibration
    assert found is not None
    print_line(
        f"{card.folder / CARD}: fake from {found.fake:.3f}, no_evidence below {found.no_evidence:.3f}, "
        f"fitted by {found.method} on {found.n} {found.level}s"
    )
