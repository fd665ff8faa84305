"""`deepscan bench`: how fast each stage and the whole scan are on this machine."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from deepscan.cli.options import (
    MODEL,
    OUTPUT,
    DecoderName,
    FacesDevice,
    Overwrite,
    Style,
    progress_option,
)
from deepscan.engines import ENGINES
from deepscan.errors import UsageError
from deepscan.faces.finder import FINDERS
from deepscan.media.decoders import AUTO
from deepscan.models.lookup import DEFAULT_MODEL

LOOK, MEASURE = "Frames and faces", "Measurement"
SIDE_BY_SIDE = "Separate several values by commas to compare them."


def bench(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Videos and folders, as in scan. Without any, bench makes four clips of ten seconds in 720p "
            "and 1080p, the same everywhere, so that machines can be compared.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        str,
        typer.Option(
            help=f"Frames to sample from each video. {SIDE_BY_SIDE}", metavar="N[,N]", rich_help_panel=LOOK
        ),
    ] = "8,32",
    faces: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(FINDERS.names)}, or several.", metavar="MODE[,MODE]", rich_help_panel=LOOK
        ),
    ] = "fast",
    faces_device: Annotated[
        FacesDevice, typer.Option(help="Where to find faces.", rich_help_panel=LOOK)
    ] = "cpu",
    decoder: Annotated[DecoderName, typer.Option(help="What decodes videos.", rich_help_panel=LOOK)] = "auto",
    limit: Annotated[
        int,
        typer.Option(min=1, help="Use at most this many files, spread evenly.", rich_help_panel=LOOK),
    ] = 16,
    model: Annotated[
        str,
        typer.Option(
            help="Names or folders of models. none: find faces only.",
            metavar="NAME|DIR[,...]",
            rich_help_panel=MODEL,
        ),
    ] = DEFAULT_MODEL,
    engine: Annotated[
        str,
        typer.Option(
            help=f"{', '.join((AUTO, *ENGINES.names))}.", metavar="NAME[,NAME]", rich_help_panel=MODEL
        ),
    ] = "auto",
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda.", metavar="NAME[,NAME]", rich_help_panel=MODEL)
    ] = "auto",
    precision: Annotated[
        str,
        typer.Option(help="auto, fp32, fp16, bf16 or int8.", metavar="NAME[,NAME]", rich_help_panel=MODEL),
    ] = "auto",
    batch: Annotated[
        str, typer.Option(help="Crops per batch of the detector.", metavar="N[,N]", rich_help_panel=MODEL)
    ] = "1,8,32",
    only: Annotated[
        str | None,
        typer.Option(
            help="Measure only these: start-up, decode, faces, detector, scan.",
            metavar="STAGE[,STAGE]",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            min=1, help="Timed runs of each variant, after an untimed one.", rich_help_panel=MEASURE
        ),
    ] = 3,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Decoding processes.", show_default="half the cores", rich_help_panel=MEASURE
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write rows to FILE.csv or FILE.jsonl. FILE.machine.json describes the machine and the "
            "files.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    progress: Annotated[Style, progress_option(OUTPUT)] = "auto",
) -> None:
    """Measure the speed of each stage alone (start-up, decoding, faces, detector) and of the whole scan.

    Runs each variant once untimed, then --repeats times in turns, and prints
    the median and the spread: a table at a terminal, JSON lines in a pipe.
    Compare rows of one run only, on a machine without other work. Stages of a
    scan overlap, so their seconds, each summed over all videos, exceed the
    whole.

    deepscan bench

    deepscan bench videos/ --frames 8,32 --precision fp32,int8 --out speed.csv

    deepscan bench --only detector --model runs/mine --engine onnx,torch --batch 1,16,64

    deepscan bench clip.mp4 --only faces --faces fast,exact
    """
    from deepscan.bench.options import STAGES, BenchOptions
    from deepscan.bench.output import RowFile
    from deepscan.bench.run import run_benchmark
    from deepscan.cli.bench_view import BenchView
    from deepscan.scanning.paths import collect

    options = BenchOptions(
        frames=_numbers("--frames", frames),
        models=_words(model),
        engines=_words(engine),
        devices=_words(device),
        precisions=_words(precision),
        faces=_words(faces),
        faces_device=faces_device,
        decoder=decoder,
        batches=_numbers("--batch", batch),
        repeats=repeats,
        limit=limit,
        workers=workers,
        stages=STAGES if only is None else _words(only),
    )
    found = collect(paths or ()).paths
    if paths and not found:
        raise UsageError("no video in the named paths", "name videos, or none to use made-up clips")
    file = None if out is None else RowFile(out, overwrite=overwrite)
    with tempfile.TemporaryDirectory() as folder, BenchView(progress, file) as view:
        try:
            run_benchmark(found, options, view, Path(folder))
        finally:
            if file is not None:
                file.close()
    view.show_table()


def _words(given: str) -> Any:
    return tuple(dict.fromkeys(word.strip() for word in given.split(",") if word.strip()))


def _numbers(option: str, given: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(given))
    except ValueError:
        raise UsageError(f"{option} takes whole numbers, not {given!r}", f"type, for example, {option} 8,32")
