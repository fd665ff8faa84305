"""`deepscan doctor` finds problems and says how to fix them."""

import json
import re
import shutil
from pathlib import Path

import pytest

from deepscan.cards import embedded_folder
from deepscan.doctor import examine
from deepscan.errors import ExitCode
from deepscan.models import lookup
from deepscan.models.lookup import DEFAULT_MODEL
from tests import toy
from tests.command import deepscan


def test_a_working_installation_exits_with_0_and_lists_every_part():
    ran = deepscan("doctor")
    assert ran.code == ExitCode.OK, ran.out + ran.err
    for part in (
        "python",
        "decoder pyav",
        "engine onnx",
        "model mtcnn",
        "model facefilter",
        "model looks",
        f"model {DEFAULT_MODEL}",
    ):
        assert part in ran.out
    assert "golden score matches" in ran.out
    assert "FAILED" not in ran.out


def test_json_has_the_same_checks():
    ran = deepscan("doctor", "--json")
    result = json.loads(ran.out)
    assert ran.code == ExitCode.OK and result["works"] is True
    by_name = {check["name"]: check for check in result["checks"]}
    assert by_name["decoder pyav"]["state"] == by_name[f"model {DEFAULT_MODEL}"]["state"] == "ok"
    assert set(by_name["gpu"]) == {"name", "state", "found", "advice", "exit_code"}


def test_a_damaged_model_has_advice_and_the_exit_code_of_scan(tmp_path, monkeypatch):
    models = tmp_path / "models"
    shutil.copytree(embedded_folder(), models)
    with (models / "mtcnn" / "pnet.onnx").open("ab") as file:
        file.write(b"\0")
    monkeypatch.setattr(lookup, "embedded_folder", lambda: Path(models))
    checks = {check.name: check for check in examine()}
    broken = checks["model mtcnn"]
    assert (broken.state, broken.code) == ("failed", ExitCode.CONTRACT)
    assert broken.advice
    assert checks[f"model {DEFAULT_MODEL}"].state == "ok"


def test_an_installed_decoder_that_does_not_work_is_found(monkeypatch):
    monkeypatch.setattr("deepscan.doctor._make_clip", lambda path: path.write_bytes(b"no clip"))
    (pyav,) = [check for check in examine() if check.name == "decoder pyav"]
    assert (pyav.state, pyav.code) == ("failed", ExitCode.MISSING)
    assert "text" in pyav.found


def test_a_missing_optional_package_is_advice_not_failure(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    checks = {check.name: check for check in examine()}
    for name, extra in (("training", "torch"), ("stores", "store"), ("cluster", "cluster")):
        assert (checks[name].state, checks[name].code) == ("optional", ExitCode.OK)
        assert f"deepscan-forensics[{extra}]" in checks[name].advice


def test_what_reads_stores_is_named_with_its_version():
    pytest.importorskip("s3fs")
    (stores,) = [check for check in examine() if check.name == "stores"]
    assert stores.state == "ok"
    assert re.match(r"s3fs \d+\.", stores.found)


def test_what_scans_on_a_cluster_is_named_with_its_version():
    pytest.importorskip("ray")
    (cluster,) = [check for check in examine() if check.name == "cluster"]
    assert cluster.state == "ok"
    assert re.match(r"ray \d+\.", cluster.found)


def test_the_hashes_of_an_installed_model_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(lookup, "user_folder", lambda: tmp_path)
    for name in ("sound", "damaged"):
        toy.model(tmp_path / name)
    (tmp_path / "damaged" / "model.onnx").write_bytes(b"")
    states = {check.name: check.state for check in examine()}
    assert (states["model sound"], states["model damaged"]) == ("ok", "failed")
