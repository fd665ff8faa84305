"""The Python API of scans: scan files, read records, and the schemas of what a scan writes."""

import json
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from deepscan import arguments
from deepscan.arguments import AnyPath
from deepscan.errors import UsageError, require_choice
from deepscan.logs import get_logger
from deepscan.progress import counting_bar
from deepscan.records import Record
from deepscan.run_description import RunDescription

if TYPE_CHECKING:
    from deepscan.scanning.options import ScanOptions
    from deepscan.scanning.paths import ScanPaths

LOG = get_logger(__name__)

StrPath: TypeAlias = str | os.PathLike[str]
FaceSearch: TypeAlias = Literal["fast", "exact", "facenet"]
EngineName: TypeAlias = Literal["auto", "onnx", "torch", "torch-compile", "tensorrt"]
DeviceName: TypeAlias = Literal["auto", "cpu", "cuda"]
PrecisionName: TypeAlias = Literal["auto", "fp32", "bf16", "fp16", "int8"]


def scan(
    paths: AnyPath | Iterable[AnyPath],
    *,
    model: StrPath | Sequence[StrPath] | None = "auto",
    frames: int = 32,
    progress: bool | Callable[[int, int], None] = False,
    faces: FaceSearch = "fast",
    faces_device: Literal["cpu", "cuda"] = "cpu",
    decoder: Literal["auto", "pyav", "pillow", "decord"] = "auto",
    engine: EngineName = "auto",
    device: DeviceName = "auto",
    precision: PrecisionName = "auto",
    min_frames: int = 1,
    min_share: float = 0.3,
    timeout: float = 120.0,
    max_megapixels: float = 64.0,
    explain: bool = False,
    workers: int | None = None,
    scratch: AnyPath | None = None,
) -> Generator[Record, None, None]:
    """Scan videos and pictures, and yield the record of each as soon as it is done.

    The arguments are checked at once. The model is loaded, and the processes that decode are started, when
    the first record is asked for. They end with the iterator: when it is exhausted, closed or no longer used,
    or when an error is raised. A file that cannot be scanned gives a record that says why, and never raises.
    Records come in the order in which the files are done.

    Args:
        paths: Files and folders, one or several (a list, a generator, ...); folders are searched for videos
            and pictures. Addresses such as `"s3://bucket/clip.mp4"` or `"https://example.org/clip.mp4"` are
            fetched (extra `store`); an address in a store that ends in `/` names all below it.
        model: Name or folder of a model, or several for a joint verdict; `"auto"` for the best that is
            installed and fast enough here, `None` to find faces only.
        frames: Number of frames to sample from each video, evenly.
        progress: `True` shows a progress bar (tqdm, a widget in notebooks); a function is called with the
            number of files done, and of all files.
        faces: `"fast"` searches a smaller copy of some frames and follows the faces through the others,
            `"exact"` searches every frame, `"facenet"` does so with facenet-pytorch (extra `torch`).
        faces_device: Device of the face finder.
        decoder: `"auto"`, or the only decoder to use.
        engine: What runs the model.
        device: Device of the model.
        precision: Precision of the model.
        min_frames: A video with fewer decodable frames gets the status `too_short`.
        min_share: Share of the sampled frames, in [0, 1], that must show a face good enough to count; with
            less the verdict is `inconclusive`.
        timeout: Seconds that decoding a file may take.
        max_megapixels: Files with larger frames get the status `unsupported`.
        explain: Whether to record what the score of each face is based on.
        workers: Number of processes that decode; `None` for one a core, at most one a file.
        scratch: Folder for fetched videos of more than 256 MB; `None` for that of the system.

    Raises:
        UsageError: A path does not exist, or an argument has a wrong type or an unknown value.
        DeepscanError: While iterating: the model cannot be loaded, or the thread that asked for the first
            record has ended.
    """
    # Here, so that records can be read without them.
    from deepscan.scanning.loading import model_names
    from deepscan.scanning.options import ScanOptions
    from deepscan.scanning.paths import collect
    from deepscan.storage.copies import require_scratch

    arguments.strings(
        faces=faces,
        faces_device=faces_device,
        decoder=decoder,
        engine=engine,
        device=device,
        precision=precision,
    )
    require_choice("precision", (precision,), get_args(PrecisionName))
    advance = arguments.progress("progress", progress)
    processes = None if workers is None else arguments.whole_number("workers", workers)
    first, *others = model_names(model)
    options = ScanOptions(
        model=first,
        also=tuple(others),
        frames=arguments.whole_number("frames", frames),
        faces=faces,
        faces_device=faces_device,
        decoder=decoder,
        engine=engine,
        device=device,
        precision=precision,
        min_frames=arguments.whole_number("min_frames", min_frames),
        min_share=arguments.number("min_share", min_share),
        timeout=arguments.number("timeout", timeout),
        max_megapixels=arguments.number("max_megapixels", max_megapixels),
        explain=arguments.flag("explain", explain),
    )
    if processes is not None and processes < 1:
        raise UsageError(f"workers must be at least 1, not {processes}", "leave it out for one per core")
    folder = None if scratch is None else Path(arguments.path("scratch", scratch))
    require_scratch(folder, "scratch")
    return _records(collect(arguments.paths("paths", paths)), options, processes, advance, folder)


def _records(
    found: "ScanPaths",
    options: "ScanOptions",
    workers: int | None,
    progress: bool | Callable[[int, int], None],
    scratch: Path | None,
) -> Generator[Record, None, None]:
    from deepscan.scanning.run import iterate_scan

    thread, paths = threading.current_thread(), found.paths
    lines = iterate_scan(paths, options, workers=workers, etags=found.etags, scratch=scratch)
    bar = counting_bar("scanning", "file", len(paths)) if progress is True else nullcontext()
    with bar as advance, closing(lines):
        for done, line in enumerate(lines, start=1):
            if advance is not None:
                advance()
            elif callable(progress):
                progress(done, len(paths))
            yield Record.from_json(line.to_json())
            if not thread.is_alive():
                # Linux ends the decoding processes with the thread that started them.
                raise UsageError(
                    "the thread that started this scan has ended, and its processes with it",
                    "ask for all records in one thread",
                )


def read_records(path: AnyPath) -> Iterator[Record]:
    """Read the records of a scan, one by one.

    A last line that an interrupted scan left unfinished is skipped. If chunks of a run folder have no records
    yet, the others are read, and a warning is logged under `deepscan.api`.

    Args:
        path: The `.jsonl` file that `deepscan scan --out FILE` wrote, a run folder or its address, or a
            `.parquet` file that `deepscan compact` wrote.

    Raises:
        UsageError: There is no such file or run folder, or it cannot be read.
        ContractError: The run folder is of another version. While iterating: a record is not of this version,
            or a part of the run is damaged.
        MissingError: A package is missing that a run folder, or its address, needs.
    """
    from deepscan.scanning.reading import open_records
    from deepscan.scanning.record_source import is_run_folder

    name = arguments.path("path", path)
    if not is_run_folder(name):
        _require_readable(name, ".jsonl")
    records = open_records(name)
    if lacking := records.unfinished():
        LOG.warning("%s: %s", records.location, lacking)
    return (Record.from_json(record) for record in records)


def read_run(path: AnyPath) -> RunDescription:
    """Read the file that describes a run.

    Args:
        path: The `.run.json` file, the `.jsonl`, `.csv` or `.parquet` file that it is next to, or a run
            folder or its address.

    Raises:
        UsageError: There is no such file or run folder, or it cannot be read.
        ContractError: It does not describe a run of this version.
        MissingError: A package is missing that a run folder, or its address, needs.
    """
    from deepscan.scanning.reading import open_records
    from deepscan.scanning.record_source import is_run_folder

    name = arguments.path("path", path)
    if is_run_folder(name):
        return RunDescription.from_json(open_records(name).run() or {})
    file = Path(name) if name.endswith(".run.json") else Path(name).with_suffix(".run.json")
    _require_readable(file, ".run.json")
    return RunDescription.from_json(file.read_bytes())


def _require_readable(path: StrPath, suffix: str) -> None:
    if not os.path.isfile(path):
        raise UsageError(f"{os.fspath(path)!r} does not exist", f"name the {suffix} file of a scan")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{os.fspath(path)!r} cannot be read", "check its permissions")


def record_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a record, one line of a `.jsonl` file."""
    return _schema("record")


def run_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a `.run.json` file, which describes a run."""
    return _schema("run")


def _schema(name: str) -> dict[str, Any]:
    text = Path(__file__).with_name("schemas").joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
