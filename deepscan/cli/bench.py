"""`deepscan bench`: speed of each stage and of a whole scan on this machine."""

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
SIDE_BY_SIDE = "To compare several values, separate them by commas."


def bench(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Videos and folders, as for scan. Without any, bench generates four clips of ten seconds in "
            "720p and 1080p, the same on every machine.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[
        str, opt.frames_option(help=f"Frames to take from each video. {SIDE_BY_SIDE}", metavar="N[,N]")
    ] = "8,32",
    faces: Annotated[
        str, opt.frames_option(help=f"{', '.join(FINDERS.names)}, or several.", metavar="MODE[,MODE]")
    ] = "fast",
    faces_device: Annotated[opt.FacesDevice, opt.frames_option(help="Device for finding faces.")] = "cpu",
    decoder: Annotated[opt.DecoderName, opt.frames_option(help="Decoder of the videos.")] = "auto",
    limit: Annotated[
        int, opt.frames_option(min=1, help="Use at most N files, evenly spaced.", metavar="N")
    ] = 16,
    model: Annotated[
        str,
        opt.model_option(help="Names or folders of models. none: only find faces.", metavar="NAME|DIR[,...]"),
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
            help="Measure only these stages: start-up, decode, faces, detector, scan.",
            metavar="STAGE[,STAGE]",
        ),
    ] = None,
    repeats: Annotated[
        int, measure_option(min=1, help="Timed runs of each variant, after an untimed one.", metavar="N")
    ] = 3,
    workers: Annotated[
        int | None,
        measure_option(min=1, help="Decoding processes.", metavar="N", show_default="half the cores"),
    ] = None,
    out: Annotated[
        Path | None,
        opt.output_option(
            help="Write the rows to FILE.csv or FILE.jsonl, and a description of machine and files to "
            "FILE.machine.json.",
            metavar="FILE",
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
) -> None:
    """Measure the speed of each stage and of a whole scan on this machine.

    The stages are start-up, decode, faces and detector. Runs each variant once
    untimed, then --repeats times in turn, and prints the median and the spread:
    a table at a terminal, JSON lines in a pipe. Compare only rows of one run,
    on an otherwise idle machine. In a scan the stages overlap, so their seconds
    add up to more than the whole.

    Examples:
      deepscan bench
      deepscan bench videos/ --frames 8,32 --precision fp32,int8 --out speed.csv
      deepscan bench --only detector --model runs/mine --engine onnx,torch
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
        raise UsageError("the named paths contain no video", "name videos, or no path to use generated clips")
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
        raise UsageError(f"{option} takes whole numbers, not {given!r}", f"for example: {option} 8,32")
