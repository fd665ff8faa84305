"""Which addresses name a cluster, and where its workers run; no cluster is needed."""

import os
import signal

import pytest

from deepscan.cluster.connection import (
    DECODER_BYTES,
    WORKER_BYTES,
    WORKER_ENVIRONMENT,
    SignalQueue,
    places,
    require_address,
)
from deepscan.cluster.driver import ClusterOptions
from deepscan.errors import UsageError
from tests.command import deepscan

GIB = 1 << 30


def node(name, cpus, gpus=0, memory=64 * GIB, alive=True):
    resources = {"CPU": float(cpus), "GPU": float(gpus), "memory": float(memory)}
    return {
        "NodeID": name,
        "Alive": alive,
        "NodeManagerHostname": name,
        "NodeManagerAddress": "10.0.0.1",
        "Resources": {key: value for key, value in resources.items() if value},
    }


def found(nodes, workers=None, gpus=True):
    return [(place.name, place.number, place.cpus, place.gpus) for place in places(nodes, workers, gpus=gpus)]


def test_one_worker_runs_on_each_machine_or_gpu():
    nodes = [node("head", 0), node("small", 2), node("dead", 8, alive=False), node("large", 16, 2)]
    assert found(nodes) == [("large", 0, 8, 1), ("large", 1, 8, 1), ("small", 0, 2, 0)]
    assert found(nodes, gpus=False) == [("large", 0, 16, 0), ("small", 0, 2, 0)]


def test_a_number_of_workers_is_spread_over_the_machines():
    nodes = [node("a", 8), node("b", 4)]
    assert found(nodes, 1) == [("a", 0, 8, 0)]
    assert found(nodes, 3) == [("a", 0, 4, 0), ("a", 1, 4, 0), ("b", 0, 4, 0)]
    assert len(found(nodes, 100)) == 12
    assert found([node("a", 8, 1)], 4) == [("a", number, 2, 0.25) for number in range(4)]


def test_cpus_of_scoring_actors_are_left_to_them():
    nodes = [node("a", 8, 2), node("b", 1)]
    left = [(place.name, place.cpus) for place in places(nodes, None, gpus=False, reserved={"a": 2, "b": 1})]
    assert left == [("a", 6)]


def test_memory_limits_the_decoders_of_a_worker():
    memory = WORKER_BYTES + 3 * DECODER_BYTES
    (place,) = places([node("a", 16, memory=memory)], None, gpus=False)
    assert (place.cpus, place.memory) == (3, memory)
    (place,) = places([node("a", 16)], None, gpus=False)
    assert (place.cpus, place.memory) == (16, WORKER_BYTES + 16 * DECODER_BYTES)
    # What cannot fit is requested all the same: Ray says so, instead of the kernel in the middle of the scan.
    (place,) = places([node("a", 16, memory=GIB)], None, gpus=False)
    assert (place.cpus, place.memory) == (1, WORKER_BYTES + DECODER_BYTES)


@pytest.mark.parametrize("address", ["auto", "10.0.0.5:6379", "head.local:6379", "[::1]:6379"])
def test_addresses_of_clusters(address):
    require_address(address, {})
    assert ClusterOptions(address, 3).words() == ["--cluster", address, "--workers", "3"]
    assert ClusterOptions(address, split=True).words() == ["--cluster", address, "--stages", "split"]


@pytest.mark.parametrize(
    ("address", "environment", "message"),
    [
        ("ray://head:10001", {}, "--cluster ray://head:10001: a scan cannot be started through Ray's client"),
        ("auto", {"RAY_ADDRESS": "ray://head:1"}, "RAY_ADDRESS=ray://head:1: a scan cannot be started"),
        ("head", {}, "--cluster cannot be 'head'"),
        ("head:", {}, "--cluster cannot be 'head:'"),
        (":6379", {}, "--cluster cannot be ':6379'"),
    ],
)
def test_other_addresses_are_refused(address, environment, message):
    with pytest.raises(UsageError) as raised:
        require_address(address, environment)
    assert raised.value.message.startswith(message)


def test_signals_wait_until_they_are_delivered():
    class Stop(BaseException):
        pass

    def stop(number, frame):
        raise Stop(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with SignalQueue() as signals:
            signals.deliver()
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(Stop):
                signals.deliver()
            signals.deliver()
        assert signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_send_no_reports():
    assert WORKER_ENVIRONMENT["env_vars"]["RAY_USAGE_STATS_ENABLED"] == "0"
    assert WORKER_ENVIRONMENT["env_vars"]["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "x.jsonl", "--cluster", "auto"), "--cluster needs a run folder"),
        (("--out", "run/", "--workers", "2"), "--workers needs --cluster"),
        (("--out", "run/", "--stages", "split"), "--stages split needs --cluster"),
        (("--out", "run/", "--cluster", "auto", "--shard", "1/2"), "--cluster and --shard cannot be used"),
        (("--out", "run/", "--cluster", "ray://head:10001"), "through Ray's client"),
        (("--out", "run/", "--cluster", "127.0.0.1:1"), "no connection to a Ray cluster at 127.0.0.1:1"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_scanned(options, message, tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.touch()
    error, _ = deepscan("scan", clip, *options, cwd=tmp_path).refused(2)
    assert message in error
    assert not (tmp_path / "run" / "run.json").exists()
