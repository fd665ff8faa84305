"""`deepscan eval`: metrics of a model or of existing scores, next to those in the papers."""

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
given_option = partial(typer.Option, rich_help_panel="Existing scores")
COUNTED = ("corrected", "as-published")
#: Former option of `eval` -> the command that replaces it.
MOVED = {
    "--analysis": ("analyse",),
    "--calibrate": ("calibrate", "--fit"),
    "--compare": ("compare",),
    "--tables": ("tables",),
}
#: Options of `eval`, each with a value, that the replacing command lacks.
LACKING = {"calibrate": ("--counting", "--missing", "--video-key")}
#: Parameters that matter only if a model scores crops.
OF_CROPS = frozenset(
    {"engine", "device", "precision", "data", "root", "only", "cache", "frames", "video_key", "overwrite"}
)


def evaluate(
    context: typer.Context,
    protocol: Annotated[
        opt.ProtocolName | None,
        opt.data_option(
            help=f"Evaluation protocol: {opt.PROTOCOL_NAMES}.", metavar="NAME", show_default="cross-dataset"
        ),
    ] = None,
    model: Annotated[
        str,
        opt.model_option(
            help="Name or folder of a model. With --records of several models: the one to evaluate; by "
            "default, their joint score.",
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
        count_option(
            help="corrected: as the papers describe it. as-published: as DeepfakeBench's code does it."
        ),
    ] = "corrected",
    video_key: Annotated[
        Literal["parent", "parent2"] | None,
        count_option(
            help="With as-published: frames belong to one video if the name of their folder (parent), or of "
            "their last two folders (parent2), is the same.",
            show_default="parent",
        ),
    ] = None,
    missing: Annotated[
        Literal["exclude", "as-real", "as-fake"],
        count_option(help="How to count a video without a score."),
    ] = "exclude",
    vote: Annotated[
        Literal["video", "group"],
        given_option(help="group: count videos with the same group and label once, with their mean score."),
    ] = "video",
    scores: Annotated[
        Path | None,
        given_option(
            help="CSV with the columns video, label, score; optional: group, kind, dataset.",
            metavar="FILE",
        ),
    ] = None,
    records: Annotated[
        str | None,
        given_option(
            help="Records written by scan --out or compact, or a run folder or its address. Needs --labels, "
            "unless the manifest of the run has labels.",
            metavar="FILE.jsonl|RUN",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        given_option(
            help="CSV with the columns file (a path, or an address), label; optional: group, method.",
            metavar="FILE",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        given_option(help="Use only rows of --labels with these values: tier=A,B.", metavar="COLUMN=VALUE"),
    ] = None,
    out: opt.ScoresOut = None,
    cache: opt.Cache = Path("runs/crops"),
    overwrite: opt.DiscardScores = False,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Evaluate a model with standard protocols, next to the papers' results.

    Also evaluates existing scores: of any detector (--scores), or of a scan
    (--records).

    Examples:
      deepscan eval --model runs/mine --data crops --protocol cross-dataset
      deepscan eval --scores theirs.csv
      deepscan eval --records clips.jsonl --labels clips.csv
    """
    _check_options(context)
    keep_matplotlib_out_of_home()  # before it is imported
    require(("sklearn", "matplotlib"), "eval", "evaluating")
    from deepscan.cli.eval_modes import make_request, measure_given, measure_model
    from deepscan.cli.eval_view import EvalView
    from deepscan.evaluation.scan_records import read_scores_or_records
    from deepscan.scanning.options import ScanOptions
    from deepscan.scanning.reading import open_records

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
        opened = open_records(records) if records else None
        found = read_scores_or_records(scores, opened, labels, where or (), vote, named)
        lacking = opened.unfinished() if opened else ""
        if lacking:
            view.note(f"warning: {lacking}")
        notes = (f"Incomplete: {lacking}.",) if lacking else ()
        measure_given(found, protocol, sets, countings, missing, available, settings, out, view, notes)
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
    """Refuse a former option of `eval`, and name the command that replaces it.

    Args:
        words: The command line after `eval`.

    Raises:
        UsageError: One of the words is a former option.
    """
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in MOVED:
            rest = [*([value] if equals else []), *words[at + 1 :], *words[:at]]
            command = shlex.join(["deepscan", *MOVED[option], *_kept_words(MOVED[option][0], rest)])
            raise UsageError(f"eval has no option {option}", f"run: {command}")


def _kept_words(command: str, words: Sequence[str]) -> list[str]:
    """Return the words without former options, and without options that a command lacks."""
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
    """Refuse options that would have no effect.

    Raises:
        UsageError: One was given.
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
