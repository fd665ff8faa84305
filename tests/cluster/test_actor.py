"""What a worker checks before it scans; no cluster is needed."""

import pytest

from deepscan.cluster.actor import WorkerActor, WorkerPlan
from deepscan.errors import ContractError, UsageError
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.run_folder import RunFolder
from tests.scanning.fake_worker import FakeWorker, job, scan


def actor(location):
    plan = WorkerPlan(ScanOptions(model="toy"), None, None, (), str(location), FakeWorker)
    return WorkerActor(plan, "worker", 1, 0)


def test_a_machine_that_does_not_see_the_run_folder_is_refused(tmp_path):
    scan(job(tmp_path / "driver", ["/a"]))
    run = RunFolder.open(str(tmp_path / "driver")).run
    assert actor(tmp_path / "driver").describe(run)["id"] == run["id"]
    with pytest.raises(UsageError, match="elsewhere is empty on this machine"):
        actor(tmp_path / "elsewhere").describe(run)
    scan(job(tmp_path / "elsewhere", ["/b"]))
    with pytest.raises(ContractError, match="elsewhere has another run on this machine"):
        actor(tmp_path / "elsewhere").describe(run)


def test_the_worker_that_describes_a_run_compares_it_with_the_one_in_the_folder(tmp_path):
    scan(job(tmp_path, ["/a"]), frames=8)
    described = actor(tmp_path)
    assert described.describe()["parameters"]["frames"] == 32
    with pytest.raises(ContractError, match="--frames was 8, is 32"):
        described.describe(RunFolder.open(str(tmp_path)).run)
