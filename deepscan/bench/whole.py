"""Benchmarks of the whole scan and of start-up, up to the first answer from a cold start."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepscan.bench.accelerator import GpuMonitor
from deepscan.bench.timing import Sample, TimedCase, cpu_seconds, timed
from deepscan.errors import DeepscanError
from deepscan.media.decoders import AUTO
from deepscan.media.frames import CPU_SUFFIX
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.run import ScanListener, run_scan

#: The third-party imports of a scan with an ONNX model; `import_onnxruntime` silences that library.
BARE_IMPORTS = """
import numpy, scipy.optimize, cv2, yaml
from deepscan.offline import import_onnxruntime
import_onnxruntime()
"""
#: The work of a scan before it opens the first file.
READY = """
import json, sys
from deepscan.faces.finder import open_finder
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.loading import load_scorers
options = ScanOptions(**json.loads(sys.argv[1]))
finder = open_finder(options.faces, options.faces_device)
scorers = load_scorers(options)
"""


class ScanTimer(ScanListener):
    """Records when a scan has finished loading, and sums the stage times of its records."""

    def __init__(self) -> None:
        self.loaded_at = 0.0
        self.cpu_at_load = 0.0
        self.parts: dict[str, float] = {}

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Start the clock."""
        self.loaded_at, self.cpu_at_load = time.perf_counter(), cpu_seconds()

    def ended(self, record: Mapping[str, Any]) -> None:
        """Add the elapsed times of a video's stages."""
        for stage, seconds in record["seconds"].items():
            if stage != "total" and not stage.endswith(CPU_SUFFIX):
                self.parts[stage] = self.parts.get(stage, 0.0) + seconds


def scan_case(
    paths: Sequence[bytes], options: ScanOptions, workers: int | None, labels: Mapping[str, Any]
) -> TimedCase:
    """Return the case of a whole scan, from the end of loading to the last record.

    Args:
        paths: The files.
        options: Options of the scan.
        workers: Number of decoder processes, None to choose by the machine.
        labels: Labels of the row.
    """

    def run() -> Sample:
        timer = ScanTimer()
        with GpuMonitor() as monitor:
            run_scan(paths, options, ScanOutput(None), listener=timer, workers=workers)
            ended = time.perf_counter()
        return Sample(
            ended - timer.loaded_at,
            cpu_seconds() - timer.cpu_at_load,
            timer.parts,
            monitor.busy(timer.loaded_at),
        )

    return TimedCase(labels, len(paths), "videos", run)


def start_up_cases(options: ScanOptions, first: bytes) -> Iterator[TimedCase]:
    """Yield the start-up cases: `--help`, bare imports, a scan up to its first file, a scan of one file.

    Args:
        options: Options of the scan.
        first: The file to scan.
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
    scan_options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    yield case("first answer", "-m", "deepscan", "scan", first, *scan_options)


def _finished(command: Sequence[str | bytes]) -> None:
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-2:]
        raise DeepscanError(f"a timed process failed: {' '.join(last)}", "run deepscan doctor")
