"""`deepscan bench`: how fast each stage and the whole scan are on this machine."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from deepscan.cli import options as opt
from deepscan.engines import ENGINES
from deepscan.errors import UsageError
from deepscan.faces.finder import FINDERS
from deepscan.media.decoders import AUTO
from deepscan.models.lookup import DEFAULT_MODEL

measure_option = partial(typer.Option, rich_help_panel="Measurement")
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
        str, opt.frames_option(help=f"Frames to sample from each video. {SIDE_BY_SIDE}", metavar="N[,N]")
    ] = "8,32",
    faces: Annotated[
        str, opt.frames_option(help=f"{', '.join(FINDERS.names)}, or several.", metavar="MODE[,MODE]")
    ] = "fast",
    faces_device: Annotated[opt.FacesDevice, opt.frames_option(help="Where to find faces.")] = "cpu",
    decoder: Annotated[opt.DecoderName, opt.frames_option(help="What decodes videos.")] = "auto",
    limit: Annotated[int, opt.frames_option(min=1, help="Use at most this many files, spread evenly.")] = 16,
    model: Annotated[
        str,
        opt.model_option(help="Names or folders of models. none: find faces only.", metavar="NAME|DIR[,...]"),
    ] = DEFAULT_MODEL,
    engine: Annotated[
        str, opt.model_option(help=f"{', '.join((AUTO, *ENGINES.names))}.", metavar="NAME[,NAME]")
    ] = "auto",
    device: Annotated[str, opt.model_option(help="auto, cpu or cuda.", metavar="NAME[,NAME]")] = "auto",
    precision: Annotated[
        str, opt.model_option(help="auto, fp32, fp16, bf16 or int8.", metavar="NAME[,NAME]")
    ] = "auto",
    batch: Annotated[
        str, opt.model_option(help="Crops per batch of the detector.", metavar="N[,N]")
    ] = "1,8,32",
    only: Annotated[
        str | None,
        measure_option(
            help="Measure only these: start-up, decode, faces, detector, scan.", metavar="STAGE[,STAGE]"
        ),
    ] = None,
    repeats: Annotated[
        int, measure_option(min=1, help="Timed runs of each variant, after an untimed one.")
    ] = 3,
    workers: Annotated[
        int | None, measure_option(min=1, help="Decoding processes.", show_default="half the cores")
    ] = None,
    out: Annotated[
        Path | None,
        opt.output_option(
            help="Write rows to FILE.csv or FILE.jsonl. FILE.machine.json describes the machine and the "
            "files.",
            metavar="FILE",
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    progress: opt.Progress = "auto",
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
