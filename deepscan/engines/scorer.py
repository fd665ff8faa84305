"""Score aligned crops with a model: its preprocessing and its engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import Calibration, ModelCard
from deepscan.crop_recipe import CropRecipe
from deepscan.detectors.preprocess import make_preprocessor
from deepscan.devices import resolve
from deepscan.engines import ENGINES
from deepscan.engines.engine import Engine
from deepscan.engines.explanation import Explanation, RawExplanation, check_explanation, explanations
from deepscan.engines.golden import golden_crops
from deepscan.engines.selection import select_engine, select_precision
from deepscan.errors import ContractError, DeepscanError, MissingError
from deepscan.logs import get_logger

LOG = get_logger(__name__)
#: Device -> best batch size. On a CPU a larger batch does not fit its caches: with 32 a scan of a folder with
#: the embedded model takes 5 % longer than with 8.
BATCH_SIZES = {"cpu": 8, "cuda": 32}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What records and verdicts need to know about a model, which need not be loaded where they are made.

    Attributes:
        name: Name of the model.
        method: Method of the model, such as `corit`.
        sha256: SHA-256 of the file with its weights.
        engine: What runs it.
        device: `cpu` or `cuda`.
        precision: Precision in which it runs.
        recipe: How faces are cut out for it.
        calibration: Calibration, None if it has none; its verdicts are then always inconclusive.
        results: Measurements from its card, which decide whether it has a vote among other models.
    """

    name: str
    method: str
    sha256: str
    engine: str
    device: str
    precision: str
    recipe: CropRecipe
    calibration: Calibration | None = None
    results: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the model's entry in every record."""
        names = ("name", "method", "sha256", "engine", "device", "precision")
        return {name: getattr(self, name) for name in names}


class Scorer:
    """A loaded model that scores crops; its golden score is checked on creation.

    Args:
        card: The model, with a crop recipe.
        engine: Name of an engine, or `auto` for the first one that the model has a file for in the requested
            precision.
        device: `auto`, `cpu` or `cuda`.
        precision: `auto` to let `engines.selection` choose, or one that the engine supports.
        threads: Threads of one run, None for one per core.

    Attributes:
        chosen: Why `auto` chose the precision; empty if one was named.
        explanation_names: Names of the model's explanation outputs.
        batch: Best batch size.

    Raises:
        ContractError: The engine's score for the golden input differs from the card's.
        MissingError: The engine, its device or the model's file is missing.
        UsageError: The model is not a detector, or the engine does not support the device or precision.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        engine: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.card = card
        self.recipe = card.face_crop
        self._preprocess = make_preprocessor(card.inputs, self.recipe, card.mean, card.std)
        name = select_engine(card, engine, precision) or _fallback(card, engine)
        self.chosen = ""
        if precision == "auto":
            precision, self.chosen = select_precision(card, name, resolve(device))
        self.engine: Engine = ENGINES.get(name)(card, device=device, precision=precision, threads=threads)
        self.explanation_names = tuple(self._check_golden())
        self.batch = BATCH_SIZES[self.engine.device]
        LOG.info(
            "running model %r (%s) with engine %s on %s in %s (%s)%s%s",
            card.name,
            card.method,
            self.engine.name,
            self.engine.device,
            self.engine.precision,
            ", ".join(self.engine.providers),
            f"; precision: {self.chosen}" if self.chosen else "",
            f"; device: {self.engine.note}" if self.engine.note else "",
        )

    def score(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probability of fake of each crop.

        Args:
            crops: RGB, shape (n, side, side, 3), uint8, cut by the card's recipe.

        Returns:
            Raw scores, shape (n,), float32, in [0, 1]; NaN if the network's output is not finite.
        """
        return self._run(crops)[0]

    def explain(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], list[Explanation]]:
        """Return the probability of fake of each crop, as `score` does, and its explanation.

        Args:
            crops: See `score`.

        Raises:
            ContractError: The model's explanation is neither numbers nor maps.
        """
        scores, explanation = self._run(crops)
        check_explanation(explanation, len(crops))
        return scores, explanations(explanation, len(crops))

    def _run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], RawExplanation]:
        views = [self.engine.run(self._preprocess(crops, view)) for view in range(self._preprocess.views)]
        means = {name: np.mean([view[name] for view in views], axis=0) for name in views[0]}
        return means.pop("probability"), means

    @property
    def facts(self) -> ModelFacts:
        """What records need to know about the model; can be pickled."""
        card, engine = self.card, self.engine
        return ModelFacts(
            card.name,
            card.method,
            card.files[engine.file].sha256,
            engine.name,
            engine.device,
            engine.precision,
            self.recipe,
            card.calibration,
            card.results,
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the engine's entry in the run's record."""
        return {
            "name": self.engine.name,
            "device": self.engine.device,
            "precision": self.engine.precision,
            "chosen": self.chosen,
            "providers": list(self.engine.providers),
            "details": {**self.engine.describe(), "note": self.engine.note},
        }

    def _check_golden(self) -> RawExplanation:
        crops = golden_crops(self.recipe.input_side)
        try:
            scores, explanation = self._run(crops)
            actual = float(scores.mean())
        except DeepscanError:
            raise
        except Exception as error:
            raise ContractError(
                f"model {self.card.name!r} fails on crops as described by its card: {error}",
                "restore the model's folder, or export it again",
            )
        if self.card.golden is None:
            return explanation
        own = self.card.files[self.engine.file].golden
        expected = self.card.golden.score if own is None else own
        # Half precision has three decimal digits of a logit, and 8 bits round in every layer. The export's
        # parity check is stricter.
        tolerance = self.card.golden.tolerance if self.engine.precision == "fp32" else 2e-2
        if not abs(actual - expected) <= tolerance:
            raise ContractError(
                f"model {self.card.name!r} scores its golden input {actual:.5f}, but its card says "
                f"{expected:.5f}",
                f"the {self.engine.name} engine computes differently here: try another --engine or --device",
            )
        return explanation


def _fallback(card: ModelCard, engine: str) -> str:
    """Return an engine whose own error says why it cannot run the model in the requested precision."""
    name = select_engine(card) if engine == "auto" else engine
    if name is None:
        raise MissingError(f"model {card.name!r} has no file that an engine can run", "use another model")
    return name
