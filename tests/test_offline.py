"""No command opens a connection, looks up a host name, or leaves a file outside its output."""

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
#: The variables that a command gets from this machine's environment. Libraries send no reports if a variable
#: shows that they run on a build server, so such variables would hide what the tests look for.
PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
#: Runs a module or a line of code, and logs each connection and host name lookup of Python.
LOGGED = """
import runpy, sys
log, target, *arguments = sys.argv[1:]
network_events = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
def hook(event, args):
    if event in network_events:
        with open(log, "a") as file:
            print(event, *args, file=file)
sys.addaudithook(hook)
sys.argv = [target, *arguments]
if arguments:
    runpy.run_module(target, run_name="__main__", alter_sys=True)
else:
    exec(target)
"""


class WatchedCommand:
    """A finished command, the files it left in an empty home and temporary folder, and its network calls.

    Python's connections are logged on every machine. Those of libraries in other languages, and of child
    processes, are logged by strace if it is installed and permitted.
    """

    def __init__(self, folder: Path, *command: str | Path) -> None:
        self.home, temporary, python, native = (folder / name for name in ("home", "tmp", "log", "strace"))
        self.home.mkdir()
        temporary.mkdir()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        finished = subprocess.run(
            [*_strace(native), sys.executable, "-c", LOGGED, str(python), *map(str, command)],
            env={**environment, "HOME": str(self.home), "TMPDIR": str(temporary)},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        self.code, self.out, self.err = finished.returncode, finished.stdout, finished.stderr
        self.left = sorted(path.name for place in (self.home, temporary) for path in place.iterdir())
        lines = [line for log in (python, native) if log.exists() for line in log.read_text().splitlines()]
        self.connections = [line for line in lines if line.startswith("socket.") or "AF_INET" in line]


def _strace(log: Path) -> list[str]:
    prefix = ["strace", "-f", "-qq", "-e", "trace=%network", "-o", str(log)]
    if shutil.which("strace") is None:
        return []
    # Containers can forbid tracing.
    attempt = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    log.unlink(missing_ok=True)
    return [] if attempt.returncode else prefix


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a model and a benchmark."""
    inputs = tmp_path_factory.mktemp("inputs")
    toy.model(inputs / "toy")
    benchmark(inputs / "data", "Celeb-DF-v2", {"CelebDFv2_real": {"r": [10]}, "CelebDFv2_fake": {"f": [200]}})
    return inputs


def test_a_connection_a_lookup_and_a_file_are_noticed(tmp_path):
    code = "import pathlib, socket; pathlib.Path.home().joinpath('kept').touch(); "
    code += "socket.socket().connect_ex(('127.0.0.1', 9)); socket.getaddrinfo('localhost', 9)"
    watched = WatchedCommand(tmp_path, code)
    assert watched.left == ["kept"]
    assert [line.split(" ")[0] for line in watched.connections if line.startswith("socket.")] == [
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
def test_a_command_opens_no_connection_and_leaves_no_files(command, inputs, tmp_path):
    for name in ("toy", "data"):
        (tmp_path / name).symlink_to(inputs / name)
    watched = WatchedCommand(tmp_path, "deepscan", *command)
    assert watched.code == 0, watched.err
    assert (watched.left, watched.connections) == ([], [])
    assert ("eval" in command) == (tmp_path / "eval" / "roc.png").is_file(), (
        "eval should draw with matplotlib"
    )


def test_child_processes_inherit_the_settings(tmp_path):
    code = "import json, os, subprocess, sys; from deepscan.offline import import_onnxruntime; "
    code += "print(import_onnxruntime().__version__); sys.stdout.flush(); "
    code += "subprocess.run([sys.executable, '-c', 'import json, os; print(json.dumps(dict(os.environ)))'])"
    watched = WatchedCommand(tmp_path, code)
    assert watched.code == 0, watched.err
    assert watched.left == []
    environment = json.loads(watched.out.splitlines()[1])
    assert offline.NO_REPORTS.items() <= environment.items()


@pytest.mark.parametrize(
    ("given", "stopped"),
    [(None, 1), ("", 1), ("1", 0), ("0", 0)],
)
def test_reports_of_an_already_imported_library_are_stopped(given, stopped, monkeypatch):
    calls = []
    imported = SimpleNamespace(
        disable_telemetry_events=lambda: calls.append("stopped"), set_default_logger_severity=lambda _: None
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", imported)
    for name in offline.NO_REPORTS:
        monkeypatch.delenv(name, raising=False)
        if given is not None:
            monkeypatch.setenv(name, given)
    assert offline.import_onnxruntime() is imported
    assert len(calls) == stopped
    expected = dict.fromkeys(offline.NO_REPORTS, given) if given else offline.NO_REPORTS
    assert {name: os.environ[name] for name in offline.NO_REPORTS} == expected, (
        "the user's settings must not change"
    )


def test_the_users_matplotlib_folder_is_kept(monkeypatch, tmp_path):
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
def test_every_kind_of_import_is_found(code):
    assert len(list(_imports(ast.parse(code)))) == 1


def test_only_one_function_imports_onnxruntime():
    found = [
        (path.relative_to(ROOT).as_posix(), function)
        for folder in ("deepscan", "scripts", "benchmarks", "sample_videos", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__)
        for function in _imports(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == [("deepscan/offline.py", "import_onnxruntime")]
