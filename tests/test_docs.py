"""The documentation pages are complete: docs/records.md explains every field of the schemas."""

from pathlib import Path

import pytest

import deepscan
from deepscan.outcomes import STATUSES

ROOT = Path(__file__).parents[1]
RECORDS = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")


def properties(schema):
    """Every name of a property, however deep."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for part in schema.values():
            yield from properties(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from properties(part)


@pytest.mark.parametrize("schema", [deepscan.record_schema, deepscan.run_schema])
def test_every_field_is_explained(schema):
    found = set(properties(schema()))
    assert len(found) > 50
    assert {name for name in found if f"`{name}`" not in RECORDS} == set()


def test_every_status_has_a_row():
    assert [name for name in STATUSES if f"\n| `{name}` | " not in RECORDS] == []
