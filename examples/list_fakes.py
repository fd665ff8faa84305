"""Scan files and folders, and write a CSV of the videos that are called fake.

python examples/list_fakes.py VIDEOS... --out fakes.csv
"""

import argparse
import csv
import sys

import deepscan


def main() -> None:
    """Scan what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", help="videos, pictures or folders")
    parser.add_argument("--out", default="fakes.csv", help="the table to write")
    parser.add_argument("--frames", type=int, default=32, help="frames to sample from each video")
    arguments = parser.parse_args()

    not_scanned = []
    with open(arguments.out, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "score", "person", "first seen (s)", "last seen (s)", "warnings"])
        for record in deepscan.scan(arguments.paths, frames=arguments.frames, progress=True):
            if record.status not in ("ok", "no_face"):
                not_scanned.append(f"{record.path}: {record.status}: {record.detail}")
            if record.verdict != "fake":
                continue
            # The score of a video is that of the person with the highest score among those who count.
            worst = max((each for each in record.tracks if each.counted), key=lambda each: each.score or 0)
            row = [record.path, record.score, worst.id, worst.first, worst.last, "; ".join(record.warnings)]
            table.writerow(row)
    print(*not_scanned, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
