"""`deepscan scan`: files, folders or lists in, a verdict for each out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli import options as opt
from deepscan.errors import Interrupted, Terminated, UsageError, exit_code_of, require_choice
from deepscan.media.decoders import AUTO
from deepscan.outcomes import STATUSES


def scan(
    context: typer.Context,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH",
            help="Videos, pictures or folders; a folder is searched for files with the suffixes of both. "
            "- reads a list of paths from stdin.",
            show_default=False,
        ),
    ] = None,
    from_list: Annotated[
        list[str] | None, opt.input_option(help="Read paths from FILE, one a line.", metavar="FILE")
    ] = None,
    null: Annotated[
        bool, opt.input_option("--null", "-0", help="Read NUL-separated lists (find -print0).")
    ] = False,
    frames: Annotated[
        int,
        opt.frames_option(min=1, help="Frames to sample evenly from each video. 8 is quick.", metavar="N"),
    ] = 32,
    min_frames: Annotated[
        int,
        opt.frames_option(
            min=1, help="Give a video with fewer decodable frames the status too_short.", metavar="N"
        ),
    ] = 1,
    min_share: Annotated[
        float,
        opt.frames_option(
            min=0,
            max=1,
            help="Share of the sampled frames that must show a face good enough to count. With less, the "
            "verdict is inconclusive: one face in 8 frames is often a mistake, as in a video that is upside "
            "down. Lower it for videos that show a person only now and then.",
            metavar="SHARE",
        ),
    ] = 0.3,
    faces: Annotated[
        opt.FacesMode,
        opt.frames_option(
            help="fast searches a smaller copy of one sampled frame in eight, and follows its faces through "
            "the others. exact searches every frame. facenet does so with facenet-pytorch's own MTCNN, as a "
            "reference; it needs the extra torch."
        ),
    ] = "fast",
    faces_device: Annotated[
        opt.FacesDevice,
        opt.frames_option(help="Where to find faces. Whether a GPU is quicker has not been measured."),
    ] = "cpu",
    decoder: Annotated[
        opt.DecoderName,
        opt.frames_option(
            help="auto uses pyav, or pillow for pictures in tiles, TIFF and animated WebP. decord is for "
            "comparison: it is slower, and refuses what it cannot show as players do."
        ),
    ] = "auto",
    timeout: Annotated[
        float,
        opt.frames_option(
            min=0.1, help="Give up decoding a video after this many seconds.", metavar="SECONDS"
        ),
    ] = 120,
    max_megapixels: Annotated[
        float,
        opt.frames_option(
            min=0.01,
            help="Give a video with larger frames the status unsupported. 8K has 33.",
            metavar="MEGAPIXELS",
        ),
    ] = 64,
    model: Annotated[
        list[str] | None,
        opt.model_option(
            help="Name or folder of a model. auto: the best installed model that is quick enough here, or "
            "the built-in one. none: find faces only. Repeat it to have several models judge the same faces; "
            "a record then has a joint verdict and the verdict of each.",
            metavar="NAME|DIR",
            show_default=AUTO,
        ),
    ] = None,
    engine: Annotated[
        opt.EngineName,
        opt.model_option(
            help="What runs the model. torch-compile and tensorrt build it for a GPU first, which is slow."
        ),
    ] = "auto",
    device: opt.Device = "auto",
    precision: Annotated[
        opt.PrecisionName,
        opt.model_option(
            help="bf16 needs torch, fp16 tensorrt, int8 a model with such a file. auto takes int8 on a CPU "
            "where the model's card shows that scores hardly move."
        ),
    ] = "auto",
    out: Annotated[
        Path | None,
        opt.output_option(
            help="Write records to FILE.jsonl; for FILE.csv, also a table. FILE.run.json describes the run.",
            metavar="FILE",
        ),
    ] = None,
    resume: Annotated[
        bool,
        opt.output_option(
            "--resume",
            help="Resume the run in --out, with its own videos and options: nothing else is needed.",
        ),
    ] = False,
    retry: Annotated[
        list[str] | None,
        opt.output_option(
            help=f"With --resume, scan videos of this status again: {', '.join(STATUSES)}.", metavar="STATUS"
        ),
    ] = None,
    overwrite: opt.Overwrite = False,
    case: Annotated[
        str | None,
        opt.output_option(
            help="Case that the videos belong to, for FILE.run.json and the page.", metavar="TEXT"
        ),
    ] = None,
    exhibit: Annotated[
        str | None, opt.output_option(help="Exhibit that the videos are, likewise.", metavar="TEXT")
    ] = None,
    examiner: Annotated[
        str | None, opt.output_option(help="Who examines them, likewise.", metavar="TEXT")
    ] = None,
    explain: Annotated[
        bool,
        opt.output_option(
            "--explain",
            help="Record with each face what its score was based on: the model's own maps over the crop "
            "(0 to 255, row by row) and numbers.",
        ),
    ] = False,
    evidence: Annotated[
        bool,
        opt.output_option(
            "--evidence",
            help="Keep pictures of each person's most telling frames and faces in FILE.pictures, at most 1 "
            "MB a video. The page then shows them, with what the scores were based on.",
        ),
    ] = False,
    progress: opt.Progress = "auto",
    verbose: Annotated[
        bool,
        opt.output_option(
            "--verbose",
            "-v",
            help="Say which model, engine and precision run, and why.",
        ),
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        opt.output_option(help="Exit with code 10 if a video has this verdict: fake.", metavar="VERDICT"),
    ] = None,
) -> int:
    """Find which videos show a manipulated face, how sure that is, and why.

    Prints a table at a terminal, JSON lines in a pipe. With --out, writes each
    record as its video ends.

    deepscan scan clip.mp4

    deepscan scan videos/ --out videos.jsonl

    deepscan scan --resume --out videos.jsonl

    find . -name '*.mp4' -print0 | deepscan scan --null - --out found.csv

    deepscan scan videos/ --model convnet --model runs/mine --out both.jsonl
    """
    from deepscan.cli.scan_command import find_videos, names_a_run, resume_hint, scan_inputs, scan_options
    from deepscan.cli.scan_view import ScanView
    from deepscan.models.choice import NO_MODEL
    from deepscan.scanning.output import ScanOutput
    from deepscan.scanning.run import run_scan
    from deepscan.scanning.runfile import Custody

    first, *others = model or [AUTO]
    values = {
        "model": first,
        "also": tuple(others),
        "frames": frames,
        "faces": faces,
        "faces_device": faces_device,
        "decoder": decoder,
        "engine": engine,
        "device": device,
        "precision": precision,
        "min_frames": min_frames,
        "min_share": min_share,
        "timeout": timeout,
        "max_megapixels": max_megapixels,
        "explain": explain,
        "evidence": evidence,
    }
    named = list(paths or ())
    if resume and out is None and names_a_run(named):
        out = Path(named.pop())
    output = ScanOutput(
        out,
        resume=resume,
        overwrite=overwrite,
        retry=frozenset(retry or ()),  # type: ignore[arg-type]  # it checks itself
    )
    earlier = output.begun()
    options = scan_options(values, context, earlier)
    custody = Custody(case, exhibit, examiner)
    if custody.given() and out is None:
        raise UsageError(
            "--case, --exhibit and --examiner need --out FILE", "name the run's file: they are kept beside it"
        )
    verdicts = fail_on or []
    require_choice("--fail-on", verdicts, ("fake",))
    if verdicts and options.model == NO_MODEL:
        raise UsageError(
            "--fail-on needs a model: without one there are no verdicts", "name a model with --model"
        )
    inputs = scan_inputs(named, from_list or (), output, earlier, null=null)
    with ScanView(progress, out, verbose=verbose) as view:
        found = find_videos(inputs)
        view.show_inputs(found)
        try:
            summary = run_scan(
                found.paths,
                options,
                output,
                command=sys.argv,
                listener=view,
                fail_on=verdicts,
                custody=custody,
                inputs=inputs,
            )
        except (KeyboardInterrupt, Terminated) as error:
            view.show_table()
            kept = [*(f"--fail-on={each}" for each in verdicts), *(f"--retry={each}" for each in retry or ())]
            raise Interrupted(exit_code_of(error), view.interrupted(error), resume_hint(output, inputs, kept))
    view.show_table()
    view.show_summary(summary)
    return int(summary.exit_code(verdicts))
