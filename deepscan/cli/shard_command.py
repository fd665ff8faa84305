"""The command line of `scan --out RUN/`: a run folder that several machines may share."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import typer

from deepscan.cli.cluster_view import ClusterView
from deepscan.cli.scan_command import (
    find_videos,
    given_inputs,
    program_words,
    require_verdicts,
    scan_options,
)
from deepscan.cli.scan_view import ScanView
from deepscan.cli.shard_view import ShardView
from deepscan.cluster.driver import ClusterOptions, run_cluster
from deepscan.errors import ContractError, Interrupted, Terminated, UsageError, exit_code_of
from deepscan.scanning.chunks import ManifestRow, Shard
from deepscan.scanning.manifest import is_table, table_rows
from deepscan.scanning.path_spool import PathSet
from deepscan.scanning.paths import ScanInputs
from deepscan.scanning.run_folder import RUN, RunFolder
from deepscan.scanning.runfile import Custody
from deepscan.scanning.shard_job import ShardJob, ShardSummary
from deepscan.scanning.shard_run import run_shard
from deepscan.scanning.shards import parse_shard
from deepscan.scanning.sources import listed_items
from deepscan.storage.address import is_address, local_path, scheme_of

#: An address with such a suffix is one of a file, which cannot be written there.
FILE_SUFFIXES = (".jsonl", ".csv", ".parquet")
#: Option -> what to do with a run folder instead.
_REFUSED = {
    "--overwrite": "name another folder: parts of a run are never replaced",
    "--retry": "scan these videos into another --out: parts of a run are never replaced",
    "--evidence": "scan the videos of interest again with --evidence --out FILE.jsonl",
    "--verify-inputs": "leave it out: videos with a record are not looked at again",
}


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """Options of `scan` that concern a run folder.

    Attributes:
        out: The run folder as given: ends in `/`, is an address, or is the folder of a run.
        shard: As given with `--shard`, None without.
        chunk: Rows of a chunk, None without `--chunk`.
        scratch: Folder for large objects, None for that of the system.
        cluster: Where to scan, None for this machine.
        refused: Given options that work only with a file.
    """

    out: str
    shard: str | None
    chunk: int | None
    scratch: Path | None
    cluster: ClusterOptions | None = None
    refused: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in self.refused:
            raise UsageError(f"{name} does not work with the run folder {self.out}", _REFUSED[name])
        if self.cluster is not None and self.shard is not None:
            raise UsageError(
                "--cluster and --shard cannot be used together",
                "leave --shard out: the workers of the cluster share all chunks",
            )

    @property
    def location(self) -> str:
        """The path or address of the run folder."""
        if is_address(self.out) and scheme_of(self.out) == "file":
            return local_path(self.out)
        return self.out


def cluster_options(address: str | None, workers: int | None, stages: str) -> ClusterOptions | None:
    """Return the cluster that `--cluster`, `--workers` and `--stages` name, None for a scan on this machine.

    Raises:
        UsageError: There is a number of workers, but no cluster; or the address cannot be used.
    """
    if address is None:
        for name, given in (("--workers", workers is not None), ("--stages split", stages == "split")):
            if given:
                raise UsageError(f"{name} needs --cluster", f"add --cluster auto, or leave {name} out")
        return None
    return ClusterOptions(address, workers, stages == "split")


def names_run_folder(out: str | None) -> bool:
    """Return whether `--out` names a run folder instead of a file."""
    if out is None:
        return False
    file = Path(out).suffix.lower() in FILE_SUFFIXES
    return out.endswith("/") or (is_address(out) and not file) or os.path.isfile(os.path.join(out, RUN))


def scan_into_folder(
    given: FolderOptions,
    named: Sequence[str],
    lists: Sequence[str],
    values: Mapping[str, Any],
    context: typer.Context,
    custody: Custody,
    *,
    null: bool,
    progress: str,
    fail_on: Sequence[str],
) -> int:
    """Scan a shard of the run in a folder, and return the exit code.

    Args:
        given: What the command line says about the folder.
        named: Files, folders and addresses; `-` means a list on stdin.
        lists: Files that list paths, or manifests.
        values: As for `scan_options`.
        context: As for `scan_options`.
        custody: Information about the case.
        null: Whether paths in lists are separated by NUL bytes.
        progress: Style of the progress.
        fail_on: Verdicts that make the scan end with their exit code.
    """
    shard = parse_shard(given.shard, os.environ) if given.shard else Shard()
    earlier = RunFolder.existing(given.location)
    try:
        options = scan_options(values, context, None if earlier is None else earlier.run)
    except ContractError as error:
        raise ContractError(error.message, "leave these options out, or start a new run with another --out")
    require_verdicts(fail_on, options)
    inputs = given_inputs(named, lists, null=null)
    if not inputs and earlier is None:
        raise UsageError("no video to scan", f"name videos, or the folder of a run to continue: {given.out}")
    view_of = ShardView if given.cluster is None else ClusterView
    with view_of(progress, given.out, shard) as view:
        job = ShardJob(given.location, shard, given.chunk, inputs, lambda: manifest_rows(inputs, view))
        try:
            summary = _scanner(given, view)(
                job,
                options,
                command=sys.argv,
                fail_on=fail_on,
                custody=custody,
                scratch=given.scratch,
            )
        except (KeyboardInterrupt, Terminated) as error:
            words = [*program_words(), "scan", "--out", given.out]
            words += ["--shard", given.shard] if given.shard else []
            words += given.cluster.words() if given.cluster else []
            hint = f"to continue: {shlex.join([*words, *(f'--fail-on={each}' for each in fail_on)])}"
            if RunFolder.existing(given.location) is None:
                hint = "no video was started: repeat the command"
            raise Interrupted(exit_code_of(error), view.interrupted(error), hint)
    view.show_summary(summary)
    return int(summary.exit_code(fail_on))


def _scanner(given: FolderOptions, view: ShardView) -> Callable[..., ShardSummary]:
    """Return what scans: this machine, or a cluster."""
    if given.cluster is None:
        return partial(run_shard, listener=view)
    assert isinstance(view, ClusterView)
    return partial(run_cluster, cluster=given.cluster, listener=view)


def manifest_rows(inputs: ScanInputs, view: ScanView) -> Iterator[ManifestRow]:
    """Yield a row for each video that a command line names, once.

    Args:
        inputs: The inputs; lists that end in `.csv` or `.parquet` are manifests.
        view: Shows which files are skipped.
    """
    tables = [name for name in inputs.lists if is_table(name)]
    if not tables:
        found = find_videos(inputs)
        view.show_inputs(found)
        for item in listed_items(found.paths, found.etags):
            yield ManifestRow(item.path, etag=item.etag)
        return
    others = replace(inputs, lists=tuple(name for name in inputs.lists if not is_table(name)))
    seen, repeated = PathSet(), 0
    for row in chain(
        manifest_rows(others, view) if others else (), *(table_rows(name, inputs.folder) for name in tables)
    ):
        if seen.add(row.path):
            yield row
        else:
            repeated += 1
    if repeated:
        view.note(f"named more than once, scanned once: {repeated:,}")
