"""Write output formats from a journal; a new format is one function here and one line in the registry."""

import csv
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from typing import Any, TextIO

from deepscan.registry import Registry
from deepscan.scanning import summary
from deepscan.scanning.record_lines import dump_line

Writer = Callable[[Iterable[Mapping[str, Any]], TextIO], None]

#: Suffix of the file without its dot -> function that writes it.
WRITERS: Registry[Writer] = Registry(
    "output format",
    {
        "jsonl": "deepscan.scanning.writers",
        "csv": "deepscan.scanning.writers",
    },
)

CSV_COLUMNS = (
    *("path", "status", "verdict", "score", "calibrated", "detail", "warnings"),
    *("persons", "faces", "sampled", "sha256", "bytes", "container", "codec", "width", "height"),
    *("fps", "duration", "decoder", "model", "run", "started", "seconds"),
)


@WRITERS.register("jsonl")
def write_jsonl(records: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    """Write one JSON object per line."""
    for record in records:
        file.write(dump_line(record) + "\n")


@WRITERS.register("csv")
def write_csv(records: Iterable[Mapping[str, Any]], file: TextIO) -> None:
    """Write one row per video, without its faces: `persons` and `faces` count them.

    With several models, each has its own columns at the end, `score:NAME` and `verdict:NAME`.
    """
    lines = iter(records)
    # All records of a run have the same models.
    first = list(islice(lines, 1))
    names = [model["name"] for record in first for model in record.get("models", ())]
    own = [f"{what}:{name}" for name in names for what in ("score", "verdict")]
    table = csv.DictWriter(file, (*CSV_COLUMNS, *own), lineterminator="\n")
    table.writeheader()
    table.writerows(csv_row(record) for record in chain(first, lines))


def csv_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a record; None becomes an empty cell, a path that is not text its bytes in hex."""
    media, seen = record["media"] or {}, summary.summarise_record(record)
    own = {name: record[name] for name in CSV_COLUMNS if name in record}
    return own | {
        "path": record["path"] if "path_bytes" not in record else f"hex:{record['path_bytes']}",
        "warnings": "; ".join(record["warnings"]),
        **{name: getattr(seen, name) for name in ("persons", "faces", "sampled")},
        **{name: media.get(name) for name in ("container", "codec", "width", "height", "fps", "duration")},
        "decoder": media.get("decoder"),
        "model": (record["model"] or {}).get("name"),
        "seconds": record["seconds"].get("total"),
        **{
            f"{what}:{model['name']}": model[what]
            for model in record.get("models", ())
            for what in ("score", "verdict")
        },
    }
