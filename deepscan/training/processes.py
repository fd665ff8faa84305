"""Distributed training with torchrun, one process per GPU, and signals deferred to the end of a step."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepscan.errors import MissingError, Terminated, UsageError


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that train a network together.

    Attributes:
        rank: Rank of this process, from 0; only the first one writes files.
        count: Number of processes.
        device: Device of this process.
    """

    rank: int
    count: int
    device: torch.device

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
        dist.all_reduce(flat)
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
        dist.all_reduce(summed)
        return dict(zip(values, summed.tolist(), strict=True))

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in order of rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def share_buffers(self, network: nn.Module) -> None:
        """Copy the first process's buffers, such as batch norm statistics, to all others."""
        if self.count > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.count > 1:
            dist.barrier()


def _gradient(value: Tensor) -> Tensor:
    return torch.zeros_like(value) if value.grad is None else value.grad


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """Join the process group that torchrun has started; without torchrun this is the only process.

    Args:
        device: `auto` (CUDA if available), `cpu` or `cuda`.

    Raises:
        UsageError: The device is unknown.
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
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        own = torch.device("cpu")
        if cuda:
            own = torch.device("cuda", dist.get_node_local_rank())
            torch.cuda.set_device(own)
        yield Processes(dist.get_rank(), dist.get_world_size(), own)
    finally:
        dist.destroy_process_group()


class DeferredSignals:
    """A deferred signal; a second signal is not deferred."""

    def __init__(self) -> None:
        self.signal: int | None = None

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
