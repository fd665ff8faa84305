"""`deepscan scan`: a verdict for each video."""

import sys
from pathlib import Path
from typing import Annotated, Literal

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
            help="Videos, pictures, or folders to search for them by suffix. Addresses such as "
            "s3://bucket/clip.mp4 or https://example.org/clip.mp4 are fetched; s3://bucket/videos/ means "
            "everything below it. - reads a list of paths from stdin.",
            show_default=False,
        ),
    ] = None,
    from_list: Annotated[
        list[str] | None,
        opt.input_option(
            help="Read paths from FILE, one per line. FILE.csv or FILE.parquet is a manifest with a column "
            "path (or uri); it may have id, label, size, etag and sha256.",
            metavar="FILE",
        ),
    ] = None,
    null: Annotated[
        bool,
        opt.input_option("--null", "-0", help="Paths in lists are separated by NUL, as from find -print0."),
    ] = False,
    frames: Annotated[
        int,
        opt.frames_option(
            min=1, help="Frames to take from each video, evenly spaced. 8 is fast.", metavar="N"
        ),
    ] = 32,
    min_frames: Annotated[
        int,
        opt.frames_option(
            min=1, help="A video with fewer decodable frames gets the status too_short.", metavar="N"
        ),
    ] = 1,
    min_share: Annotated[
        float,
        opt.frames_option(
            min=0,
            max=1,
            help="Share of the frames that must show a usable face; below it, the verdict is inconclusive. "
            "Lower it for videos that rarely show a person: a face in only one of 8 frames is often a false "
            "detection.",
            metavar="SHARE",
        ),
    ] = 0.3,
    faces: Annotated[
        opt.FacesMode,
        opt.frames_option(
            help="fast searches every eighth frame at reduced size and tracks the faces through the others. "
            "exact searches every frame. facenet does the same with facenet-pytorch's MTCNN, for comparison; "
            "it needs the extra torch."
        ),
    ] = "fast",
    faces_device: Annotated[
        opt.FacesDevice,
        opt.frames_option(help="Device for finding faces. It is not known whether a GPU is faster."),
    ] = "cpu",
    decoder: Annotated[
        opt.DecoderName,
        opt.frames_option(
            help="auto uses pyav, or pillow for tiled pictures, TIFF and animated WebP. decord is slower and "
            "rejects files that it would show differently from a player; it is meant for comparison."
        ),
    ] = "auto",
    timeout: Annotated[
        float,
        opt.frames_option(min=0.1, help="Stop decoding a video after this many seconds.", metavar="SECONDS"),
    ] = 120,
    max_megapixels: Annotated[
        float,
        opt.frames_option(
            min=0.01,
            help="A video with larger frames gets the status unsupported. 8K has 33 megapixels.",
            metavar="N",
        ),
    ] = 64,
    model: Annotated[
        list[str] | None,
        opt.model_option(
            help="Name or folder of a model. auto: the best installed model that is fast enough here, or "
            "the built-in one. none: only find faces. Repeat to use several models: each record then has "
            "the verdict of each and a joint one.",
            metavar="NAME|DIR",
            show_default=AUTO,
        ),
    ] = None,
    engine: Annotated[
        opt.EngineName,
        opt.model_option(
            help="Library that runs the model. torch-compile and tensorrt first compile it for a GPU, "
            "which is slow."
        ),
    ] = "auto",
    device: opt.Device = "auto",
    precision: Annotated[
        opt.PrecisionName,
        opt.model_option(
            help="bf16 needs engine torch, fp16 needs tensorrt, int8 a model with an int8 file. auto uses "
            "int8 on a CPU if the model's card shows that scores hardly change."
        ),
    ] = "auto",
    out: Annotated[
        str | None,
        opt.output_option(
            help="Write records to FILE.jsonl; FILE.csv adds a table. FILE.run.json describes the run. "
            "DIR/ or an address: a run folder, in which several machines can scan.",
            metavar="FILE|DIR/",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        opt.output_option(
            help="Scan only this share of a run folder, such as 3/12 for the third of 12. auto: as the job "
            "array says (Slurm, AWS Batch, Cloud Run, Google Batch); auto/12 in a Kubernetes Indexed Job.",
            metavar="I/N|auto",
        ),
    ] = None,
    chunk: Annotated[
        int | None,
        opt.output_option(
            min=1,
            help="Videos whose records are written together into a run folder: 256, or fewer if there are "
            "few videos. A shard that is killed loses at most the chunks that it had begun.",
            metavar="N",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        opt.output_option(
            help="Scan on the machines of a Ray cluster, into a run folder that all of them see. auto: the "
            "cluster of this machine. Needs the extra cluster.",
            metavar="auto|HOST:PORT",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        opt.output_option(
            min=1,
            help="Number of workers of the cluster. By default one on each machine, with all its CPUs, or "
            "one for each GPU.",
            metavar="N",
        ),
    ] = None,
    stages: Annotated[
        Literal["together", "split"],
        opt.output_option(
            help="split: workers of the cluster only find faces, on CPUs, and machines with GPUs score them. "
            "For large models on clusters with few GPUs.",
        ),
    ] = "together",
    resume: Annotated[
        bool,
        opt.output_option(
            "--resume",
            help="Resume the run in --out. It keeps its videos and options, so that nothing else is needed.",
        ),
    ] = False,
    retry: Annotated[
        list[str] | None,
        opt.output_option(
            help=f"With --resume, also rescan videos with this status: {', '.join(STATUSES)}.",
            metavar="STATUS",
        ),
    ] = None,
    verify_inputs: Annotated[
        bool,
        opt.output_option(
            "--verify-inputs",
            help="With --resume, hash every recorded file again. Otherwise a file with the recorded size and "
            "modification time counts as unchanged.",
        ),
    ] = False,
    overwrite: opt.Overwrite = False,
    case: Annotated[
        str | None,
        opt.output_option(
            help="Case number or name, recorded in FILE.run.json and on the report page.", metavar="TEXT"
        ),
    ] = None,
    exhibit: Annotated[
        str | None, opt.output_option(help="Exhibit number, recorded likewise.", metavar="TEXT")
    ] = None,
    examiner: Annotated[
        str | None, opt.output_option(help="Name of the examiner, recorded likewise.", metavar="TEXT")
    ] = None,
    explain: Annotated[
        bool,
        opt.output_option(
            "--explain",
            help="Record what each face's score is based on: the model's attention maps over the crop (0 to "
            "255, row by row) and other values, as far as the model has them.",
        ),
    ] = False,
    evidence: Annotated[
        bool,
        opt.output_option(
            "--evidence",
            help="Save pictures of the frames and faces that decided each person's score in FILE.pictures, "
            "at most 1 MB per video, for the report page.",
        ),
    ] = False,
    scratch: Annotated[
        Path | None,
        opt.input_option(
            help="Folder for fetched videos of more than 256 MB, which are not kept in memory.",
            metavar="DIR",
            show_default="the system's temporary folder",
        ),
    ] = None,
    progress: opt.Progress = "auto",
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = 0,
    fail_on: Annotated[
        list[str] | None,
        opt.output_option(
            help="Exit with code 10 if a video gets this verdict. The only choice is fake.", metavar="VERDICT"
        ),
    ] = None,
) -> int:
    """Find which videos show a manipulated face, how sure that is, and why.

    Prints a table at a terminal, JSON lines in a pipe. With --out, writes each
    record to a file as soon as its video is done. In a run folder, the same
    command again continues the run.

    Examples:
      deepscan scan clip.mp4
      deepscan scan videos/ --out videos.jsonl
      deepscan scan --resume --out videos.jsonl
      find . -name '*.mp4' -print0 | deepscan scan --null - --out found.csv
      deepscan scan videos/ --model convnet --model runs/mine --out both.jsonl
      deepscan scan s3://bucket/videos/ --out s3://bucket/run/ --shard 3/12
    """
    from deepscan.cli.scan_command import (
        find_videos,
        names_a_run,
        require_verdicts,
        resume_hint,
        scan_inputs,
        scan_options,
    )
    from deepscan.cli.scan_view import ScanView
    from deepscan.cli.shard_command import FolderOptions, cluster_options, names_run_folder, scan_into_folder
    from deepscan.scanning.output import ScanOutput
    from deepscan.scanning.run import run_scan
    from deepscan.scanning.runfile import Custody
    from deepscan.storage.copies import require_scratch

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
    named, verdicts = list(paths or ()), fail_on or []
    require_choice("--fail-on", verdicts, ("fake",))
    require_scratch(scratch, "--scratch")
    if resume and out is None and names_a_run(named):
        out = named.pop()
    custody = Custody(case, exhibit, examiner)
    if names_run_folder(out):
        files_only = {
            "--overwrite": overwrite,
            "--retry": retry,
            "--evidence": evidence,
            "--verify-inputs": verify_inputs,
        }
        folder = FolderOptions(
            str(out),
            shard,
            chunk,
            scratch,
            cluster_options(cluster, workers, stages),
            [name for name in files_only if files_only[name]],
        )
        return scan_into_folder(
            folder,
            named,
            from_list or (),
            values,
            context,
            custody,
            null=null,
            progress=progress,
            fail_on=verdicts,
        )
    folder_only = {"shard": shard, "chunk": chunk, "cluster": cluster, "workers": workers}
    folder_only["stages"] = stages if stages != "together" else None
    for name, given in folder_only.items():
        if given is not None:
            raise UsageError(f"--{name} needs a run folder", "end its name in /, as in --out RUN/")
    output = ScanOutput(
        Path(out) if out else None,
        resume=resume,
        overwrite=overwrite,
        retry=frozenset(retry or ()),  # type: ignore[arg-type]  # it checks itself
        verify_inputs=verify_inputs,
    )
    earlier = output.begun()
    options = scan_options(values, context, earlier)
    if custody.given() and out is None:
        raise UsageError(
            "--case, --exhibit and --examiner need --out",
            "add --out FILE.jsonl: they are stored in FILE.run.json",
        )
    require_verdicts(verdicts, options)
    inputs = scan_inputs(named, from_list or (), output, earlier, null=null)
    with ScanView(progress, output.out) as view:
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
                etags=found.etags,
                scratch=scratch,
            )
        except (KeyboardInterrupt, Terminated) as error:
            view.show_table()
            kept = [*(f"--fail-on={each}" for each in verdicts), *(f"--retry={each}" for each in retry or ())]
            kept += ["--verify-inputs"] if verify_inputs else []
            raise Interrupted(exit_code_of(error), view.interrupted(error), resume_hint(output, inputs, kept))
    view.show_table()
    view.show_summary(summary)
    return int(summary.exit_code(verdicts))
