"""Draw the picture in the README: the table of a scan of the sample videos, as in a terminal.

usage: python scripts/draw_result.py [FILE.svg]
"""

import re
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

from rich.console import Console

from deepscan.cards import Calibration
from deepscan.cli.scan_table import scan_table
from deepscan.cli.scan_view import about_model
from deepscan.cli.wrapping import wrap
from deepscan.models.lookup import DEFAULT_MODEL
from deepscan.scanning import runfile
from deepscan.scanning.journal import read_journal
from deepscan.scanning.model_check import run_detectors
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.paths import collect
from deepscan.scanning.run import run_scan
from deepscan.scanning.summary import summarise_record

SAMPLES = Path(__file__).parent.parent / "sample_videos"
WIDTH = 80


def main(picture: Path) -> None:
    """Scan the sample videos and draw what `deepscan scan sample_videos` prints."""
    with tempfile.TemporaryDirectory() as folder:
        output = ScanOutput(Path(folder) / "out.jsonl")
        run_scan(collect([str(SAMPLES)]).paths, ScanOptions(model=DEFAULT_MODEL), output)
        (model,) = run_detectors(runfile.read(output.run)).items()
        rows = [summarise_record(record) for _, _, record in read_journal(output.journal)]
    with Path("/dev/null").open("w") as sink:
        console = Console(record=True, width=WIDTH, force_terminal=True, file=sink)
        console.print("[bold]$[/] deepscan scan sample_videos\n")
        calibration = Calibration.from_json(model[1]["calibration"])
        # The table shows paths relative to the folder in which the command runs.
        with chdir(SAMPLES.parent):
            table = scan_table(rows, WIDTH, calibration=calibration)
        for part in (table, "", *wrap(about_model(*model), WIDTH)):
            console.print(part, soft_wrap=True, highlight=False)
        svg = console.export_svg(title="deepscan")
    # Use the reader's fonts: the page must not download any.
    picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES / "result.svg")
