"""The golden records of sample_videos/: how they are made, and written again with `make golden`.

They are what `deepscan scan sample_videos` gives with the built-in model on a CPU. They are in float32,
because scores in 8 bits differ more between processors.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.command import SAMPLES, deepscan

GOLDEN = Path(__file__).parent / "sample_videos.jsonl"
#: What depends on the run, the machine or the version, not on the videos.
VOLATILE = ("mtime_ns", "started", "seconds", "run")


def scanned(precision: str, folder: Path) -> list[dict[str, Any]]:
    """Scan the sample videos and return their records, by name, without volatile keys."""
    out = folder / f"{precision}.jsonl"
    ran = deepscan("scan", SAMPLES, "--device", "cpu", "--precision", precision, "--out", out)
    assert ran.code == 0, ran.err
    records = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    for record in records:
        record["path"] = Path(record["path"]).name
        for key in VOLATILE:
            del record[key]
        # Of the file that was run: another one in 8 bits.
        for key in ("precision", "sha256"):
            del record["model"][key]
    return sorted(records, key=lambda record: str(record["path"]))


def main() -> None:
    """Write the golden records again."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in scanned("fp32", Path(folder))]
    GOLDEN.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
