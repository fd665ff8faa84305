"""What an actor that scores faces checks; no cluster is needed."""

from dataclasses import replace

import numpy as np
import pytest

from deepscan.cluster.scoring import ScoringActor, start_scoring
from deepscan.errors import ContractError, UsageError
from deepscan.scanning.loading import load_scorer
from deepscan.scanning.options import ScanOptions

OPTIONS = ScanOptions(model="convnet", device="cpu")


def test_an_actor_scores_with_the_model_of_the_run_only():
    scorer, actor = load_scorer(OPTIONS), ScoringActor(OPTIONS, None)
    side = scorer.recipe.input_side
    crops = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    assert np.array_equal(actor.score(scorer.facts, crops), scorer.score(crops))
    assert np.array_equal(actor.explain(scorer.facts, crops)[0], scorer.score(crops))
    for other in (replace(scorer.facts, sha256="0" * 64), replace(scorer.facts, name="other")):
        with pytest.raises(ContractError, match=f"another model '{other.name}' than the run"):
            actor.score(other, crops)


def test_a_scan_without_a_model_has_nothing_to_split():
    with pytest.raises(UsageError, match="--stages split needs a model"):
        start_scoring(None, ScanOptions(model="none"), None)
