"""`deepscan analyse`: why a detector judges as it does, and what its training did."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deepscan.analyses import ANALYSES
from deepscan.cli.options import (
    DATA,
    MODEL,
    OUTPUT,
    PROTOCOL_NAMES,
    AnalysisName,
    Available,
    Cache,
    Data,
    Model,
    Only,
    ProtocolName,
    Root,
    SetsOf,
    Style,
    progress_option,
)
from deepscan.errors import require
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.offline import keep_matplotlib_out_of_home


def analyse(
    name: Annotated[
        AnalysisName,
        typer.Argument(metavar="NAME", help=f"{', '.join(ANALYSES.names)}.", show_default=False),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings of the analysis.", show_default=False),
    ] = None,
    model: Model = DEFAULT_MODEL,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            help="Folder run of a trained model. Repeat for several.",
            metavar="DIR",
            rich_help_panel=MODEL,
        ),
    ] = None,
    protocol: Annotated[
        ProtocolName,
        typer.Option(help=f"Test sets to look at: {PROTOCOL_NAMES}.", metavar="NAME", rich_help_panel=DATA),
    ] = "in-domain",
    data: Data = Path("data"),
    root: Root = None,
    sets: SetsOf = None,
    only: Only = None,
    available: Available = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for NAME.csv and NAME.png.",
            metavar="DIR",
            show_default="runs/eval/MODEL-NAME-DATA",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    cache: Cache = Path("runs/crops"),
    progress: Annotated[Style, progress_option(OUTPUT)] = "auto",
) -> None:
    """Analyse how a model judges, or how it was trained: a table and a plot.

    deepscan analyse attention --model runs/mine --data crops

    deepscan analyse weights --run runs/a/run --run runs/b/run
    """
    keep_matplotlib_out_of_home()  # before it is imported
    require(("sklearn", "matplotlib"), "eval", "analysing")
    from deepscan.analyses import make_analysis
    from deepscan.analyses.analysis import Subject, write_findings
    from deepscan.cli.eval_modes import make_request
    from deepscan.cli.eval_view import EvalView
    from deepscan.evaluation.run import load_testsets

    analysis = make_analysis(name, settings or [])
    card = load_card(model)
    request = make_request(
        card,
        protocol,
        sets,
        data,
        out,
        work=name,
        root=root,
        cache=cache,
        only=tuple(only or ()),
        available=available,
    )
    with EvalView(progress) as view:
        materials = load_testsets(request, card, view) if "crops" in analysis.needs else []
        seen = partial(view.analysed, name)
        findings = analysis.look(Subject(card, materials, request.out, tuple(runs or ()), on_progress=seen))
    paths = write_findings(name, findings, request.out)
    for line in findings.lines:
        typer.echo(line)
    view.wrote(paths)
