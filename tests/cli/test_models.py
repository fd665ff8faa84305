"""`deepscan models` as a user runs it: lists, installs, refuses, and exits with the right code."""

import json

import pytest
import torch
import yaml

from deepscan.models.lookup import DEFAULT_MODEL, load_card
from tests.command import deepscan as run
from tests.models import replicas


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A cache with a model installed by the command, and the output of the command."""
    cache = tmp_path_factory.mktemp("cache")
    torch.save(replicas.effort(), cache / "effort.pth")
    done = run("models", "import", cache / "effort.pth", "--as", "mine", XDG_CACHE_HOME=str(cache))
    return cache, done


def test_import_prints_the_folder_of_the_model(installed):
    cache, done = installed
    assert done.code == 0, done.err
    folder = cache / "deepscan" / "models" / "mine"
    assert done.out == f"{folder}\n" and "not calibrated" in done.err
    assert load_card(folder).method == "effort"


@pytest.mark.parametrize("words", [("list",), ("list", "--json"), ()])
def test_the_list_is_json_when_piped(installed, words):
    done = run("models", *words, XDG_CACHE_HOME=str(installed[0]))
    assert done.code == 0, done.err
    states = {line["name"]: line["state"] for line in done.records}
    assert states["mine"] == "installed" and states[DEFAULT_MODEL] == "embedded"
    assert states["gend"] == "known"


@pytest.mark.parametrize(("option", "read"), [("--yaml", yaml.safe_load), ("--json", json.loads)])
def test_info_has_the_whole_card(option, read, installed):
    model_info = read(run("models", "info", "mine", option, XDG_CACHE_HOME=str(installed[0])).out)
    assert model_info["card"]["source"]["layout"] == "effort" and model_info["state"] == "installed"


def test_info_says_what_people_want_to_know(installed):
    card = load_card(DEFAULT_MODEL)
    lines = run("models", "info", DEFAULT_MODEL).out.splitlines()
    assert lines[:3] == [DEFAULT_MODEL, f"  {card.summary}", "  Detector, built in"]
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings[1:] == [
        "Scan with it",
        "Verdicts",
        "How good it is (an AUC of 0.5 is chance)",
        "Not for",
        "Trained on",
        "License",
        f"Files in {card.folder}",
    ]
    words = "\n".join(lines)
    assert f"fake from a score of {card.calibration.fake:.2f}" in words
    assert all(f"  On {rates.data}, {rates.summary}." in words for rates in card.error_rates)
    assert all(f"  SHA-256 {file.sha256}" in words for file in card.files.values())
    size = (card.folder / card.files["onnx"].path).stat().st_size
    assert f"  model.onnx, {size / 1e6:.1f} MB" in words and f"  {card.license}" in words
    mine = run("models", "info", "mine", XDG_CACHE_HOME=str(installed[0])).out
    assert "Detector, installed" in mine and "every verdict is inconclusive" in mine
    assert "unknown: its card has no error rates and no AUC" in mine


def test_info_says_how_to_install_a_known_model(tmp_path):
    out = run("models", "info", "gend", XDG_CACHE_HOME=str(tmp_path)).out
    assert "Install it\n  deepscan models pull gend --accept-license\n" in out
    assert "model.safetensors, 1,215.9 MB, from https://huggingface.co/" in out
    refused = run("models", "info", "forensics-adapter", XDG_CACHE_HOME=str(tmp_path)).out
    assert "not supported" in refused and "Install it" not in refused


def test_a_changed_file_does_not_verify(installed, tmp_path):
    cache, _ = installed
    good = run("models", "verify", "mine", XDG_CACHE_HOME=str(cache))
    assert (good.code, good.out) == (0, "mine  ok  1 files\n")
    torch.save(replicas.effort(), tmp_path / "effort.pth")
    run("models", "import", tmp_path / "effort.pth", "--as", "other", XDG_CACHE_HOME=str(tmp_path))
    weights = tmp_path / "deepscan" / "models" / "other" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    bad = run("models", "verify", XDG_CACHE_HOME=str(tmp_path))
    assert bad.code == 4 and "other  FAILED" in bad.out and f"{DEFAULT_MODEL}  ok" in bad.out
    gone = run("models", "remove", "other", XDG_CACHE_HOME=str(tmp_path))
    assert gone.code == 0 and not weights.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("pull", "gend"), 2, "--accept-license"),
        (("pull", "dfd-hr", "--accept-license"), 5, "models import FILE --as dfd-hr"),
        (("pull", "forensics-adapter", "--accept-license"), 4, "not deterministic"),
        (("pull", "gned"), 2, "did you mean 'gend'"),
        (("pull", "gend", "--accept-license", "--offline"), 5, "--offline"),
        (("info", "convnt"), 2, "did you mean"),
        (("info", "convnet", "--json", "--yaml"), 2, "exclude each other"),
        (("import", "nowhere.pth", "--as", "mine"), 2, "file nowhere.pth does not exist"),
        (("import", "nowhere.pth"), 2, "deepscan models import --help"),
        (("remove", "convnet"), 2, "is built in and cannot be deleted"),
        (("verify", "gend"), 5, "not installed"),
        (("imprt",), 2, "did you mean 'import'"),
    ],
)
def test_errors_say_what_to_do(arguments, code, word, tmp_path):
    done = run("models", *arguments, XDG_CACHE_HOME=str(tmp_path))
    assert done.code == code
    assert word in done.err + done.out
    assert "Traceback" not in done.err


def test_scan_never_downloads_a_known_model(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"")
    done = run("scan", tmp_path / "clip.mp4", "--model", "gend", XDG_CACHE_HOME=str(tmp_path))
    assert done.code == 5
    assert done.error_lines == [
        "error: model 'gend' is not installed",
        "hint: run: deepscan models info gend (shows how to install it)",
    ]
