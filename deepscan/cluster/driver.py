"""Scan on a Ray cluster: this process starts workers, which take the chunks of a run folder, and seals it."""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepscan.cluster.actor import LedgerActor, WorkerPlan
from deepscan.cluster.connection import WORKER_ENVIRONMENT, SignalQueue, connected, require_address
from deepscan.cluster.crew import Crew, Ending
from deepscan.cluster.ledger import LedgerState
from deepscan.cluster.scoring import start_scoring
from deepscan.errors import DeepscanError, exit_code_of
from deepscan.scanning import runfile
from deepscan.scanning.attempts import withdraw_session
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.run_folder import RunFolder
from deepscan.scanning.shard_job import ShardJob, ShardListener, ShardSummary, join_run, share_of
from deepscan.scanning.shard_run import end_session, finish_run
from deepscan.scanning.worker import Worker
from deepscan.storage.address import is_address

#: Seconds between two looks at the cluster.
TICK = 0.5
#: After so many errors of workers in a row, without a finished chunk in between, the run ends.
MOST_ERRORS = 3


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which cluster scans, and how much of it.

    Attributes:
        address: `auto`, or host and port of the cluster.
        workers: Number of workers, None for one on each machine, or for each of its GPUs.
        split: Whether workers only find faces, on CPUs, and actors with GPUs score them.
    """

    address: str
    workers: int | None = None
    split: bool = False

    def __post_init__(self) -> None:
        require_address(self.address, os.environ)

    def words(self) -> list[str]:
        """Return these options as they are typed."""
        workers = [] if self.workers is None else ["--workers", str(self.workers)]
        return ["--cluster", self.address, *workers, *(["--stages", "split"] if self.split else [])]


class ClusterListener(ShardListener):
    """Callbacks of a scan on a cluster, which do nothing by default. `ended` is not called."""

    def progressed(self, state: LedgerState, workers: int) -> None:
        """Handle the state of the run, about twice a second, and the number of workers that scan."""


def run_cluster(
    job: ShardJob,
    options: ScanOptions,
    cluster: ClusterOptions,
    *,
    command: Sequence[str] = (),
    listener: ClusterListener | None = None,
    fail_on: Collection[str] = (),
    custody: runfile.Custody | None = None,
    scratch: Path | None = None,
    make_worker: type[Worker] = Worker,
) -> ShardSummary:
    """Scan the chunks of a run folder that have no part yet on a cluster, and seal the run.

    Args:
        job: What to do, and where; its shard must be the whole run.
        options: The scan's parameters.
        cluster: The cluster.
        command: The command line, for the sessions' records.
        listener: Receives the callbacks.
        fail_on: See `RunSummary.exit_code`.
        custody: Information about the case.
        scratch: Folder on every machine for objects that are too large for memory.
        make_worker: Class of the workers.

    Raises:
        ContractError: The run in the folder differs from what all machines would compute.
        AuditError: All chunks have a part, but some parts are wrong.
        DeepscanError: There is no such cluster, or no machine can scan.
    """
    listener = listener or ClusterListener()
    if not is_address(job.location):
        # Workers have other current folders.
        job = replace(job, location=str(Path(job.location).absolute()))
    plan = WorkerPlan(options, custody, scratch, tuple(command), job.location, make_worker)
    with connected(cluster.address) as ray, SignalQueue() as signals:
        if cluster.split:
            earlier = RunFolder.existing(job.location)
            scoring = start_scoring(ray, options, earlier.run if earlier else None, signals.deliver)
            plan = replace(plan, scoring=scoring)
        crew = Crew(ray, plan, cluster.workers, listener.warned, signals.deliver)
        try:
            return _Drive(ray, crew, job, listener).run(options, command, fail_on)
        finally:
            crew.disband()


class _Drive:
    """One scan on a cluster, from its start to its seal."""

    def __init__(self, ray: Any, crew: Crew, job: ShardJob, listener: ClusterListener) -> None:
        self._ray, self._crew, self._job, self._listener = ray, crew, job, listener
        self._errors, self._finished = 0, 0

    def run(self, options: ScanOptions, command: Sequence[str], fail_on: Collection[str]) -> ShardSummary:
        """Scan; see `run_cluster`."""
        folder, _ = join_run(self._job, options, self._first, self._listener, sharers=self._sharers())
        run = {**folder.run, "sessions": []}
        self._listener.loaded(run)
        share = share_of(folder, self._job.shard)
        self._listener.shared(share)
        places = [*self._crew.places(), *(member.place for member in self._crew.members.values())]
        runfile.begin(
            run,
            command,
            videos=share.todo_rows,
            kept=share.rows - share.todo_rows,
            timeout=options.timeout,
            workers=max(1, sum(place.cpus for place in places)),
            frame_buffer=None,
            inputs=self._job.inputs.to_json() if self._job.inputs else None,
            ray=self._ray.__version__,
        )
        session = {"id": runfile.new_id(), **run["sessions"][0]}
        folder.begin_session(session)
        summary = ShardSummary(share=share)
        try:
            if share.todo:
                outcomes = self._scan(folder, frozenset(share.todo), session["id"])
                for (status, verdict), count in outcomes.items():
                    summary.count(status, verdict, count)
            finish_run(folder, summary, self._listener)
        except BaseException as error:
            with suppress(Exception):
                end_session(folder, session, run, int(exit_code_of(error)))
            raise
        end_session(folder, session, run, int(summary.exit_code(fail_on)))
        return summary

    def _sharers(self) -> int:
        """Return how many workers share the chunks of a new run."""
        return max(1, len(self._crew.places()))

    def _first(self, options: ScanOptions, run: Mapping[str, Any] | None = None) -> "_Description":
        return _Description(self._crew, run)

    def _scan(
        self, folder: RunFolder, todo: frozenset[int], driver: str
    ) -> Mapping[tuple[str, str | None], int]:
        """Scan chunks on the cluster, and return the outcomes of their videos."""
        ray, crew = self._ray, self._crew
        ledger = (
            ray.remote(LedgerActor)
            .options(
                num_cpus=0,
                # With the driver, so that it is lost only with it.
                scheduling_strategy=ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                    ray.get_runtime_context().get_node_id(), soft=False
                ),
                runtime_env=WORKER_ENVIRONMENT,
            )
            .remote(self._job.location, todo)
        )
        suspects = 0
        try:
            # The worker that has described a new run compares it with the one in the folder.
            for member in crew.members.values():
                member.reply = member.handle.describe.remote(folder.run)
            while (state := self._state(ledger)).left:
                if state.suspects > suspects:
                    self._listener.alone(state.suspects - suspects)
                    suspects = state.suspects
                self._fill(state, folder.run)
                for ending in crew.endings(TICK):
                    self._settle(ending, ledger, folder, driver)
                working = sum(member.working for member in crew.members.values())
                self._listener.progressed(state, working)
            self._listener.progressed(state, 0)
            return state.outcomes
        finally:
            # Also after the last chunk: nobody has anything to do any more.
            with suppress(Exception):
                ray.get(ledger.stop.remote(), timeout=5)
            for member in crew.disband():
                with suppress(Exception):
                    withdraw_session(folder.store, member.session)

    def _state(self, ledger: Any) -> LedgerState:
        try:
            state: LedgerState = self._ray.get(ledger.state.remote())
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, DeepscanError) else error
        except self._ray.exceptions.RayError as error:
            raise DeepscanError(
                f"the process that hands out the chunks ended: {error}", "the same command continues the run"
            )
        return state

    def _fill(self, state: LedgerState, run: Mapping[str, Any]) -> None:
        """Start workers on free places, as long as there are chunks for them."""
        opening = sum(not member.working for member in self._crew.members.values())
        for place in self._crew.places()[: max(0, state.waiting - opening)]:
            self._crew.start(place, run)

    def _settle(self, ending: Ending, ledger: Any, folder: RunFolder, driver: str) -> None:
        """Do what follows from a worker's reply."""
        member, crew = ending.member, self._crew
        if not member.working:
            if ending.kind == "done":
                member.working = True
                member.reply = member.handle.work.remote(folder.run, ledger, driver)
            else:
                crew.refuse(ending)
            return
        crew.dismiss(member)
        lost, died = ending.kind == "lost", ending.kind == "died"
        blamed = self._ray.get(ledger.release.remote(member.session, died, lost))
        if ending.kind == "done":
            return
        assert ending.error is not None
        self._listener.warned(f"{ending.error.message}; its chunks are scanned again")
        if not blamed:
            withdraw_session(folder.store, member.session)
        if ending.kind == "failed":
            self._count_error(ending.error, self._state(ledger))

    def _count_error(self, error: DeepscanError, state: LedgerState) -> None:
        """End the run if nothing but errors comes."""
        finished = sum(state.outcomes.values())
        self._errors = self._errors + 1 if finished == self._finished else 1
        self._finished = finished
        if self._errors >= MOST_ERRORS:
            raise error


class _Description:
    """Stands for the worker that describes a new run: the first machine that can scan.

    Args:
        crew: The workers.
        run: Description of the run in the folder, None for a new run. Every worker compares it itself.
    """

    def __init__(self, crew: Crew, run: Mapping[str, Any] | None) -> None:
        self._crew = crew
        self.run = {} if run is None else dict(run)

    def open(self) -> None:
        """Load the models on a machine; several are tried one after the other.

        Raises:
            DeepscanError: No machine can scan.
        """
        while not self.run:
            if not self._crew.members and (free := self._crew.places()):
                self._crew.start(free[0], None)
            for ending in self._crew.endings(TICK):
                if ending.kind == "done":
                    self.run = ending.value
                else:
                    self._crew.refuse(ending)
