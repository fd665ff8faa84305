"""Connect to a Ray cluster, and find the places for workers on its machines."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType, MappingProxyType
from typing import Any, Self

from deepscan.errors import UsageError, first_line, require
from deepscan.logs import get_logger
from deepscan.offline import NO_REPORTS, turn_reports_off

LOG = get_logger(__name__)
#: Means the cluster of this machine, or of the variable RAY_ADDRESS.
AUTO = "auto"
#: Bytes of a worker without its decoders, and of each decoder with its frames in shared memory. With the
#: built-in model and full HD, a third of it is used.
WORKER_BYTES, DECODER_BYTES = 1200 << 20, 300 << 20
#: Seconds to wait for the head of a cluster to answer.
_CONNECT = 10.0
#: Environment of every worker. Ray starts its process with it, before anything is imported.
WORKER_ENVIRONMENT = {"env_vars": dict(NO_REPORTS)}


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Room for one worker on a machine.

    Attributes:
        node: Ray's identifier of the machine.
        name: Its host name, for messages.
        number: Which of the machine's places this is, from 0.
        cpus: CPUs of the worker, which are as many decoders; at least 1.
        gpus: Its GPUs: 1, a share of one, or 0.
        memory: Bytes that it needs.
    """

    node: str
    name: str
    number: int
    cpus: int
    gpus: float
    memory: int

    @property
    def needs(self) -> str:
        """What Ray must reserve for the worker, for messages."""
        gpus = f", {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus} CPU{gpus} and {self.memory / 1e9:.1f} GB of memory"


def import_ray() -> Any:
    """Import Ray, with its reports turned off.

    Raises:
        MissingError: It is not installed.
    """
    turn_reports_off()
    require(("ray",), "cluster", "--cluster")
    import ray

    return ray


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a cluster as its driver, and give its module `ray`.

    Args:
        address: `auto`, or host and port of the cluster.

    Raises:
        UsageError: There is no such cluster, or this machine does not belong to it.
        MissingError: Ray is not installed.
    """
    _require_open(os.environ.get("RAY_ADDRESS") or address if address == AUTO else address)
    ray = import_ray()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # What matters of its messages, the workers report themselves.
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _no_cluster(address, first_line(error))
    _keep_stdout_clean()
    try:
        # It has its own handler for SIGTERM, which would end a scan without its last words.
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        yield ray
    finally:
        ray.shutdown()


class SignalQueue:
    """Keeps Ctrl-C and SIGTERM until `deliver` is called; a context manager.

    Ray's calls do not expect an exception of a signal handler, and replace it with one of theirs.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._arrived: list[int] = []

    def deliver(self) -> None:
        """Call the handlers of the signals that have arrived, which raise their exceptions."""
        while self._arrived:
            number = self._arrived.pop(0)
            self._handlers[number](number, None)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, lambda number, frame: self._arrived.append(number))
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def _require_open(address: str) -> None:
    """Check that something listens at an address, because Ray tries to connect for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, first_line(error))


def _no_cluster(address: str, reason: str) -> UsageError:
    place = "on this machine" if address == AUTO else f"at {address}"
    return UsageError(
        f"--cluster: no connection to a Ray cluster {place}: {reason}",
        "run this command on a machine of the cluster; start one with: ray start --head",
    )


def _keep_stdout_clean() -> None:
    """Log what Ray's daemons report, such as the death of a worker. Ray prints it to stdout."""
    with suppress(ImportError):
        from ray._private import worker

        worker.print_to_stdstream = _log_report


def _log_report(data: Mapping[str, Any], *_: Any, **__: Any) -> None:
    for line in data.get("lines", ()):
        LOG.info("Ray: %s", line)


def require_address(address: str, environment: Mapping[str, str]) -> None:
    """Check the form of an address.

    Args:
        address: As given with `--cluster`.
        environment: The variables of this process.

    Raises:
        UsageError: It has another form, or is one of Ray's client, which cannot be used.
    """
    variable = environment.get("RAY_ADDRESS", "") if address == AUTO else ""
    for name, given in ((f"--cluster {address}", address), (f"RAY_ADDRESS={variable}", variable)):
        if "://" in given:
            raise UsageError(
                f"{name}: a scan cannot be started through Ray's client",
                "start it on a machine of the cluster, as a RayJob or with: ray job submit",
            )
    host, _, port = address.rpartition(":")
    if address != AUTO and not (host and port.isascii() and port.isdigit()):
        raise UsageError(f"--cluster cannot be {address!r}", "use auto, or HOST:PORT such as 10.0.0.5:6379")


def places(
    nodes: Sequence[Mapping[str, Any]],
    workers: int | None,
    *,
    gpus: bool,
    reserved: Mapping[str, int] = MappingProxyType({}),
) -> list[WorkerPlace]:
    """Return where workers can run: one on each machine, or one for each of its GPUs.

    Args:
        nodes: The machines, by `ray.nodes`; those without a CPU are left out.
        workers: Number of workers, None for the default. More than that share CPUs and GPUs.
        gpus: Whether workers use GPUs.
        reserved: Machine -> number of its CPUs that others use.
    """
    cpus = {node["NodeID"]: _cpus(node) - reserved.get(node["NodeID"], 0) for node in nodes if node["Alive"]}
    useful = [node for node in nodes if cpus.get(node["NodeID"], 0) >= 1]
    useful.sort(key=lambda node: (-cpus[node["NodeID"]], node["NodeID"]))
    most = [cpus[node["NodeID"]] for node in useful]
    counts = [max(1, _gpus(node, gpus)) for node in useful]
    if workers is not None:
        # One more on each machine in turn, so that they have nearly the same number.
        counts = [0] * len(useful)
        while sum(counts) < workers and counts != most:
            for index in range(len(useful)):
                if sum(counts) < workers and counts[index] < most[index]:
                    counts[index] += 1
    return [
        _place(node, number, count, own // count, _gpus(node, gpus))
        for node, count, own in zip(useful, counts, most, strict=True)
        for number in range(min(count, own))
    ]


def _cpus(node: Mapping[str, Any]) -> int:
    return int(node["Resources"].get("CPU", 0))


def _gpus(node: Mapping[str, Any], used: bool) -> int:
    return int(node["Resources"].get("GPU", 0)) if used else 0


def _place(node: Mapping[str, Any], number: int, count: int, cpus: int, gpus: int) -> WorkerPlace:
    resources = node["Resources"]
    memory = int(resources.get("memory", 0)) // count
    cpus = max(1, cpus)
    if memory:
        cpus = max(1, min(cpus, (memory - WORKER_BYTES) // DECODER_BYTES))
    return WorkerPlace(
        node["NodeID"],
        node.get("NodeManagerHostname") or node["NodeManagerAddress"],
        number,
        cpus,
        0 if not gpus else 1 if count <= gpus else int(gpus / count * 1000) / 1000,
        WORKER_BYTES + cpus * DECODER_BYTES,
    )
