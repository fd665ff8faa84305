"""A process that scans: its models and decoders, loaded once and used for any number of scans."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deepscan.devices import Budget
from deepscan.logs import get_logger
from deepscan.media.pool import DecodePool
from deepscan.scanning import runfile
from deepscan.scanning.chunks import Chunk, ManifestRow
from deepscan.scanning.loading import LoadedModels, decode_options, load_models
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.originals import Originals, RecordSpool
from deepscan.scanning.picture_folder import PictureFolder
from deepscan.scanning.pipeline import Pipeline
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.sources import ScanItem, fetched_items

LOG = get_logger(__name__)


class Worker:
    """Models and decoders of this process, which scan as the description of a run says; a context manager.

    `open` loads the models, `start` starts the decoders.

    Args:
        options: The scan's parameters.
        run: Description of the run to continue or to share with others; None for a new one.
        budget: What it may use of the machine, None for all that this process may use.
        decoders: Number of decoding processes, None for one per CPU of the budget: each has one thread.
        custody: Information about the case, for the description of the run.
        warn: Called with warnings for the user while a scan goes on.
        scratch: Folder for objects that are too large for memory, None for that of the system.
        load: Loads the models as `load_models` does, None for that function.
    """

    def __init__(
        self,
        options: ScanOptions,
        run: Mapping[str, Any] | None = None,
        budget: Budget | None = None,
        *,
        decoders: int | None = None,
        custody: runfile.Custody | None = None,
        warn: Callable[[str], None] = LOG.warning,
        scratch: Path | None = None,
        load: Callable[..., LoadedModels] | None = None,
    ) -> None:
        self._load = load or load_models
        self._budget = budget or Budget.here(options.device)
        self._earlier, self._custody, self._warn, self._scratch = run, custody, warn, scratch
        self._pool: DecodePool | None = None
        self._pipeline: Pipeline | None = None
        #: The scan's parameters; once it is open, with the chosen model.
        self.options = options
        #: The description of the run, once it is open.
        self.run: dict[str, Any] = {}
        #: Number of decoding processes.
        self.decoders = decoders or self._budget.cpus

    def open(self) -> None:
        """Load the models, and check that they compute what the run says.

        Raises:
            DeepscanError: A model, a package or a device is missing or unusable, or differs from the run's.
        """
        models = self._load(self.options, self._earlier, threads=self._budget.threads)
        self.options, self._models = models.options, models
        described = runfile.describe(
            models.options, models.scorers, models.finder, models.choice, self._custody
        )
        if self._earlier is not None:
            runfile.require_compatible(self._earlier, described)
            described = dict(self._earlier)
        self.run = described

    def start(self, pictures: PictureFolder | None = None) -> DecodePool:
        """Start the decoders, and return them.

        Args:
            pictures: Where to write pictures of the most telling faces, None for none.
        """
        models = self._models
        self._pool = DecodePool(decode_options(models.options), self.decoders)
        self._pipeline = Pipeline(
            models.options,
            self._pool,
            models.finder,
            models.scorers,
            self.run["id"],
            self._warn,
            models.face_filter,
            models.looks,
            pictures,
        )
        return self._pool

    def scan(
        self,
        items: Iterable[ScanItem | None],
        on_progress: Callable[[bytes | None], None] = lambda path: None,
        originals: Originals | None = None,
    ) -> Generator[RecordLine, None, None]:
        """Scan videos and yield the record of each as it ends, see `Pipeline.scan`; objects are fetched.

        Raises:
            DeepscanError: See `fetched_items`.
        """
        assert self._pipeline is not None, "start the decoders first"
        with closing(fetched_items(items, self.decoders, self._scratch)) as ready:
            yield from self._pipeline.scan(ready, on_progress, originals)

    def scan_all(
        self,
        chunks: Iterable[Chunk],
        done: Callable[[Chunk, list[dict[str, Any]]], None],
        *,
        on_progress: Callable[[bytes | None], None] = lambda path: None,
        on_record: Callable[[dict[str, Any]], None] = lambda record: None,
    ) -> None:
        """Scan chunks. The next one begins while the last videos of another are scanned, so nothing is idle.

        A video with the content of an earlier one of these chunks gets a copy of its record.

        Args:
            chunks: The chunks, consumed as decoders become idle; no path twice.
            done: Called with each chunk and its records, in the order of its rows, when its last video ends.
            on_progress: As for `scan`.
            on_record: Called with each record.
        """
        begun: dict[bytes, tuple[Chunk, ManifestRow, dict[bytes, dict[str, Any]]]] = {}

        def items() -> Iterator[ScanItem]:
            for chunk in chunks:
                records: dict[bytes, dict[str, Any]] = {}
                begun.update({row.path: (chunk, row, records) for row in chunk.rows})
                yield from (ScanItem(row.path, etag=row.etag) for row in chunk.rows)

        with RecordSpool() as spool:
            originals = Originals(spool.read)
            with closing(self.scan(items(), on_progress, originals)) as lines:
                for found in lines:
                    chunk, row, records = begun.pop(found.path)
                    line = require_content(row, found)
                    records[line.path] = record = line.to_json()
                    originals.add(line, spool.append(record))
                    on_record(record)
                    if len(records) == len(chunk.rows):
                        done(chunk, [records[each.path] for each in chunk.rows])

    def close(self) -> None:
        """End the decoders."""
        if self._pool is not None:
            self._pool.close()
        self._pool = self._pipeline = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def require_content(row: ManifestRow, line: RecordLine) -> RecordLine:
    """Return a record, or one with status `changed` if the video is not the one that the manifest describes.

    Args:
        row: The video in the manifest.
        line: Its record.
    """
    problem = ""
    if row.sha256 and line.sha256 and line.sha256 != row.sha256:
        problem = f"its SHA-256 is not {row.sha256}, as in the manifest"
    elif row.size is not None and line.size is not None and line.size != row.size:
        problem = f"it has {line.size:,} bytes, not {row.size:,} as in the manifest"
    if not problem:
        return line
    return RecordLine(
        line.path,
        "changed",
        problem,
        line.run,
        sha256=line.sha256,
        size=line.size,
        mtime_ns=line.mtime_ns,
        etag=line.etag,
        started=line.started,
        seconds=line.seconds,
    )
