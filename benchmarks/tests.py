"""Run a tier of the tests and write its duration to tests.csv.

    python benchmarks/tests.py fast|test|all

The CPU time is that of the whole machine during the run, so it includes other work.
"""

import argparse
import csv
import datetime
import os
import re
import subprocess
import sys
import time
from pathlib import Path

TABLE = Path(__file__).with_suffix(".csv")
COLUMNS = ("tier", "tests", "seconds", "cpu_seconds", "cores", "date", "command")
TIERS = {
    "fast": ["-m", "not slow and not exhaustive"],
    "test": [],
    "all": ["-m", "", "--hypothesis-profile", "search"],
}


def busy_seconds() -> float:
    """Return the CPU time of the machine since it started."""
    times = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    # user, nice, system; then idle, waiting, interrupts.
    return sum(map(int, times[:3])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run the given tier and return pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=TIERS)
    tier = parser.parse_args().tier
    options = ["-n", "auto", "--dist", "worksteal", *TIERS[tier]]
    started, busy = time.monotonic(), busy_seconds()
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *options], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line if line.strip() else last
    row = {
        "tier": tier,
        "tests": sum(map(int, re.findall(r"(\d+) (?:passed|failed|errors?|xfailed)", last))),
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(busy_seconds() - busy),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "command": {"fast": "make test-fast", "test": "make test", "all": "make test-all"}[tier],
    }
    if process.returncode == 0:
        rows = list(csv.DictReader(TABLE.open(encoding="utf-8"))) if TABLE.exists() else []
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows([*(each for each in rows if each["tier"] != tier), row])
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
