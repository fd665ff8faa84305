"""An engine on a card, as the tests of every engine open it."""

import numpy as np
import torch

from deepscan.engines import ENGINES
from tests.tiny import pictures


def engine(card, name, **asked):
    """Return an engine; where nothing else is asked for on a CPU, with one thread, in float32."""
    return ENGINES.get(name)(card, **{"device": "cpu", "precision": "auto", "threads": 1, **asked})


def gives_what_the_network_gives(running, published, count, atol=5e-5):
    """Check every output of an engine on so many crops against torch's."""
    crops = pictures(count, published.network.side, seed=count)
    with torch.no_grad():
        expected = published.network.predict(**published.given(crops))
    found = running.run(published.inputs(crops))
    assert list(found) == list(expected)
    for output, value in found.items():
        # Folded, and summed in another order, in float32; the export's own gate is 1e-3.
        np.testing.assert_allclose(value, expected[output].numpy(), atol=atol, err_msg=output)
    return expected
