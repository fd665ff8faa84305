"""Training in several processes, one a GPU, as torchrun starts them; signals that wait for a step's end."""

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
    """The processes that train one network together.

    Attributes:
        rank: Which of them this is, from 0; the first one writes.
        count: How many there are.
        device: Where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes in place.

        One sum a step, not one a layer while gradients are still being made: what trains here is a small
        part of the network, and parts of it are left out in some steps.
        """
        if self.count == 1:
            return
        trained = [value for value in parameters if value.requires_grad]
        flat = torch.cat([_gradient(value).flatten() for value in trained])
        dist.all_reduce(flat)
        sizes = [value.numel() for value in trained]
        for value, part in zip(trained, torch.split(flat, sizes), strict=True):
            # What took no part anywhere keeps no gradient: an optimiser would let it decay.
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
        """Return a value of each process, in order of rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def share_buffers(self, network: nn.Module) -> None:
        """Give every process the first one's buffers, such as the statistics of batch norms."""
        if self.count > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()


def _gradient(value: Tensor) -> Tensor:
    return torch.zeros_like(value) if value.grad is None else value.grad


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun has started with this one; alone where it has not.

    Args:
        device: `auto` (CUDA where there is one), `cpu` or `cuda`.

    Raises:
        UsageError: There is no device of that name.
        MissingError: There is none here.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"there is no device {device!r}", "choose from: auto, cpu, cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingError("there is no CUDA device here", "use --device cpu")
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if not dist.is_torchelastic_launched():
        yield Processes(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        place = torch.device("cpu")
        if cuda:
            place = torch.device("cuda", dist.get_node_local_rank())
            torch.cuda.set_device(place)
        yield Processes(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()


class DeferredSignals:
    """Whether a signal waits; a second one does not."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def end(self) -> None:
        """End the run if a signal waits, by the error that it stands for.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            Terminated: It was SIGTERM or SIGHUP.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal is not None:
            raise Terminated


@contextmanager
def deferred_signals() -> Iterator[DeferredSignals]:
    """Let the first signal wait until `DeferredSignals.end` is called; only the main thread can."""
    signals = DeferredSignals()
    former: dict[int, object] = {}

    def note(number: int, frame: FrameType | None) -> None:
        signals.signal = number
        _restore(former)

    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # What nohup has set to be ignored stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                former[number] = signal.signal(number, note)
    except ValueError:
        # Not the main thread: whoever has started it handles signals.
        _restore(former)
    try:
        yield signals
    finally:
        _restore(former)


def _restore(former: dict[int, object]) -> None:
    for number, handler in former.items():
        signal.signal(number, handler)  # type: ignore[arg-type]
    former.clear()
