"""Distributed training with torchrun, one process per GPU, and signals deferred to the end of a step."""

import signal
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepscan.errors import DeepscanError, MissingError, Terminated, UsageError, first_line

#: Limit of connecting all processes.
CONNECT_LIMIT = timedelta(minutes=3)
#: Limit of waiting for the others in a training step: a process that takes longer hangs.
STEP_LIMIT = timedelta(minutes=30)
#: Limit of waiting for a process that cuts crops, trains autoencoders or computes features.
WAIT_LIMIT = timedelta(days=7)
#: Seconds between two looks at whether all processes have arrived.
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that train a network together.

    Attributes:
        rank: Rank of this process, from 0; only the first one writes files.
        count: Number of processes.
        device: Device of this process.
        group: Group for tensors on the device; None for one process.
        control: Group for decisions and long waits, over the CPU; None for one process.
    """

    rank: int
    count: int
    device: torch.device
    group: dist.ProcessGroup | None = None
    control: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients of all processes in place.

        One reduction per step, rather than one per layer during the backward pass: usually only a small part
        of the network trains, and not all of it gets a gradient in every step.
        """
        if self.count == 1:
            return
        trained = [value for value in parameters if value.requires_grad]
        flat = torch.cat([_gradient(value).flatten() for value in trained])
        with _connected():
            dist.all_reduce(flat, group=self.group)
        sizes = [value.numel() for value in trained]
        for value, part in zip(trained, torch.split(flat, sizes), strict=True):
            # Parameters without a gradient in every process keep none; otherwise the optimiser would decay
            # them.
            if value.grad is not None or part.any():
                value.grad = part.view_as(value)

    def add(self, values: dict[str, float]) -> dict[str, float]:
        """Return the sums of numbers over all processes."""
        if self.count == 1:
            return values
        summed = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        with _connected():
            dist.all_reduce(summed, group=self.group)
            return dict(zip(values, summed.tolist(), strict=True))

    def largest(self, value: int) -> int:
        """Return the largest of the processes' values."""
        if self.count == 1:
            return value
        highest = torch.tensor(value, device=self.device)
        with _connected():
            dist.all_reduce(highest, dist.ReduceOp.MAX, group=self.group)
            return int(highest)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in order of rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        with _connected():
            dist.all_gather_object(values, value, self.control)
        return values

    def from_first(self, value: Any) -> Any:
        """Return the first process's value."""
        return self.gather(value)[0]

    def share_weights(self, network: nn.Module) -> None:
        """Copy the first process's weights and buffers to all others.

        The same seed or file need not give the same weights on another machine.
        """
        if self.count > 1:
            for value in network.state_dict().values():
                dense = value.contiguous()
                with _connected():
                    dist.broadcast(dense, 0, group=self.group)
                value.copy_(dense)

    def share_buffers(self, network: nn.Module) -> None:
        """Copy the first process's buffers, such as batch norm statistics, to all others."""
        if self.count > 1:
            for buffer in network.buffers():
                with _connected():
                    dist.broadcast(buffer, 0, group=self.group)

    def wait(self) -> None:
        """Wait for all processes, up to `WAIT_LIMIT`; a signal ends the wait at once.

        Raises:
            DeepscanError: Another process has ended.
        """
        if self.count == 1:
            return
        with _connected():
            arrived = dist.barrier(self.control, async_op=True)
            assert arrived is not None
            while not arrived.is_completed():
                time.sleep(_POLL_SECONDS)
            arrived.wait()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Run the block in all processes, and wait for all; if it fails in one of them, it fails in all.

        The block must not exchange anything with other processes.

        Raises:
            DeepscanError: The block failed in another process; of the same class as its error.
            KeyboardInterrupt: Another process was interrupted.
            Terminated: Another process was terminated.
        """
        failure: BaseException | None = None
        try:
            yield
        except (Exception, KeyboardInterrupt, Terminated) as error:
            if self.count == 1:
                raise
            failure = error
        self.wait()
        failures = self.gather((socket.gethostname(), _portable(failure)))
        if failure is not None:
            raise failure
        for rank, (host, other) in enumerate(failures):
            if isinstance(other, DeepscanError):
                raise type(other)(f"process {rank} on {host}: {other.message}", other.hint)
            if other is not None:
                raise other


@contextmanager
def _connected() -> Iterator[None]:
    """Turn the error of a lost connection into one that says what happened.

    Raises:
        DeepscanError: Another process has ended, or did not answer in time.
    """
    try:
        yield
    except RuntimeError as error:
        raise DeepscanError(
            f"another process of this training has ended, or does not answer: {_cause(error)}",
            "read the output of the other processes, then start all of them again, with --resume",
        )


def _cause(error: Exception) -> str:
    """Return the first sentence of an error of torch; the next ones are general advice."""
    return first_line(error).split(". ")[0]


def _portable(error: BaseException | None) -> BaseException | None:
    """Return an error as it is sent to other processes: an unexpected one has only its first line."""
    if error is None or isinstance(error, DeepscanError | KeyboardInterrupt | Terminated):
        return error
    return DeepscanError(f"{type(error).__name__}: {first_line(error)}", "read the output of that process")


def _gradient(value: Tensor) -> Tensor:
    return torch.zeros_like(value) if value.grad is None else value.grad


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """Join the process group that torchrun has started; without torchrun this is the only process.

    Args:
        device: `auto` (CUDA if available), `cpu` or `cuda`.

    Raises:
        UsageError: The device is unknown, or the processes cannot be connected.
        MissingError: No CUDA device is available.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {device!r}", "choose from: auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError("no CUDA device is available", "use --device cpu")
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not dist.is_torchelastic_launched():
        yield Processes(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    own = torch.device("cpu")
    if cuda:
        own = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(own)
    try:
        group, control = _connect("nccl" if cuda else "gloo")
        yield Processes(dist.get_rank(), dist.get_world_size(), own, group, control)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _connect(backend: str) -> tuple[dist.ProcessGroup, dist.ProcessGroup]:
    """Connect the processes; return the group for tensors, and that for decisions and long waits.

    Raises:
        UsageError: They cannot be connected.
    """
    try:
        # A group can also take as long to connect as its operations may take. So this group comes first, to
        # find out soon whether the processes reach each other.
        dist.init_process_group("gloo", timeout=CONNECT_LIMIT)
        group = dist.new_group(backend=backend, timeout=STEP_LIMIT)
        control = dist.new_group(backend="gloo", timeout=WAIT_LIMIT)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"the processes of this training cannot be connected: {_cause(error)}",
            "check --master-addr and --master-port; name the network interface between the machines in "
            "GLOO_SOCKET_IFNAME, and for GPUs in NCCL_SOCKET_IFNAME",
        )
    assert isinstance(group, dist.ProcessGroup)
    assert isinstance(control, dist.ProcessGroup)
    return group, control


class DeferredSignals:
    """A deferred signal; a second signal is not deferred."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def share(self, processes: Processes) -> None:
        """Take over the signal of another process, so that all end after the same step."""
        self.signal = processes.largest(self.signal or 0) or None

    def end(self) -> None:
        """Raise the error of a deferred signal, if there is one.

        Raises:
            KeyboardInterrupt: The signal was SIGINT.
            Terminated: The signal was SIGTERM or SIGHUP.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise Terminated


@contextmanager
def deferred_signals() -> Iterator[DeferredSignals]:
    """Defer the first signal until `DeferredSignals.end` is called; has no effect outside the main thread."""
    signals = DeferredSignals()
    handlers: dict[int, object] = {}

    def defer(number: int, frame: FrameType | None) -> None:
        signals.signal = number
        _restore(handlers)

    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup's ignored signals stay ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                handlers[number] = signal.signal(number, defer)
    except ValueError:
        # Not the main thread: the caller handles signals.
        _restore(handlers)
    try:
        yield signals
    finally:
        _restore(handlers)


def _restore(handlers: dict[int, object]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
    handlers.clear()
