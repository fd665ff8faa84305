"""Links between pages lead somewhere, and docs/records.md explains every field of the schemas."""

import re
from pathlib import Path

import pytest
import yaml

import deepscan
from deepscan.outcomes import STATUSES

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
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


def anchors(page):
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page):
    dead = []
    for path, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(f"{path}#{anchor}")
    assert dead == []


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == deepscan.__version__
    released = re.findall(
        r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert released[0] == (citation["version"], citation["date-released"])


def test_the_forge_runs_every_step():
    (steps,) = re.findall(r'^STEPS="(.*)"$', (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["step"] == steps.split()
