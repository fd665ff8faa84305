"""`deepscan analyse`: how a detector comes to its scores, and how its training went."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from deepscan.analyses import ANALYSES
from deepscan.cli import options as opt
from deepscan.cli.streams import print_line
from deepscan.errors import require
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.offline import keep_matplotlib_out_of_home


def analyse(
    name: Annotated[
        opt.AnalysisName,
        typer.Argument(metavar="ANALYSIS", help=f"One of {', '.join(ANALYSES.names)}.", show_default=False),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings of the analysis.", show_default=False),
    ] = None,
    model: opt.Model = DEFAULT_MODEL,
    runs: Annotated[
        list[Path] | None,
        opt.model_option(
            "--run", help="Folder run inside a trained model's folder. Repeat for several.", metavar="DIR"
        ),
    ] = None,
    protocol: opt.Protocol = "in-domain",
    data: opt.Data = Path("data"),
    root: opt.Root = None,
    sets: opt.SetsOf = None,
    only: opt.Only = None,
    available: opt.Available = False,
    out: Annotated[
        Path | None,
        opt.output_option(
            help="Folder for ANALYSIS.csv and ANALYSIS.png.",
            metavar="DIR",
            show_default="runs/eval/MODEL-ANALYSIS-DATA",
        ),
    ] = None,
    cache: opt.Cache = Path("runs/crops"),
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Analyse how a model comes to its scores, or how it was trained.

    Writes a table and a plot.

    Examples:
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
        card, protocol, sets, data, out, only, work=name, available=available, root=root, cache=cache
    )
    with EvalView(progress) as view:
        datasets = load_testsets(request, card, view) if "crops" in analysis.needs else []
        seen = partial(view.analysed, name)
        findings = analysis.run(Subject(card, datasets, request.out, tuple(runs or ()), on_progress=seen))
    paths = write_findings(name, findings, request.out)
    for line in findings.lines:
        print_line(line)
    view.wrote(paths)
