"""The whole scan, and what comes before it: start-up, and the first answer from a cold start."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepscan.bench.accelerator import Watch
from deepscan.bench.timing import Sample, TimedCase, cpu_seconds, timed
from deepscan.errors import DeepscanError
from deepscan.media.decoders import AUTO
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.run import ScanListener, run_scan

#: What a scan with an ONNX model imports of others, bare; one of them through the function that quiets it.
BARE_IMPORTS = """
import numpy, scipy.optimize, cv2, yaml
from deepscan.offline import import_onnxruntime
import_onnxruntime()
"""
#: What a scan does before it opens the first file.
READY = """
import json, sys
from deepscan.faces.finder import open_finder
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.run import load_scorers
options = ScanOptions(**json.loads(sys.argv[1]))
finder = open_finder(options.faces, options.faces_device)
scorers = load_scorers(options)
"""


class Timekeeper(ScanListener):
    """Notes when a scan has loaded what it needs, and what its records say of each stage."""

    def __init__(self) -> None:
        self.loaded_at = 0.0
        self.spent = 0.0
        self.parts: dict[str, float] = {}

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Start the clock."""
        self.loaded_at, self.spent = time.perf_counter(), cpu_seconds()

    def ended(self, record: Mapping[str, Any]) -> None:
        """Add a video's seconds."""
        for stage, seconds in record["seconds"].items():
            if stage != "total":
                self.parts[stage] = self.parts.get(stage, 0.0) + seconds


def scanning(
    paths: Sequence[bytes], options: ScanOptions, workers: int | None, labels: Mapping[str, Any]
) -> TimedCase:
    """Return the case of a whole scan of files, from when everything is loaded to the last record.

    Args:
        paths: The files.
        options: The scan's parameters.
        workers: Decoders at once, None for a number that suits the machine.
        labels: Of the row.
    """

    def run() -> Sample:
        keeper = Timekeeper()
        with Watch() as watch:
            run_scan(paths, options, ScanOutput(None), listener=keeper, workers=workers)
            ended = time.perf_counter()
        return Sample(
            ended - keeper.loaded_at, cpu_seconds() - keeper.spent, keeper.parts, watch.busy(keeper.loaded_at)
        )

    return TimedCase(labels, len(paths), "videos", run)


def start_up(options: ScanOptions, first: bytes) -> Iterator[TimedCase]:
    """Yield the cases of starting: `--help`, the libraries bare, a scan up to its first file, and one file.

    Args:
        options: Of the scan.
        first: The file whose answer is waited for.
    """
    names = ("model", "frames", "faces", "faces_device", "decoder", "engine", "device", "precision")
    given = {name: getattr(options, name) for name in names if getattr(options, name) != AUTO}

    def case(part: str, *arguments: str | bytes) -> TimedCase:
        command: list[str | bytes] = [sys.executable, *arguments]
        return TimedCase(
            {"stage": "start-up", "part": part}, 1, "runs", lambda: timed(lambda: _finished(command))
        )

    yield case("--help", "-m", "deepscan", "--help")
    yield case("bare imports", "-c", BARE_IMPORTS)
    yield case("ready to scan", "-c", READY, json.dumps(given))
    named = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    yield case("first answer", "-m", "deepscan", "scan", first, *named)


def _finished(command: Sequence[str | bytes]) -> None:
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-2:]
        raise DeepscanError(f"a process that was to be timed failed: {' '.join(last)}", "run deepscan doctor")
