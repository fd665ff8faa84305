"""The workers of a run on the machines of a cluster: start them, and tell their failures apart."""

import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from deepscan.cluster.actor import WorkerActor, WorkerPlan
from deepscan.cluster.connection import WORKER_ENVIRONMENT, WorkerPlace, places
from deepscan.cluster.scoring import reserved
from deepscan.errors import ContractError, DeepscanError, MissingError, first_line
from deepscan.logs import get_logger
from deepscan.scanning import runfile

LOG = get_logger(__name__)
#: A machine is not used any more after so many workers have failed on it before they could scan.
MOST_FAILURES = 3
#: Seconds until a worker should have loaded its models.
LATE = 60.0
#: Seconds to wait for a machine with a CPU, while no worker is there.
MACHINE_WAIT = 300.0
#: Seconds that workers get to end in an orderly way.
GRACE = 15.0


@dataclass(slots=True)
class Member:
    """A worker.

    Attributes:
        session: Identifier of its session.
        place: Where it is.
        handle: Handle of its `WorkerActor`.
        reply: What it is doing.
        working: Whether it scans; otherwise it loads its models, or waits for its place.
        late: When to say that it has not begun, by `time.monotonic`.
    """

    session: str
    place: WorkerPlace
    handle: Any
    reply: Any
    working: bool = False
    late: float = field(default_factory=lambda: time.monotonic() + LATE)


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a worker's reply.

    Attributes:
        member: The worker.
        kind: `done` with a value; `failed` with an error of its own; `died` with its process; `lost` with its
            machine.
        value: The value.
        error: The error, None only if it is done.
    """

    member: Member
    kind: Literal["done", "failed", "died", "lost"]
    value: Any = None
    error: DeepscanError | None = None


class Crew:
    """The workers of a run; a context manager that ends them.

    Args:
        ray: The module, connected to a cluster.
        plan: What the workers have in common.
        workers: Number of workers, None for one on each machine or for each GPU.
        warn: Called with warnings for the user.
        check: Called often; may raise what ends the run.
    """

    def __init__(
        self,
        ray: Any,
        plan: WorkerPlan,
        workers: int | None,
        warn: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._ray, self._plan, self._workers, self._warn = ray, plan, workers, warn
        self._check = check
        self._actor = ray.remote(WorkerActor)
        self._refused: dict[str, DeepscanError] = {}
        self._failures: Counter[str] = Counter()
        self._seen, self._waiting = time.monotonic(), False
        #: The workers by their sessions.
        self.members: dict[str, Member] = {}

    def places(self) -> list[WorkerPlace]:
        """Return the places that are free.

        Raises:
            DeepscanError: No machine can be used, and no worker is left.
        """
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        left = [node for node in nodes if node["NodeID"] not in self._refused]
        scoring = self._plan.scoring
        usable = places(
            left,
            self._workers,
            gpus=self._plan.options.device != "cpu" and not scoring,
            reserved=reserved(scoring),
        )
        if usable or self.members:
            self._seen = time.monotonic()
        elif any(node["NodeID"] in self._refused for node in nodes):
            raise self._refusal()
        elif time.monotonic() - self._seen > MACHINE_WAIT:
            raise MissingError(
                f"the cluster has had no machine with a CPU for {MACHINE_WAIT:.0f} seconds",
                "add a machine; the same command continues the run",
            )
        elif not self._waiting:
            self._waiting = True
            self._warn("the cluster has no machine with a CPU: waiting for one")
        taken = {(member.place.node, member.place.number) for member in self.members.values()}
        free = [place for place in usable if (place.node, place.number) not in taken]
        return free if self._workers is None else free[: max(0, self._workers - len(self.members))]

    def start(self, place: WorkerPlace, run: Mapping[str, Any] | None) -> Member:
        """Start a worker, which loads its models; its reply is the description of the run."""
        session = runfile.new_id()
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(place.node, soft=False)
        handle = self._actor.options(
            num_cpus=place.cpus,
            num_gpus=place.gpus,
            memory=place.memory,
            # This driver starts another one itself, because the chunks must be given to it.
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=strategy,
            runtime_env=WORKER_ENVIRONMENT,
        ).remote(self._plan, session, place.cpus, math.ceil(place.gpus))
        member = Member(session, place, handle, handle.describe.remote(run))
        self.members[session] = member
        return member

    def endings(self, seconds: float) -> list[Ending]:
        """Return what became of the replies that are here.

        Args:
            seconds: How long to wait for the first one.
        """
        self._check()
        if not self.members:
            time.sleep(seconds)
            return []
        by_reply = {member.reply: member for member in self.members.values()}
        self._say_who_is_late()
        ready, _ = self._ray.wait([*by_reply], timeout=seconds)
        if ready:
            ready, _ = self._ray.wait([*by_reply], num_returns=len(by_reply), timeout=0)
        return [self._ending(by_reply[reply]) for reply in ready]

    def _say_who_is_late(self) -> None:
        for member in self.members.values():
            if not member.working and time.monotonic() > member.late:
                member.late = math.inf
                place = member.place
                self._warn(f"a worker on {place.name} has not begun yet: it needs {place.needs}")

    def dismiss(self, member: Member) -> None:
        """End a worker that is idle, or was never of use."""
        self.members.pop(member.session, None)
        with suppress(Exception):
            self._ray.kill(member.handle)

    def refuse(self, ending: Ending) -> None:
        """Note that a worker could not begin; use its machine less, or not any more."""
        place, error = ending.member.place, ending.error
        self.dismiss(ending.member)
        if ending.kind == "lost" or error is None:
            return
        self._failures[place.node] += 1
        expected = ending.kind == "failed" and not isinstance(error, WorkerFailure)
        if place.node not in self._refused and (expected or self._failures[place.node] >= MOST_FAILURES):
            self._refused[place.node] = error
            self._warn(f"{place.name} is not used: {error.message}")

    def disband(self) -> list[Member]:
        """Wait for workers to end, and end the others, which are returned."""
        working = {member.reply: member for member in self.members.values() if member.working}
        rest: list[Any] = []
        if working:
            with suppress(Exception):
                _, rest = self._ray.wait([*working], num_returns=len(working), timeout=GRACE)
        for member in list(self.members.values()):
            self.dismiss(member)
        return [working[reply] for reply in rest]

    def _ending(self, member: Member) -> Ending:
        errors, name = self._ray.exceptions, member.place.name
        try:
            return Ending(member, "done", self._ray.get(member.reply))
        except errors.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, BaseException) else error
            if isinstance(cause, DeepscanError):
                return Ending(member, "failed", error=cause)
            failure = WorkerFailure(
                f"a worker on {name} failed: {type(cause).__name__}: {first_line(cause)}",
                "the same command continues the run; please report this error",
            )
            return Ending(member, "failed", error=failure)
        except errors.RayError as error:
            away = isinstance(error, errors.ActorUnavailableError)
            if away or self._is_gone(member.place.node):
                state = "does not answer" if away else "is gone"
                lost = DeepscanError(f"{name} {state}", "the same command continues the run")
                return Ending(member, "lost", error=lost)
            return Ending(member, "died", error=_death(error, member.place))

    def _is_gone(self, node: str) -> bool:
        return not any(each["Alive"] for each in self._ray.nodes() if each["NodeID"] == node)

    def _refusal(self) -> DeepscanError:
        """Return the error of a run that no machine can scan: first those that say what differs."""
        errors = list(self._refused.values())
        return next((error for error in errors if isinstance(error, ContractError)), errors[-1])


def _death(error: Exception, place: WorkerPlace) -> "WorkerFailure":
    """Return the error for a worker whose process has ended, with the reason as far as Ray knows it."""
    text, machine = str(error), place.name
    LOG.info("a worker on %s died: %s", machine, text)
    missing = re.search(r"^.*(ModuleNotFoundError|ImportError).*$", text, re.M)
    if missing:
        return WorkerFailure(
            f"a worker on {machine} could not start: {missing[0].strip()}",
            "install the same version of deepscan on every machine, with the extra cluster",
        )
    if type(error).__name__ == "ActorUnschedulableError":
        return WorkerFailure(
            f"a worker does not fit on {machine}: it needs {place.needs}", "use a larger machine"
        )
    short = "memory was running low" in text or "OutOfMemory" in type(error).__name__
    return WorkerFailure(
        f"a worker on {machine} {'was ended for lack of memory' if short else 'died'}",
        "see Ray's logs on that machine; the same command continues the run",
    )


class WorkerFailure(DeepscanError):
    """A worker ended with an unexpected error, or died."""
