"""Scans on a real Ray cluster of this machine: equality with a local scan, and everything that can die."""

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version as version_of
from pathlib import Path

import pytest

import deepscan
from deepscan.cluster.driver import ClusterListener, ClusterOptions, run_cluster
from deepscan.errors import ContractError, ExitCode
from deepscan.scanning.attempts import DIED
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.run_folder import RunFolder
from tests.command import SAMPLES, journal
from tests.command import deepscan as command
from tests.scanning.fake_worker import FakeWorker, attempts, job, records
from tests.scanning.fake_worker import scan as scan_here

if (sys.platform, platform.machine()) == ("darwin", "x86_64"):
    pytest.skip("Ray has no wheels for this machine", allow_module_level=True)

#: Bytes of shared memory of each machine, the least that Ray accepts.
STORE = 80 << 20
#: A machine with this variable has other models.
OTHER = "DEEPSCAN_TEST_OTHER_MODELS"


class ModelsOfMachine(FakeWorker):
    """A worker whose version depends on its machine."""

    @property
    def version(self):
        return os.environ.get(OTHER, "1")


class Newer(FakeWorker):
    """A worker of another version."""

    version = "2"


class Watching(ClusterListener):
    """Keeps what a person would read, and calls a function once when a few videos are done."""

    def __init__(self, then=None):
        self.warnings, self.suspects, self.share, self.then = [], 0, None, then

    def warned(self, line):
        self.warnings.append(line)

    def alone(self, videos):
        self.suspects += videos

    def shared(self, share):
        self.share = share

    def progressed(self, state, workers):
        if self.then is not None and workers == 2 and state.ended >= 4:
            then, self.then = self.then, None
            then()


@pytest.fixture(scope="module")
def ray_machines():
    """A cluster of a head without CPUs, and two machines with one each."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # its sockets' names must be short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # otherwise it writes a token into the home
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        home = Path(folder) / "home"
        home.mkdir()
        patch.setenv("HOME", str(home))
        from ray.cluster_utils import Cluster

        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE},
        )
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=1, object_store_memory=STORE)
            yield cluster
            assert list(home.iterdir()) == []
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def scan(cluster, task, *, worker=FakeWorker, listener=None, workers=None):
    options = ClusterOptions(cluster.address, workers)
    return run_cluster(task, ScanOptions(model="toy"), options, listener=listener, make_worker=worker)


def assert_same(found, expected, *, tolerance):
    """Assert that two sets of records by path differ only in what differs in every run.

    Args:
        found: The records.
        expected: What they should be.
        tolerance: How much numbers may differ: networks round differently with another number of threads.
    """
    assert found.keys() == expected.keys()
    for path, record in expected.items():
        varying = dict.fromkeys(("run", "started", "seconds"))
        assert_close(found[path] | varying, record | varying, tolerance)


def assert_close(found, expected, tolerance):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value, tolerance)
    elif isinstance(expected, list):
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, tolerance)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=0, abs=tolerance)
    else:
        assert found == expected


def numbered(name, count):
    return [f"/videos/{name}{number:02}.mp4" for number in range(count)]


def test_the_records_equal_those_of_a_local_scan(ray_machines, tmp_path):
    clips = sorted(SAMPLES.glob("*.mp4"))[:4]
    local = tmp_path / "local.jsonl"
    assert command("scan", *clips, "--out", local).code == ExitCode.OK
    run = f"{tmp_path}/run/"
    ran = command("scan", *clips, "--out", run, "--cluster", ray_machines.address, "--chunk", "1")
    assert (ran.code, ran.out) == (ExitCode.OK, ""), ran.err
    assert "the run is complete and checked: 4 videos, one record each" in ran.err
    assert_same(records(run), journal(local), tolerance=2e-6)
    driver, *workers = deepscan.read_run(run).sessions
    assert (driver.ray, driver.driver, driver.videos) == (version_of("ray"), None, 4)
    assert {worker.driver for worker in workers} == {driver.id}
    assert sum(worker.videos for worker in workers) == 4


def test_faces_that_are_scored_elsewhere_have_the_same_records(ray_machines, tmp_path):
    local, run = tmp_path / "local.jsonl", f"{tmp_path}/run/"
    clips = [SAMPLES / "swapped.mp4", SAMPLES / "two_persons.mp4"]
    assert command("scan", *clips, "--explain", "--out", local).code == ExitCode.OK
    cluster = ("--cluster", ray_machines.address, "--stages", "split", "--device", "cpu")
    ran = command("scan", *clips, "--explain", "--out", run, *cluster)
    assert ran.code == ExitCode.OK, ran.err
    assert_same(records(run), journal(local), tolerance=2e-6)


def test_a_killed_worker_and_a_removed_machine_cost_no_record(ray_machines, tmp_path):
    once = tmp_path / "once.mp4"
    once.touch()
    paths = [str(once), *numbered("slow", 80)]
    victim = ray_machines.list_all_nodes()[-1]
    listener = Watching(lambda: ray_machines.remove_node(victim))
    try:
        summary = scan(ray_machines, job(tmp_path / "run", paths, chunk=2), listener=listener)
    finally:
        ray_machines.add_node(num_cpus=1, object_store_memory=STORE)
    assert listener.then is None and not once.exists()
    assert summary.sealed and summary.outcomes["fake"] == len(paths)
    assert sorted(records(tmp_path / "run")) == sorted(paths)
    gone, died = sorted(listener.warnings, key=lambda line: "died" in line)
    assert gone.endswith("is gone; its chunks are scanned again")
    assert died.endswith("died; its chunks are scanned again")
    # Nobody is suspected for the end of a machine, and no attempt remains of it.
    assert listener.suspects == 0
    assert len({path.name for path in attempts(tmp_path / "run")}) == 1


def test_a_killed_driver_continues_where_it_was(ray_machines, tmp_path):
    location, paths = tmp_path / "run", numbered("slow", 60)
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.drive", ray_machines.address, location, *paths]
    )
    while len(list(location.glob("parts/*.parquet"))) < 4:
        assert driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    listener = Watching()
    summary = scan(ray_machines, job(location, paths), listener=listener)
    assert summary.sealed and summary.outcomes["fake"] == len(paths)
    assert len(listener.share.kept) >= 4 and listener.share.todo_rows > 0
    assert sorted(records(location)) == paths


def test_a_video_that_kills_its_workers_gets_the_only_error(ray_machines, tmp_path):
    paths = [*numbered("sound", 3), "/videos/poison.mp4"]
    listener = Watching()
    summary = scan(ray_machines, job(tmp_path / "run", paths, chunk=2), listener=listener, workers=1)
    found = records(tmp_path / "run")
    poison = found.pop("/videos/poison.mp4")
    assert (poison["status"], poison["detail"]) == ("error", DIED)
    assert {record["status"] for record in found.values()} == {"ok"}
    assert (summary.exit_code(), summary.sealed) == (ExitCode.SOME_FAILED, True)
    # Twice with others, twice alone.
    assert len(listener.warnings) == 4
    assert listener.suspects >= 2


def test_a_machine_with_other_models_is_refused_and_another_one_scans(ray_machines, tmp_path):
    location, paths = tmp_path / "run", numbered("sound", 8)
    scan_here(job(location, paths, shard=(1, 2), chunk=2))
    listener = Watching()
    # The larger machine is tried first.
    node = ray_machines.add_node(num_cpus=2, object_store_memory=STORE, env_vars={OTHER: "2"})
    try:
        task = job(location)
        summary = scan(ray_machines, task, worker=ModelsOfMachine, listener=listener, workers=1)
    finally:
        ray_machines.remove_node(node)
    assert summary.sealed and summary.outcomes["fake"] == len(paths)
    (warning,) = listener.warnings
    assert "is not used: the run was started differently: tool.version was '1', is '2'" in warning


def test_a_run_that_no_machine_can_continue_ends_with_what_differs(ray_machines, tmp_path):
    location, paths = tmp_path / "run", numbered("sound", 4)
    scan_here(job(location, paths, shard=(1, 2), chunk=2))
    listener = Watching()
    with pytest.raises(ContractError, match=r"tool\.version was '1', is '2'") as raised:
        scan(ray_machines, job(location), worker=Newer, listener=listener)
    assert raised.value.exit_code == ExitCode.CONTRACT
    assert len(listener.warnings) == 2
    assert attempts(location) == []
    assert RunFolder.open(str(location)).describe()["sessions"][-1]["exit_code"] == ExitCode.CONTRACT
