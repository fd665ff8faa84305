"""Test the clock, the environment and the end of a decoding process."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from deepscan.media.ipc import Channel
from deepscan.media.jobs import Clock
from deepscan.media.worker_process import WorkerProcess, worker_command
from tests.command import run_python


def alive(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, limit=20.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "the condition was never met"
        time.sleep(0.02)


def printed(code):
    """Return what a separate Python process prints when it runs the code."""
    return run_python("-c", textwrap.dedent(code)).out.strip()


def test_clock_counts_only_while_it_runs():
    clock = Clock()
    assert clock.left(10.0, 90.0) is None
    clock.resume(100.0)
    assert clock.spent(103.0) == 3.0
    assert clock.left(10.0, 103.0) == 7.0
    clock.pause(104.0)
    clock.pause(150.0)
    assert clock.spent(200.0) == 4.0
    assert clock.left(10.0, 200.0) is None
    clock.resume(200.0)
    clock.resume(203.0)
    assert clock.left(10.0, 205.0) == 1.0


def test_channel_reassembles_messages():
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    theirs.send(b'{"kind": "a"}\n{"ki')
    assert channel.receive() == [{"kind": "a"}]
    theirs.send(b'nd": "b"}\n')
    assert channel.receive() == [{"kind": "b"}]
    theirs.close()
    assert channel.receive() is None
    assert channel.send({"kind": "c"}) is False


def test_worker_ends_with_its_channel():
    process = WorkerProcess(worker_command(), "memory")
    assert process.channel.receive() == [{"kind": "ready"}]
    process.channel.close()
    assert process.gone(10.0)
    process.buffer.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_terminal_s_signals_do_not_reach_a_worker(number):
    # A new session has no terminal. Ctrl-C is also ignored if it is sent to the process itself.
    process = WorkerProcess(worker_command(), "memory")
    assert process.channel.receive() == [{"kind": "ready"}]
    assert os.getsid(process.pid) == process.pid
    if number == signal.SIGINT:
        os.kill(process.pid, number)
        assert not process.gone(0.3)
    process.kill()
    assert process.describe_end() == "was ended by SIGKILL"
    assert process.was_killed()


def test_no_code_is_imported_from_the_scanned_folder(tmp_path, monkeypatch):
    for name in ("numpy", "av", "decord", "deepscan"):
        (tmp_path / f"{name}.py").write_text("import os; os._exit(66)")
    monkeypatch.chdir(tmp_path)
    process = WorkerProcess(worker_command(), "memory")
    assert process.channel.receive() == [{"kind": "ready"}]
    process.kill()


def test_worker_imports_neither_torch_nor_the_command_line(media):
    code = f"""
        import os, sys
        from deepscan.media import worker
        from deepscan.media.decoders import DECODERS, installed
        from deepscan.media.probe import probe
        from deepscan.media.source import SourceFile
        source = SourceFile(os.fsencode({str(media("plain.mp4"))!r}))
        for name in DECODERS.names:
            kind = DECODERS.get(name)
            if installed(kind) and kind.unfit(probe(source)) is None:
                kind(source.url(), probe(source)).read(3)
        banned = "torch torchvision onnxruntime typer rich cv2 scipy yaml PIL".split()
        print(sorted(set(banned) & set(sys.modules)))
    """
    assert printed(code) == "[]"


def test_the_parent_imports_no_decoder_library():
    code = """
        import sys
        from deepscan.media import pool
        from deepscan.media.decoders import DECODERS, installed
        assert installed(DECODERS.get("pyav"))
        facts = [(kind.package, kind.module, kind.automatic) for kind in map(DECODERS.get, DECODERS.names)]
        print(sorted({"av", *(module for _, module, _ in facts)} & set(sys.modules)))
    """
    assert printed(code) == "[]"


PARENT = """
import os, signal, sys, tempfile, time
from deepscan.media.jobs import DecodeJob, DecodeOptions, FrameReady
from deepscan.media.pool import DecodePool
if sys.argv[1] == "file":
    del os.memfd_create
tempfile.tempdir = sys.argv[2]
pool = DecodePool(DecodeOptions(decoder="pyav"), 2, [sys.executable, "-m", "tests.media.stub"])
assert pool.buffer_kind == sys.argv[1]
pool.submit(DecodeJob(0, os.fsencode(sys.argv[3])))
while not any(isinstance(event, FrameReady) for event in pool.poll(1.0)):
    pass
time.sleep(0.2)
pids = []
for task in os.listdir("/proc/self/task"):
    with open(f"/proc/self/task/{task}/children") as file:
        pids += file.read().split()
print(*pids, flush=True)
time.sleep(100)
"""


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_killed_parent_leaves_nothing_behind(media, tmp_path, kind):
    hanging = tmp_path / "pyav-hang@4.mp4"
    hanging.write_bytes(media("plain.mp4").read_bytes())
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = set(os.listdir("/dev/shm"))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, kind, str(temporary), str(hanging)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        # One of them hangs while holding the GIL, the other waits for work.
        assert all(alive(pid) for pid in pids)
        parent.kill()
    wait_until(lambda: not any(alive(pid) for pid in pids))
    assert not list(temporary.iterdir())
    assert not {name for name in set(os.listdir("/dev/shm")) - before if "deepscan" in name}
