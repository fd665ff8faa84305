"""Test what a process may use of a machine: CPUs by affinity and quota."""

import os
from pathlib import Path

import pytest

from deepscan import devices, onnx_session
from deepscan.devices import Budget, cgroup_quota, usable_cpus


def process(folder, groups, *mounts):
    """Return the folder in `/proc` of a process with these control groups and mounts of them."""
    folder.mkdir()
    (folder / "cgroup").write_text("".join(f"{line}\n" for line in groups))
    lines = ["22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"]
    lines += [
        f"30 22 0:26 {root} {point} rw,nosuid shared:9 - {kind} {kind} rw,{options}"
        for root, point, kind, options in mounts
    ]
    (folder / "mountinfo").write_text("".join(f"{line}\n" for line in lines))
    return folder


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"cpu.{name}").write_text(f"{text}\n")
    return folder


def test_the_lowest_quota_of_a_version_2_group_and_those_above_it_counts(tmp_path):
    root = group(tmp_path / "fs")
    group(root / "pods", max="250000 100000")
    group(root / "pods" / "one", max="400000 100000")
    mount = ("/", root, "cgroup2", "nsdelegate")
    assert cgroup_quota(process(tmp_path / "pod", ["0::/pods/one"], mount)) == 2.5
    assert cgroup_quota(process(tmp_path / "other", ["0::/other"], mount)) is None
    group(root / "pods", max="max 100000")
    assert cgroup_quota(tmp_path / "pod") == 4.0


def test_a_container_sees_its_own_group_at_the_mount(tmp_path):
    root = group(tmp_path / "fs", max="50000 100000")
    mount = ("/", root, "cgroup2", "nsdelegate")
    assert cgroup_quota(process(tmp_path / "inside", ["0::/"], mount)) == 0.5


def test_version_1_has_the_quota_in_two_files_and_a_mount_that_begins_at_the_container(tmp_path):
    cpu = group(tmp_path / "cpu", cfs_quota_us=300000, cfs_period_us=100000)
    memory = group(tmp_path / "memory", cfs_quota_us=100, cfs_period_us=100)
    groups = ["4:cpu,cpuacct:/docker/ab", "3:memory:/docker/ab"]
    mounts = (
        ("/docker/ab", cpu, "cgroup", "cpu,cpuacct"),
        ("/docker/ab", memory, "cgroup", "memory"),
    )
    assert cgroup_quota(process(tmp_path / "inside", groups, *mounts)) == 3.0
    group(cpu, cfs_quota_us=-1)
    assert cgroup_quota(tmp_path / "inside") is None


def test_without_control_groups_there_is_no_quota(tmp_path):
    assert cgroup_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "cpus"), [(8, None, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.2, 1), (2, 64.0, 2)]
)
def test_the_lower_of_affinity_and_quota_counts_and_a_part_counts_as_one(monkeypatch, affinity, quota, cpus):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(devices, "cgroup_quota", lambda: quota)
    assert usable_cpus() == cpus


def test_a_limited_budget_limits_the_threads_of_sessions(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert Budget(4).threads == 4
    assert Budget(64).threads is None


def test_a_budget_for_the_cpu_asks_no_driver(monkeypatch):
    monkeypatch.setattr(devices, "cuda_devices", lambda: 3)
    assert Budget.here("cpu").gpus == 0
    assert Budget.here().gpus == 3


@pytest.mark.parametrize(("cpus", "gpus"), [(0, 0), (1, -1)])
def test_a_budget_without_a_cpu_or_with_negative_gpus_is_refused(cpus, gpus):
    with pytest.raises(ValueError, match="must"):
        Budget(cpus, gpus)


@pytest.mark.parametrize(("named", "threads"), [(None, 4), (1, 1)])
def test_a_session_takes_no_more_threads_than_there_are_cpus_for_this_process(monkeypatch, named, threads):
    taken = []

    class Runtime:
        class SessionOptions:
            def add_session_config_entry(self, name, value):
                pass

        @staticmethod
        def InferenceSession(path, sess_options, providers):
            taken.append(sess_options.intra_op_num_threads)
            return type("Session", (), {"get_providers": lambda self: providers})()

    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(onnx_session, "usable_cpus", lambda: 4)
    monkeypatch.setattr(onnx_session, "import_onnxruntime", lambda: Runtime)
    onnx_session.open_session(Path("model.onnx"), threads=named)
    assert taken == [threads]
