"""Open an engine on a card and compare it with torch."""

import numpy as np
import torch

from deepscan.engines import ENGINES
from tests.tiny import pictures


def engine(card, name, **options):
    """Return an engine; by default on a CPU with one thread in float32."""
    return ENGINES.get(name)(card, **{"device": "cpu", "precision": "auto", "threads": 1, **options})


def assert_matches_torch(running, published, count, atol=5e-5):
    """Compare every output of an engine for `count` crops with torch's."""
    crops = pictures(count, published.network.side, seed=count)
    with torch.no_grad():
        expected = published.network.predict(**published.given(crops))
    outputs = running.run(published.inputs(crops))
    assert list(outputs) == list(expected)
    for output, value in outputs.items():
        # Folded norms and another order of float32 sums; the export's own tolerance is 1e-3.
        np.testing.assert_allclose(value, expected[output].numpy(), atol=atol, err_msg=output)
    return expected
