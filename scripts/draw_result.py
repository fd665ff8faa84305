"""Draws the README's picture: the table of a scan of the sample videos, as a terminal shows it.

usage: python scripts/draw_result.py [FILE.svg]
"""

import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from deepscan.cli.scan_table import scan_table
from deepscan.models.lookup import DEFAULT_MODEL
from deepscan.scanning.journal import read_journal
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
        rows = [
            summarise_record({**record, "path": Path(record["path"]).name})
            for _, _, record in read_journal(output.journal)
        ]
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=WIDTH, force_terminal=True, file=nowhere)
        console.print("[bold]$[/] deepscan scan sample_videos\n")
        console.print(scan_table(rows, WIDTH), soft_wrap=True, highlight=False)
        svg = console.export_svg(title="deepscan")
    # The reader's own fonts will do: a page must not fetch any.
    picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES / "result.svg")
