"""`deepscan eval`: figures of a model, or of anybody's scores, beside those that the papers print."""

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from deepscan.cli import options as opt
from deepscan.errors import UsageError, require
from deepscan.models.lookup import DEFAULT_MODEL, load_card
from deepscan.offline import keep_matplotlib_out_of_home

count_option = partial(typer.Option, rich_help_panel="Counting")
given_option = partial(typer.Option, rich_help_panel="Measure scores that exist already")
COUNTED = ("corrected", "as-published")
#: Option that `eval` had once -> the command that does its work now.
MOVED = {
    "--analysis": ("analyse",),
    "--calibrate": ("calibrate", "--fit"),
    "--compare": ("compare",),
    "--tables": ("tables",),
}
#: Options of `eval` that the command of the same work lacks, each with its value.
LACKING = {"calibrate": ("--counting", "--missing", "--video-key")}
#: Parameters that matter only where a model scores crops.
OF_CROPS = frozenset(
    {"engine", "device", "precision", "data", "root", "only", "cache", "frames", "video_key", "overwrite"}
)


def evaluate(
    context: typer.Context,
    protocol: Annotated[
        opt.ProtocolName | None,
        opt.data_option(
            help=f"What to measure: {opt.PROTOCOL_NAMES}.", metavar="NAME", show_default="cross-dataset"
        ),
    ] = None,
    model: Annotated[
        str,
        opt.model_option(
            help="Name or folder of a model. With --records: whose scores to measure, where several models "
            "have judged; without it, the scores of all together.",
            metavar="NAME|DIR",
        ),
    ] = DEFAULT_MODEL,
    engine: opt.Engine = "auto",
    device: opt.Device = "auto",
    precision: opt.FullPrecision = "fp32",
    data: opt.Data = Path("data"),
    root: opt.Root = None,
    sets: opt.SetsOf = None,
    only: opt.Only = None,
    available: opt.Available = False,
    frames: opt.Frames = 32,
    counting: Annotated[
        Literal["corrected", "as-published", "both"],
        count_option(help="corrected: as the papers describe. as-published: as DeepfakeBench's code does."),
    ] = "corrected",
    video_key: Annotated[
        Literal["parent", "parent2"] | None,
        count_option(
            help="With as-published: count frames as one video where the names of their folders (parent), "
            "or of their last two folders (parent2), are equal.",
            show_default="parent",
        ),
    ] = None,
    missing: Annotated[
        Literal["exclude", "as-real", "as-fake"],
        count_option(help="What a video without a score counts as."),
    ] = "exclude",
    vote: Annotated[
        Literal["video", "group"],
        given_option(help="group: the videos of one group and label have one vote, their mean score."),
    ] = "video",
    scores: Annotated[
        Path | None,
        given_option(
            help="CSV with the columns video, label, score and, if known, group, kind, dataset.",
            metavar="FILE",
        ),
    ] = None,
    records: Annotated[
        Path | None,
        given_option(help="Records of scan --out FILE.jsonl; needs --labels.", metavar="FILE"),
    ] = None,
    labels: Annotated[
        Path | None,
        given_option(help="CSV with the columns file, label and, if known, group, method.", metavar="FILE"),
    ] = None,
    where: Annotated[
        list[str] | None,
        given_option(help="Keep only rows of --labels with these values: tier=A,B.", metavar="COLUMN=VALUE"),
    ] = None,
    out: opt.ScoresOut = None,
    cache: opt.Cache = Path("runs/crops"),
    overwrite: opt.DiscardScores = False,
    progress: opt.Progress = "auto",
) -> None:
    """Measure a model by the field's protocols, beside the figures that the papers print.

    Also measures scores that exist already: anybody's (--scores), or those of a
    scan (--records).

    deepscan eval --model runs/mine --data DIR --protocol cross-dataset

    deepscan eval --scores theirs.csv

    deepscan eval --records clips.jsonl --labels clips.csv
    """
    _check_options(context)
    keep_matplotlib_out_of_home()  # before it is imported
    require(("sklearn", "matplotlib"), "eval", "evaluating")
    from deepscan.cli.eval_modes import make_request, measure_given, measure_model
    from deepscan.cli.eval_view import EvalView
    from deepscan.evaluation.scan_records import read_given
    from deepscan.scanning.options import ScanOptions

    countings = COUNTED if counting == "both" else (counting,)
    view = EvalView(progress)
    if scores or records:
        named = model if _is_given(context, "model") else None
        settings = {
            "scores": str(scores or records),
            "labels": labels and str(labels),
            "where": list(where or ()),
            "vote": vote,
            **({"model": named} if named else {}),
        }
        found = read_given(scores, records, labels, where or (), vote, named)
        measure_given(found, protocol, sets, countings, missing, available, settings, out, view)
        return
    card = load_card(model)
    request = make_request(
        card,
        protocol or "cross-dataset",
        sets,
        data,
        out,
        only,
        available=available,
        frames=frames,
        root=root,
        cache=cache,
        countings=countings,
        video_key=video_key,
        missing=missing,
        overwrite=overwrite,
    )
    options = ScanOptions(model=model, engine=engine, device=device, precision=precision)
    measure_model(request, options, view)


def refuse_moved(words: Sequence[str]) -> None:
    """Name the new command to whoever types an option that `eval` had once.

    Args:
        words: What follows `eval` on the command line.

    Raises:
        UsageError: One of the words is such an option.
    """
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in MOVED:
            rest = [*([value] if equals else []), *words[at + 1 :], *words[:at]]
            command = shlex.join(["deepscan", *MOVED[option], *_taken(MOVED[option][0], rest)])
            raise UsageError(f"eval has no option {option}", f"type: {command}")


def _taken(command: str, words: Sequence[str]) -> list[str]:
    """Return the words without options that a command lacks, and without further options that have moved."""
    left, skip = [], False
    for word in words:
        option, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif option in (*LACKING.get(command, ()), *MOVED):
            skip = not equals
        else:
            left.append(word)
    return left


def _check_options(context: typer.Context) -> None:
    """Refuse options that would do nothing.

    Raises:
        UsageError: There is one.
    """
    sources = [name for name in ("scores", "records") if context.params[name]]
    if len(sources) > 1:
        raise UsageError("--scores and --records exclude each other", "leave one of them out")
    for parameter in context.command.params:
        name, option = parameter.name or "", parameter.opts[0]
        if not _is_given(context, name):
            continue
        source = f"--{sources[0]}" if sources else ""
        if source and (name in OF_CROPS or (name == "model" and source == "--scores")):
            raise UsageError(f"{option} has no effect with {source}", f"leave {option} out")
        needed = {"labels": ["records"], "where": ["records"], "vote": ["scores", "records"]}.get(name)
        if needed and not set(needed) & set(sources):
            options = " or ".join(f"--{each}" for each in needed)
            raise UsageError(f"{option} needs {options}", f"leave {option} out, or add {options}")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
