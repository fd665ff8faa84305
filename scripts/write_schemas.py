"""Write the JSON Schemas of records and of run.json from the classes in `deepscan`.

    python scripts/write_schemas.py

Run it after changing `deepscan/records.py` or `deepscan/run_description.py`: a test compares the files with
the classes.
"""

import json
from pathlib import Path

from deepscan.json_objects import schema_of
from deepscan.records import Record
from deepscan.run_description import RunDescription

FOLDER = Path(__file__).parent.parent / "deepscan" / "schemas"
#: Name of a schema -> its class and title.
SCHEMAS = {
    "record": (Record, "Record of a deepscan scan, one line of a .jsonl file"),
    "run": (RunDescription, "Description of a deepscan run, a .run.json file"),
}


def schema_text(name: str) -> str:
    """Return the text of a schema's file.

    Args:
        name: A key of `SCHEMAS`.
    """
    return json.dumps(schema_of(*SCHEMAS[name]), indent=2) + "\n"


def main() -> None:
    """Write the files."""
    for name in SCHEMAS:
        (FOLDER / f"{name}.schema.json").write_text(schema_text(name), encoding="ascii")


if __name__ == "__main__":
    main()
