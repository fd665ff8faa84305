"""`deepscan eval`: figures of a model, or of anybody's scores, beside those that the papers print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli.eval_modes import (
    calibrate_model,
    check_calibrated,
    look_into,
    measure_given,
    perform_protocol,
)
from deepscan.cli.options import MODEL, OUTPUT, Device, progress_option
from deepscan.errors import UsageError, require
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.offline import keep_matplotlib_out_of_home

DATA, COUNT, OTHER = "Data", "Counting", "Instead of a protocol"
COUNTED = ("corrected", "as-published")
#: What is measured where no option names something else: the crops of test sets, by a model.
CROPS = "scoring test sets"
#: Parameter -> what it goes with; all that is not named goes with everything.
GOES_WITH: Mapping[str, tuple[str, ...]] = {
    "words": ("--tables", "--analysis"),
    "labels": ("--records",),
    "where": ("--records",),
    "vote": ("--scores", "--records"),
    "runs": ("--analysis",),
    **dict.fromkeys(("protocol", "sets", "available"), (CROPS, "--analysis", "--scores", "--records")),
    **dict.fromkeys(("counting", "missing"), (CROPS, "--scores", "--records")),
    "model": (CROPS, "--analysis", "--records"),
    **dict.fromkeys(("data", "root", "only", "cache"), (CROPS, "--analysis")),
    **dict.fromkeys(
        ("engine", "device", "precision", "frames", "video_key", "calibrate", "overwrite"), (CROPS,)
    ),
    **dict.fromkeys(("false_alarms", "misses"), ("--calibrate",)),
    "out": (CROPS, "--analysis", "--scores", "--records"),
}


def evaluate(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORD]...",
            help="With --tables: names of tables. With --analysis: its options, KEY=VALUE.",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="cross-dataset, cross-manipulation, df40-ff, df40-cdf, universal, robustness or in-domain.",
            show_default="cross-dataset; in-domain with --analysis",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="Name or folder of a model. With --records of several models: whose scores are measured, by "
            "its name, those of all together if none is named.",
            metavar="NAME|DIR",
            rich_help_panel=MODEL,
        ),
    ] = DEFAULT_MODEL,
    engine: Annotated[
        str, typer.Option(help="auto, onnx, torch, torch-compile or tensorrt.", rich_help_panel=MODEL)
    ] = "auto",
    device: Device = "auto",
    precision: Annotated[
        str,
        typer.Option(help="fp32, bf16 (torch), int8 (onnx), or auto as in a scan.", rich_help_panel=MODEL),
    ] = "fp32",
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with benchmark files (Celeb-DF-v2.json ...) as prepare, DeepfakeBench and DF40 make "
            "them; for in-domain and robustness also one with faces.csv.",
            metavar="DIR",
            rich_help_panel=DATA,
        ),
    ] = Path("data"),
    root: Annotated[
        Path | None,
        typer.Option(
            help="Folder under which the crops of benchmark files lie.",
            metavar="DIR",
            show_default="as the files say",
            rich_help_panel=DATA,
        ),
    ] = None,
    sets: Annotated[
        str | None,
        typer.Option(
            help="Whose test sets: qtfp, dfd-hr, corit.",
            show_default="those of the model's method",
            rich_help_panel=DATA,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Only this test set, or a benchmark file of your own by its name; may be repeated.",
            metavar="NAME",
            rich_help_panel=DATA,
        ),
    ] = None,
    available: Annotated[
        bool,
        typer.Option("--available", help="Leave out test sets that are not there.", rich_help_panel=DATA),
    ] = False,
    frames: Annotated[
        int, typer.Option(min=0, help="Frames of a video; 0 for all.", rich_help_panel=COUNT)
    ] = 32,
    counting: Annotated[
        str,
        typer.Option(
            help="corrected, as-published (as DeepfakeBench counts) or both; the report explains them.",
            rich_help_panel=COUNT,
        ),
    ] = "corrected",
    video_key: Annotated[
        str | None,
        typer.Option(
            help="With as-published: frames whose folders share the name are one video (parent), or those "
            "whose last two folders do (parent2).",
            show_default="parent",
            rich_help_panel=COUNT,
        ),
    ] = None,
    missing: Annotated[
        str,
        typer.Option(
            help="Videos without a score: exclude, as-real or as-fake; they are told in any case.",
            rich_help_panel=COUNT,
        ),
    ] = "exclude",
    vote: Annotated[
        str,
        typer.Option(
            help="With --scores or --records: one vote a video, or one a group and label, the mean of its "
            "videos.",
            metavar="video|group",
            rich_help_panel=COUNT,
        ),
    ] = "video",
    scores: Annotated[
        Path | None,
        typer.Option(
            help="Anybody's scores: a CSV with video, label, score and, if known, group, kind, dataset.",
            metavar="FILE",
            rich_help_panel=OTHER,
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(
            help="What scan --out FILE.jsonl has written; needs --labels.",
            metavar="FILE",
            rich_help_panel=OTHER,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="With --records: a CSV with file, label and, if known, group, method.",
            metavar="FILE",
            rich_help_panel=OTHER,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="With --labels: only rows of these values, such as tier=A,B.",
            metavar="COLUMN=VALUE",
            rich_help_panel=OTHER,
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            help="Hold two files of scores against each other on what both have (DeLong's test).",
            metavar="FILE FILE",
            rich_help_panel=OTHER,
        ),
    ] = None,
    analysis: Annotated[
        list[str] | None,
        typer.Option(
            help="Look into the model: attention, collapse, landscape, stability, routing, weights or cost; "
            "each gives a table and a plot.",
            metavar="NAME",
            rich_help_panel=OTHER,
        ),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            help="With --analysis: a training's folder; may be repeated.",
            metavar="DIR",
            rich_help_panel=OTHER,
        ),
    ] = None,
    tables: Annotated[
        bool,
        typer.Option(
            "--tables", help="Show the papers' tables that are named, or list all.", rich_help_panel=OTHER
        ),
    ] = False,
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="Calibrate the model on half of what was measured, by temperature or isotonic, and write it "
            "into its card with the figures of the other half.",
            metavar="METHOD",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    false_alarms: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="With --calibrate: share of reals that may be called fake.",
            rich_help_panel=OUTPUT,
        ),
    ] = 0.05,
    misses: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="With --calibrate: share of fakes that may get no_evidence.",
            rich_help_panel=OUTPUT,
        ),
    ] = 0.10,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for scores, figures and plots; what was stopped goes on there.",
            metavar="DIR",
            show_default="runs/eval/MODEL-PROTOCOL-DATA",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    cache: Annotated[
        Path,
        typer.Option(help="Folder for crops of pictures.", metavar="DIR", rich_help_panel=OUTPUT),
    ] = Path("runs/crops"),
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Begin anew where there is an evaluation.", rich_help_panel=OUTPUT),
    ] = False,
    progress: Annotated[str, progress_option(OUTPUT, "")] = "auto",
) -> None:
    """Measure a model by the field's protocols, beside the figures that the papers print.

    deepscan eval --model runs/mine --data DIR --protocol cross-dataset

    deepscan eval --records clips.jsonl --labels clips.csv

    deepscan eval --tables qtfp-cross-dataset
    """
    from deepscan.cli.eval_view import EvalView, show_comparison, show_tables

    for option, value, allowed in (
        ("--counting", counting, (*COUNTED, "both")),
        ("--video-key", video_key, (None, "parent", "parent2")),
        ("--missing", missing, ("exclude", "as-real", "as-fake")),
        ("--vote", vote, ("video", "group")),
        ("--calibrate", calibrate, (None, "temperature", "isotonic")),
    ):
        if value not in allowed:
            raise UsageError(
                f"{option} {value!r} is unknown", f"choose from: {', '.join(filter(None, allowed))}"
            )
    given = {
        "--scores": scores,
        "--records": records,
        "--compare": compare,
        "--analysis": analysis,
        "--tables": tables,
    }
    modes = [name for name, value in given.items() if value] or [CROPS]
    if len(modes) > 1:
        raise UsageError(f"{' and '.join(modes)} exclude each other", "leave one of them out")
    _check_options(context, [*modes, *(["--calibrate"] if calibrate else [])])
    if tables:
        show_tables(words or [])
        return
    keep_matplotlib_out_of_home()  # before it is imported
    require(("sklearn", "matplotlib"), "eval", "evaluating")
    from deepscan.evaluation.protocols import PROTOCOLS
    from deepscan.evaluation.request import Evaluation
    from deepscan.evaluation.scan_records import read_given

    if compare:
        show_comparison(*compare)
        return
    countings = COUNTED if counting == "both" else (counting,)
    view = EvalView(progress)
    if scores or records:
        source = context.get_parameter_source("model")
        named = source is not None and source.name == "COMMANDLINE"
        stated = {
            "scores": str(scores or records),
            "labels": labels and str(labels),
            "where": list(where or ()),
            "vote": vote,
            **({"model": model} if named else {}),
        }
        found = read_given(scores, records, labels, where or (), vote, model if named else None)
        measure_given(found, protocol, sets, countings, missing, available, stated, out, view)
        return
    if calibrate:
        check_calibrated(model)
    card = load_card(model)
    known = PROTOCOLS.get(protocol or ("in-domain" if analysis else "cross-dataset"))
    name = "-".join([card.name, *(analysis or [known.name]), *(only or ()), data.resolve().name])
    asked = Evaluation(
        protocol=known,
        row=known.of(sets, card.method),
        data=data,
        root=root,
        out=out or Path("runs/eval") / name,
        cache=cache,
        only=tuple(only or ()),
        available=available,
        frames=frames,
        countings=countings,
        video_key=video_key,  # type: ignore[arg-type]  # one of those named above
        missing=missing,  # type: ignore[arg-type]
        overwrite=overwrite,
    )
    if analysis:
        look_into(analysis, words or [], asked, card, tuple(runs or ()), view)
        return
    from deepscan.scanning.options import ScanOptions

    options = ScanOptions(model=model, engine=engine, device=device, precision=precision)
    report = perform_protocol(asked, options, view)
    if calibrate:
        calibrate_model(report, card, known.level(asked.row), calibrate, false_alarms, misses)


def _check_options(context: typer.Context, there: Sequence[str]) -> None:
    """Refuse an option that is given without what it goes with: it would do nothing."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        needed = GOES_WITH.get(name, there)
        if source is None or source.name != "COMMANDLINE" or set(needed) & set(there):
            continue
        if name == "words":
            raise UsageError(
                f"{context.params[name][0]!r} is no option", "words go with --tables or --analysis"
            )
        option = parameter.opts[0]
        raise UsageError(
            f"{option} goes with {' or '.join(needed)}, "
            + ("and there is none" if there[0] == CROPS else f"not with {there[0]}"),
            f"leave {option} out",
        )
