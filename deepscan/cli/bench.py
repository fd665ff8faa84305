"""`deepscan bench`: how fast each stage and the whole scan are on this machine."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from deepscan.cli.options import (
    MODEL,
    OUTPUT,
    DecoderName,
    Device,
    FacesDevice,
    Overwrite,
    Style,
    progress_option,
)
from deepscan.errors import UsageError
from deepscan.models.lookup import DEFAULT_MODEL

LOOK, MEASURE = "What is looked at", "How it is measured"
SIDE_BY_SIDE = "Several, with commas between them, are measured side by side."


def bench(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Videos and folders, as scan takes them. Without any, four clips of ten seconds in 720p and "
            "1080p are made up, the same everywhere, so that machines can be compared.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        str, typer.Option(help=f"Frames sampled from each video. {SIDE_BY_SIDE}", rich_help_panel=LOOK)
    ] = "8,32",
    faces: Annotated[
        str,
        typer.Option(help="fast, exact, facenet, or several.", metavar="MODE[,MODE]", rich_help_panel=LOOK),
    ] = "fast",
    faces_device: Annotated[
        FacesDevice, typer.Option(help="Where faces are found.", rich_help_panel=LOOK)
    ] = "cpu",
    decoder: Annotated[
        DecoderName, typer.Option(help="What decodes the videos.", rich_help_panel=LOOK)
    ] = "auto",
    limit: Annotated[
        int,
        typer.Option(min=1, help="Of more files, so many are taken, spread evenly.", rich_help_panel=LOOK),
    ] = 16,
    model: Annotated[
        str,
        typer.Option(
            help="Names or folders of models; none finds faces only.",
            metavar="NAME|DIR[,...]",
            rich_help_panel=MODEL,
        ),
    ] = DEFAULT_MODEL,
    engine: Annotated[str, typer.Option(help="Engines, such as onnx,torch.", rich_help_panel=MODEL)] = "auto",
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="Precisions, such as fp32,int8.", rich_help_panel=MODEL)
    ] = "auto",
    batch: Annotated[
        str, typer.Option(help="Crops that go through the detector at once.", rich_help_panel=MODEL)
    ] = "1,8,32",
    only: Annotated[
        str | None,
        typer.Option(
            help="Measure these alone: start-up, decode, faces, detector, scan.",
            metavar="STAGE[,STAGE]",
            rich_help_panel=MEASURE,
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="Timed runs of each, after one untimed.", rich_help_panel=MEASURE)
    ] = 3,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Decoders at once.", show_default="half the cores", rich_help_panel=MEASURE),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the rows to FILE.csv or FILE.jsonl; FILE.machine.json describes the machine and the "
            "files.",
            metavar="FILE",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    progress: Annotated[Style, progress_option(OUTPUT)] = "auto",
) -> None:
    """Measure start-up, decoding, face finding and the detector alone, and then the whole scan.

    Each is run once untimed, then --repeats times, variants in turns. The
    figures are the median and how far the runs lie apart. Compare rows of one
    run, and give the machine nothing else to do. Stages of a scan overlap: the
    seconds of each are those of all videos together. A table at a terminal,
    JSON lines when piped.

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
        raise UsageError("there is no video in what was named", "name videos, or nothing for made-up clips")
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
        raise UsageError(f"{option} {given!r} are no whole numbers", f"such as {option} 8,32")
