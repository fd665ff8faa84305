"""Test that a journal cut at any byte keeps every complete line and no incomplete one."""

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from deepscan.scanning.journal import Journal, entries, lines, read_journal
from deepscan.scanning.record_lines import SCHEMA

# Whatever a record may hold: quotes, line breaks and braces inside of text, numbers, nested lists.
TEXTS = st.text(max_size=12) | st.sampled_from(["\n", "}", '{"schema": 1}', "\u2028", '"\\'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
).filter(lambda value: "Infinity" not in json.dumps(value))
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "schema": st.just(SCHEMA),
            "path": TEXTS,
            "status": st.sampled_from(["ok", "no_face", "corrupt"]),
            "verdict": st.sampled_from(["fake", "no_evidence", None]),
            "sha256": st.just("00") | st.none(),
            "bytes": st.integers(0, 2**40) | st.none(),
            "run": st.just("r"),
            "more": VALUES,
        }
    ),
    max_size=4,
)


def written(path, records):
    """Write a journal and return its bytes."""
    with Journal(path) as journal:
        for record in records:
            journal.append(record)
    return path.read_bytes()


def check_cut(path, whole, records, length):
    path.write_bytes(whole[:length])
    complete = whole[:length].count(b"\n")
    assert [record for _, _, record in read_journal(path)] == records[:complete], f"cut after {length} bytes"


def test_a_journal_can_be_cut_at_each_of_its_bytes(tmp_path):
    path = tmp_path / "cut.jsonl"
    lines_of_text = [{"path": f"a\n{at}.mp4", "more": ["}\n{", {"\u2028": '"'}, at]} for at in range(3)]
    records = [{"schema": SCHEMA, "status": "ok", **line} for line in lines_of_text]
    whole = written(path, records)
    for length in range(len(whole) + 1):
        check_cut(path, whole, records, length)


@given(RECORDS, st.data())
def test_wherever_a_crash_cuts_a_journal_its_whole_lines_are_read(tmp_path_factory, records, data):
    path = tmp_path_factory.getbasetemp() / f"cut-{os.getpid()}.jsonl"
    whole = written(path, records)
    for length in data.draw(st.lists(st.integers(0, len(whole)), min_size=1, max_size=8)):
        check_cut(path, whole, records, length)


@given(RECORDS, RECORDS, st.data())
def test_a_resumed_run_loses_no_line_and_adds_to_no_torn_one(tmp_path_factory, before, after, data):
    path = tmp_path_factory.getbasetemp() / f"resumed-{os.getpid()}.jsonl"
    whole = written(path, before)
    length = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:length])
    with Journal(path, lines(path, list(entries(path)))) as journal:
        for record in after:
            journal.append(record)
    complete = whole[:length].count(b"\n")
    assert [record for _, _, record in read_journal(path)] == [*before[:complete], *after]
    assert path.read_bytes().endswith(b"\n") or not path.read_bytes()
