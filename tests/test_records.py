"""Typed records and descriptions of runs: JSON comes back as it was, and fits the schemas in the package."""

import copy
import importlib.util
import json
import os
import re
import types
from dataclasses import MISSING
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deepscan
from deepscan.errors import ContractError
from deepscan.json_objects import OMIT, JsonObject, Limit, _keys
from deepscan.media.frames import MediaInfo
from deepscan.outcomes import STATUSES
from deepscan.records import Media, Record
from deepscan.run_description import RunDescription
from deepscan.scanning.chunks import ManifestRow, Shard
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.paths import ScanInputs
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.run import run_scan
from deepscan.scanning.run_folder import RunFolder
from deepscan.scanning.shard_job import ShardJob
from deepscan.scanning.shard_run import run_shard
from tests import toy
from tests.command import SAMPLES

ROOT = Path(__file__).parent.parent
FORMER = Path(__file__).parent / "former" / "scan"


def closed(schema):
    """Return a schema that allows no key which it does not name."""
    found = copy.deepcopy(schema)
    for each in (found, *found["$defs"].values()):
        each["additionalProperties"] = False
    return found


def validator(schema):
    kind = jsonschema.Draft202012Validator
    kind.check_schema(schema)
    return kind(schema, format_checker=kind.FORMAT_CHECKER)


@pytest.fixture(scope="module")
def schemas():
    return validator(closed(deepscan.record_schema())), validator(closed(deepscan.run_schema()))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for name in ("real_hopper.mp4", "two_persons.mp4", "no_face.mp4"):
        (folder / name).write_bytes((SAMPLES / name).read_bytes())
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_bytes(b"not a video" * 100)
    return [*sorted(map(os.fsencode, folder.iterdir())), b"/missing/b\xff.mp4"]


#: How a scan is made -> its options.
KINDS = {
    "one model": {"explain": True},
    "several models": {"several": True, "explain": True, "evidence": True},
    "without a model": {"model": "none", "evidence": True},
    "resumed": {"evidence": True},
    "the built-in model": {"model": "auto"},
    "too short": {"min_frames": 1000},
    "timed out": {"timeout": 0.001},
    "too large": {"max_megapixels": 0.01},
    "without a calibration": {"model": "raw"},
}


@pytest.fixture(scope="module", params=KINDS)
def scanned(request, videos, tmp_path_factory):
    """The records and the description of a real scan."""
    folder = tmp_path_factory.mktemp("scanned")
    more = dict(KINDS[request.param])
    calibration = None if more.get("model") == "raw" else toy.CALIBRATION
    own = str(toy.model(folder / "toy", explanation=True, calibration=calibration))
    other = str(toy.model(folder / "other", bias=1.0, side=48))
    also = (other,) if more.pop("several", False) else ()
    more["model"] = {"none": "none", "auto": "auto"}.get(str(more.get("model")), own)
    options = ScanOptions(frames=2, also=also, **more)
    out = folder / "out.jsonl"
    run_scan(videos[:3], options, ScanOutput(out), command=["deepscan", "scan"])
    if request.param == "resumed":
        run_scan(videos, options, ScanOutput(out, resume=True))
    else:
        run_scan(videos, options, ScanOutput(out, overwrite=True))
    return request.param, out


@pytest.mark.slow
def test_what_a_scan_writes_fits_the_schemas_and_comes_back_as_it_was(scanned, schemas):
    kind, out = scanned
    of_record, of_run = schemas
    lines = out.read_text().splitlines()
    for line in lines:
        of_record.validate(json.loads(line))
        record = Record.from_json(line)
        assert record.to_line() == line
        assert record == Record.from_json(record.to_json())
    text = out.with_name("out.run.json").read_text()
    of_run.validate(json.loads(text))
    assert json.dumps(RunDescription.from_json(text).to_json(), indent=1) + "\n" == text
    records, run = list(deepscan.read_records(out)), deepscan.read_run(out)
    assert {record.run for record in records} == {run.id}
    statuses = {record.file.name: record.status for record in records}
    # Whether a file that is missing is found to be so within a millisecond is chance.
    missing = {"error", "timeout"} if kind == "timed out" else {"error"}
    assert len(statuses) == 6 and statuses[os.fsdecode(b"b\xff.mp4")] in missing
    assert len(run.sessions) == (2 if kind == "resumed" else 1)
    hopper = next(record for record in records if record.file.name == "real_hopper.mp4")
    expected = {"too short": "too_short", "timed out": "timeout", "too large": "unsupported"}.get(kind, "ok")
    assert hopper.status == expected, hopper.detail
    if expected == "ok":
        assert hopper.faces and hopper.tracks and hopper.media is not None and hopper.media.width == 640
        assert (hopper.pictures is None) == (not run.parameters.evidence)
        assert (hopper.score is None) == (kind == "without a model")
    if kind == "several models":
        assert [model.name for model in hopper.models] == ["other", "toy"]
        assert hopper.faces[0].explanation is not None
        patches = hopper.faces[0].explanation["toy"]["patches"]
        assert isinstance(patches, deepscan.ExplanationMaps) and (patches.grid, len(patches.maps)) == (4, 3)


@pytest.mark.slow
def test_what_shards_write_fits_the_schemas(videos, schemas, tmp_path):
    of_record, of_run = schemas
    rows = [ManifestRow(path) for path in videos]
    inputs = ScanInputs(("/videos",))
    options = ScanOptions(str(toy.model(tmp_path / "toy")), frames=2)
    for number in (1, 2, 1):
        run_shard(ShardJob(str(tmp_path / "run"), Shard(number, 2), 2, inputs, lambda: rows), options)
    folder = RunFolder.open(str(tmp_path / "run"))
    run = folder.describe()
    of_run.validate(run)
    typed = RunDescription.from_json(run)
    assert typed.to_json() == run
    assert [session.shard for session in typed.sessions] == ["1/2", "2/2", "1/2"]
    assert [session.frame_buffer is None for session in typed.sessions] == [False, False, True]
    assert typed.manifest.rows == typed.records.count == len(rows)
    for chunk in folder.chunks():
        for record in folder.read_part(chunk.name).records():
            of_record.validate(record)
            assert Record.from_json(record).to_json() == record


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_comes_back_as_it_was(status, schemas):
    made = RecordLine(b"/a/\xff.mp4", status, "" if status == "ok" else "why", "r1").to_json()
    schemas[0].validate(made)
    record = Record.from_json(made)
    assert record.to_json() == made and record.status == status
    assert os.fsencode(record.file) == b"/a/\xff.mp4"


def test_the_schemas_in_the_package_are_those_of_the_classes():
    spec = importlib.util.spec_from_file_location("write_schemas", ROOT / "scripts" / "write_schemas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.SCHEMAS:
        file = module.FOLDER / f"{name}.schema.json"
        assert file.read_text() == module.schema_text(name), "run: python scripts/write_schemas.py"
    assert {file.name for file in module.FOLDER.iterdir()} == {
        f"{name}.schema.json" for name in module.SCHEMAS
    }


@pytest.mark.parametrize("schema", [deepscan.record_schema(), deepscan.run_schema()])
def test_the_schemas_describe_every_key(schema):
    for kind in (schema, *schema["$defs"].values()):
        assert len(kind["description"]) > 10
        for name, value in kind["properties"].items():
            assert len(value["description"]) > 8, name
            assert value["description"].endswith("."), name


@pytest.mark.parametrize("schema", [deepscan.record_schema(), deepscan.run_schema()])
def test_the_page_on_records_names_every_key(schema):
    page = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    named = {part for words in re.findall(r"`([\w.]+)`", page) for part in words.split(".")}
    for kind in (schema, *schema["$defs"].values()):
        assert set(kind["properties"]) <= named


def test_records_of_an_earlier_version_are_read():
    for record in deepscan.read_records(FORMER / "scan.jsonl"):
        assert record.status in STATUSES
        assert record == Record.from_json(record.to_line())


def example():
    shot = {"id": 0, "first": 0, "last": 3, "start": 0, "end": 1.5}
    return RecordLine(b"/a.mp4", "ok", "", "r1", shots=[shot]).to_json()


def test_a_record_is_shown_in_one_short_line():
    shown = repr(Record.from_json(example()))
    assert shown == "<Record path='/a.mp4' status='ok' verdict=None score=None, 0 tracks, 0 faces>"


def test_keys_of_a_later_version_are_kept_and_other_things_are_refused():
    later = example() | {"audio": {"score": 0.5}}
    later["shots"][0]["kind"] = "zoom"
    record = Record.from_json(later)
    assert record.extra == {"audio": {"score": 0.5}} and record.shots[0].extra == {"kind": "zoom"}
    assert record.to_json() == later
    for change, complaint in [
        ({"schema": 2}, "schema: 2 is not one of 1"),
        ({"status": "fine"}, "status: 'fine' is not one of"),
        ({"score": "0.5"}, "score: '0.5' is not of type number"),
        ({"calibrated": 1}, "calibrated: 1 is not of type boolean"),
        ({"bytes": True}, "bytes: True is not of type integer"),
        ({"shots": [{"id": 0}]}, "shots: first is missing"),
        ({"warnings": "none"}, "warnings: 'none' is not of type array"),
        ({"status": "error", "detail": "why", "score": 0.5}, "no score"),
        ({"status": "error"}, "says why"),
        ({"score": 1.5}, r"\[0, 1\], not 1.5"),
    ]:
        with pytest.raises(ContractError, match=complaint):
            Record.from_json({**example(), **change})
    for text in ("", "[]", '{"score": NaN}', "{}"):
        with pytest.raises(ContractError, match="not a Record"):
            Record.from_json(text)


TEXT = st.text(max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
ANY = st.none() | st.booleans() | NUMBERS | TEXT | st.lists(TEXT, max_size=2)
PLAIN = {str: TEXT, int: st.integers(), float: NUMBERS, bool: st.booleans(), type(None): st.none(), Any: ANY}


def values(hint):
    """Return a strategy for the JSON values of a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        limits = {each.keyword: each.value for each in arguments[1:] if isinstance(each, Limit)}
        share = st.floats(limits.get("minimum", 0.01), limits.get("maximum", 1.0))
        return share if "maximum" in limits else values(arguments[0])
    if origin in (Union, types.UnionType):
        return st.one_of(map(values, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        several = arguments[1:] == (...,)
        whole = st.lists(values(arguments[0]), max_size=3) if several else st.tuples(*map(values, arguments))
        return whole.map(list)
    if hint in PLAIN:
        return PLAIN[hint]
    return st.dictionaries(TEXT, values(arguments[1]), max_size=2) if origin else objects(hint)


def objects(kind: type[JsonObject]):
    """Return a strategy for the JSON of a class: keys that may be missing are, and later ones are added."""
    fixed, optional = {}, {"later": ANY}
    for name, hint, _ in _keys(kind):
        if get_origin(hint) is Annotated and OMIT in get_args(hint):
            given = [each for each in get_args(get_args(hint)[0]) if each is not type(None)]
            if name != "models":
                optional[name] = st.one_of(map(values, given))
        else:
            fixed[name] = values(hint)
    return st.fixed_dictionaries(fixed, optional=optional)


def consistent(record):
    """Return a record without what no video can have."""
    if record["status"] != "ok":
        return record | {"score": None, "verdict": None, "detail": record["detail"] or "why"}
    return record


@pytest.mark.slow
@given(objects(Record).map(consistent))
def test_any_record_comes_back_as_it_was(record):
    assert Record.from_json(json.dumps(record)).to_json() == json.loads(json.dumps(record))


@pytest.mark.slow
@given(objects(RunDescription))
def test_any_description_of_a_run_comes_back_as_it_was(run):
    assert RunDescription.from_json(json.dumps(run)).to_json() == json.loads(json.dumps(run))


def test_media_has_the_facts_of_decoding_in_their_order_and_how_it_was_sampled():
    known = [name for name in Media.__dataclass_fields__ if name != "extra"]
    facts = MediaInfo.__dataclass_fields__
    assert known == [*facts, "frames_sampled", "frames_decoded", "decoder"]
    # Earlier records lack the same facts in both.
    for name, fact in facts.items():
        assert (Media.__dataclass_fields__[name].default is MISSING) == (fact.default is MISSING), name
