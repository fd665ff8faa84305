"""Nothing is sent: no command connects to anything, looks up a name, or leaves a file outside its output."""

import ast
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepscan import offline
from tests import toy
from tests.command import SAMPLES
from tests.evaluation.replica import benchmark

ROOT = Path(__file__).parent.parent
#: All that a command gets of this machine's environment. Libraries stay silent where a variable says that a
#: build server runs them, so the tests would see nothing there.
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
#: Runs a module, or else a line of code, and notes each connection and each name that Python itself looks up.
HOOKED = """
import runpy, sys
log, what, *arguments = sys.argv[1:]
asked = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
def hook(event, args):
    if event in asked:
        with open(log, "a") as file:
            print(event, *args, file=file)
sys.addaudithook(hook)
sys.argv = [what, *arguments]
if arguments:
    runpy.run_module(what, run_name="__main__", alter_sys=True)
else:
    exec(what)
"""


class Watched:
    """A command's end, what it left in an empty home and an empty folder for temporary files, what it asked.

    Python's connections are seen on every machine. Those of libraries in other languages, and of child
    processes, are seen by strace, where it is installed and may trace.
    """

    def __init__(self, folder: Path, *command: str | Path) -> None:
        self.home, temporary, python, native = (folder / name for name in ("home", "tmp", "log", "strace"))
        self.home.mkdir()
        temporary.mkdir()
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        done = subprocess.run(
            [*_strace(native), sys.executable, "-c", HOOKED, str(python), *map(str, command)],
            env={**kept, "HOME": str(self.home), "TMPDIR": str(temporary)},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.left = sorted(path.name for place in (self.home, temporary) for path in place.iterdir())
        lines = [line for log in (python, native) if log.exists() for line in log.read_text().splitlines()]
        self.asked = [line for line in lines if line.startswith("socket.") or "AF_INET" in line]


def _strace(log: Path) -> list[str]:
    prefix = ["strace", "-f", "-qq", "-e", "trace=%network", "-o", str(log)]
    if shutil.which("strace") is None:
        return []
    # A container may forbid it.
    tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    log.unlink(missing_ok=True)
    return [] if tried.returncode else prefix


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and a benchmark."""
    place = tmp_path_factory.mktemp("place")
    toy.model(place / "toy")
    benchmark(place / "data", "Celeb-DF-v2", {"CelebDFv2_real": {"r": [10]}, "CelebDFv2_fake": {"f": [200]}})
    return place


def test_a_connection_a_lookup_and_a_file_are_seen(tmp_path):
    code = "import pathlib, socket; pathlib.Path.home().joinpath('kept').touch(); "
    code += "socket.socket().connect_ex(('127.0.0.1', 9)); socket.getaddrinfo('localhost', 9)"
    seen = Watched(tmp_path, code)
    assert seen.left == ["kept"]
    assert [line.split(" ")[0] for line in seen.asked if line.startswith("socket.")] == [
        "socket.connect",
        "socket.getaddrinfo",
    ]


@pytest.mark.parametrize(
    "command",
    [
        ("scan", SAMPLES / "real_hopper.mp4", "--frames", "2", "--out", "scan.jsonl"),
        ("eval", "--model", "toy", "--data", "data", "--set", "Celeb-DF-v2", "--out", "eval"),
        ("doctor",),
        ("bench", SAMPLES / "real_hopper.mp4", "--frames", "2", "--repeats", "1", "--only", "start-up,scan"),
        ("models",),
    ],
    ids=lambda command: command[0],
)
def test_a_command_asks_nobody_and_leaves_nothing(command, place, tmp_path):
    for name in ("toy", "data"):
        (tmp_path / name).symlink_to(place / name)
    seen = Watched(tmp_path, "deepscan", *command)
    assert seen.code == 0, seen.err
    assert (seen.left, seen.asked) == ([], [])
    assert ("eval" in command) == (tmp_path / "eval" / "roc.png").is_file(), "matplotlib was at work"


def test_the_environment_of_child_processes_says_so_too(tmp_path):
    code = "import json, os, subprocess, sys; from deepscan.offline import import_onnxruntime; "
    code += "print(import_onnxruntime().__version__); sys.stdout.flush(); "
    code += "subprocess.run([sys.executable, '-c', 'import json, os; print(json.dumps(dict(os.environ)))'])"
    seen = Watched(tmp_path, code)
    assert seen.code == 0, seen.err
    assert seen.left == []
    environment = json.loads(seen.out.splitlines()[1])
    assert offline.NO_REPORTS.items() <= environment.items()


@pytest.mark.parametrize(
    ("given", "kept", "stopped"),
    [(None, "1", 1), ("", "1", 1), ("1", "1", 0), ("0", "0", 0)],
)
def test_reports_of_a_library_that_was_there_before_are_stopped(given, kept, stopped, monkeypatch):
    calls = []
    there = SimpleNamespace(
        disable_telemetry_events=lambda: calls.append("stopped"), set_default_logger_severity=lambda _: None
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", there)
    for name in offline.NO_REPORTS:
        monkeypatch.delenv(name, raising=False)
        if given is not None:
            monkeypatch.setenv(name, given)
    assert offline.import_onnxruntime() is there
    assert len(calls) == stopped
    assert {os.environ[name] for name in offline.NO_REPORTS} == {kept}, "what the user has set stays"


def test_a_folder_that_the_user_gives_matplotlib_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    offline.keep_matplotlib_out_of_home()
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path)


def _imports(tree: ast.AST, function: str = "") -> Iterator[str]:
    """Yield the function around each import of onnxruntime: a statement, a call by name, code in a string."""
    for node in ast.iter_child_nodes(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if called in ("import_module", "__import__", "importorskip", "setattr"):
                names = [str(getattr(first, "value", ""))]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import" in node.value:
            with contextlib.suppress(SyntaxError, ValueError):
                yield from (f"{function} in a string" for _ in _imports(ast.parse(node.value)))
        if any(name.split(".")[0] == "onnxruntime" for name in names):
            yield function
        inner = node.name if isinstance(node, ast.FunctionDef) else function
        yield from _imports(node, inner)


@pytest.mark.parametrize(
    "code",
    [
        "import numpy, onnxruntime",
        "import onnxruntime.quantization as q",
        "from onnxruntime import InferenceSession",
        "from onnxruntime.capi import x",
        "importlib.import_module('onnxruntime')",
        "monkeypatch.setattr('onnxruntime.get_device', None)",
        "run('import numpy, onnxruntime')",
    ],
)
def test_each_way_to_import_it_is_found(code):
    assert len(list(_imports(ast.parse(code)))) == 1


def test_one_function_alone_imports_onnxruntime():
    found = [
        (path.relative_to(ROOT).as_posix(), function)
        for folder in ("deepscan", "scripts", "benchmarks", "sample_videos", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
        for function in _imports(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == [("deepscan/offline.py", "import_onnxruntime")]
