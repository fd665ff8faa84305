"""Score faces on other machines than those that find them: `--stages split`.

Workers decode, find faces and cut them out on CPUs. Each batch of crops goes to an actor with a GPU, and its
scores come back, while the worker finds the next faces. A crop of 224 pixels has 150 kB, a frame in HD 6 MB.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard
from deepscan.cluster.connection import WORKER_ENVIRONMENT, import_ray
from deepscan.crop_recipe import CropRecipe
from deepscan.engines.explanation import Explanation
from deepscan.engines.scorer import ModelFacts, Scorer
from deepscan.errors import ContractError, DeepscanError, UsageError
from deepscan.faces.face_filter import FaceFilter
from deepscan.faces.finder import open_finder
from deepscan.faces.looks import Looks
from deepscan.models.choice import NO_MODEL, Choice
from deepscan.scanning.loading import LoadedModels, load_scorers, with_model
from deepscan.scanning.options import ScanOptions

#: How often Ray restarts an actor whose process or machine has ended, and repeats what it was asked.
RESTARTS = 10
#: Seconds that an actor may take to get its GPU and load the models.
_START = 900.0
#: Seconds between two looks whether they have.
_LOOK = 0.5


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """What a worker knows of a model that is loaded elsewhere.

    Attributes:
        card: The model.
        recipe: How faces are cut out for it.
        batch: Best batch size.
        facts: What records need to know about it.
        engine: The engine's entry in the run's record.
        explanation_names: Names of its explanation outputs.
    """

    card: ModelCard
    recipe: CropRecipe
    batch: int
    facts: ModelFacts
    engine: Mapping[str, Any]
    explanation_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoteModels:
    """The models of a scoring actor.

    Attributes:
        options: The scan's parameters, with the chosen model.
        choice: Why this model was chosen, None if it was named.
        models: The models.
        node: Ray's identifier of its machine.
    """

    options: ScanOptions
    choice: Choice | None
    models: tuple[RemoteModel, ...]
    node: str


@dataclass(frozen=True, slots=True)
class Scoring:
    """A scoring actor.

    Attributes:
        actor: Its handle.
        known: What workers need to know of its models.
    """

    actor: Any
    known: RemoteModels


class ScoringActor:
    """Holds the models of a scan, and scores crops.

    Args:
        options: The scan's parameters.
        run: Description of the run to continue, None for a new one.
    """

    def __init__(self, options: ScanOptions, run: Mapping[str, Any] | None) -> None:
        self._options, self._choice = with_model(options, run)
        self._scorers = {scorer.card.name: scorer for scorer in load_scorers(self._options)}

    def models(self) -> RemoteModels:
        """Return what workers need to know."""
        models = tuple(
            RemoteModel(
                scorer.card,
                scorer.recipe,
                scorer.batch,
                scorer.facts,
                dict(scorer.describe()),
                scorer.explanation_names,
            )
            for scorer in self._scorers.values()
        )
        node = import_ray().get_runtime_context().get_node_id()
        return RemoteModels(self._options, self._choice, models, node)

    def score(self, model: ModelFacts, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Scorer.score`."""
        return self._scorer(model).score(crops)

    def explain(
        self, model: ModelFacts, crops: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], list[Explanation]]:
        """See `Scorer.explain`."""
        return self._scorer(model).explain(crops)

    def _scorer(self, model: ModelFacts) -> Scorer:
        """Return a model. This actor may have been restarted on another machine, with other models."""
        found = self._scorers.get(model.name)
        if found is None or found.facts != model:
            raise ContractError(
                f"a machine that scores faces has another model {model.name!r} than the run",
                "use the same version and the same models on all machines",
            )
        return found


class RemoteScorer(Scorer):
    """A model that a scoring actor has loaded.

    Args:
        model: The model.
        actor: Handle of the `ScoringActor`.
    """

    def __init__(self, model: RemoteModel, actor: Any) -> None:
        self.card, self.recipe, self.batch = model.card, model.recipe, model.batch
        self.explanation_names = model.explanation_names
        self._model, self._actor, self._ray = model, actor, import_ray()

    @property
    def facts(self) -> ModelFacts:
        """What records need to know about the model."""
        return self._model.facts

    def describe(self) -> Mapping[str, Any]:
        """Return the engine's entry in the run's record."""
        return self._model.engine

    def score(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the scores of crops, as `Scorer.score` does.

        Raises:
            DeepscanError: No machine is left that can score.
        """
        scores: NDArray[np.float32] = self._asked(self._actor.score.remote(self.facts, crops))
        return scores

    def explain(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], list[Explanation]]:
        """Return the scores of crops and what they are based on, as `Scorer.explain` does.

        Raises:
            DeepscanError: No machine is left that can score.
        """
        explained: tuple[NDArray[np.float32], list[Explanation]] = self._asked(
            self._actor.explain.remote(self.facts, crops)
        )
        return explained

    def _asked(self, reply: Any) -> Any:
        """Return a reply. An error of the model is raised as if it ran here, so that batches shrink."""
        try:
            return self._ray.get(reply)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error
        except self._ray.exceptions.RayError as error:
            # Of this kind, so that it ends the worker: else every video would get the status `error`.
            raise DeepscanError(
                f"the actor that scores faces has ended: {type(error).__name__}",
                "see Ray's logs; the same command continues the run",
            )


def load_remote(
    scoring: Scoring, options: ScanOptions, run: Mapping[str, Any] | None, *, threads: int | None = None
) -> LoadedModels:
    """Return what a worker needs whose faces are scored elsewhere; see `load_models`.

    Args:
        scoring: The scoring actor. The model is the one that it has chosen, for its machine.
        options: The scan's parameters.
        run: The record of the run.
        threads: Threads of each session.
    """
    chosen, choice = scoring.known.options, scoring.known.choice
    finder = open_finder(options.faces, device=options.faces_device, threads=threads)
    scorers = tuple(RemoteScorer(model, scoring.actor) for model in scoring.known.models)
    return LoadedModels(chosen, choice, scorers, finder, FaceFilter(), Looks())


def start_scoring(
    ray: Any,
    options: ScanOptions,
    run: Mapping[str, Any] | None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Scoring, ...]:
    """Start an actor for each GPU of the cluster, or a single one on CPUs.

    Args:
        ray: The module, connected to a cluster.
        options: The scan's parameters.
        run: Description of the run to continue, None for a new one.
        check: Called often; may raise what ends the run.

    Raises:
        UsageError: There is nothing to score.
        DeepscanError: An actor cannot load the models.
    """
    if options.model == NO_MODEL:
        raise UsageError("--stages split needs a model", "leave --stages out with --model none")
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = 0 if options.device == "cpu" else sum(int(each.get("GPU", 0)) for each in alive)
    actors = [
        ray.remote(ScoringActor)
        .options(
            num_cpus=1,
            num_gpus=1 if gpus else 0,
            # Scoring has no state, so Ray may repeat it anywhere.
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
            scheduling_strategy="SPREAD",
            runtime_env=WORKER_ENVIRONMENT,
        )
        .remote(options, run)
        for _ in range(max(1, gpus))
    ]
    try:
        replies, late = [actor.models.remote() for actor in actors], time.monotonic() + _START
        while ray.wait(replies, num_returns=len(replies), timeout=_LOOK)[1] and time.monotonic() < late:
            check()
        known = ray.get(replies, timeout=0)
        return tuple(Scoring(actor, each) for actor, each in zip(actors, known, strict=True))
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        raise (
            cause
            if isinstance(cause, DeepscanError)
            else DeepscanError(f"the actors that score faces could not start: {error}", "see Ray's logs")
        )


def reserved(scoring: Sequence[Scoring]) -> Mapping[str, int]:
    """Return machine -> number of CPUs that scoring actors use on it."""
    nodes = [each.known.node for each in scoring]
    return {node: nodes.count(node) for node in nodes}
