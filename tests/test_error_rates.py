"""Error rates: counted from verdicts, stored in cards, and as text."""

from dataclasses import replace

import numpy as np
import pytest

from deepscan.calibration import count_verdicts
from deepscan.cards import Calibration, read_card, write_card
from deepscan.error_rates import ErrorRates
from deepscan.models.lookup import installed_models, load_card
from tests import toy

CALIBRATION = Calibration("frame", "hand-made", 10, "by hand", 1.0, no_evidence=0.3, fake=0.7)


def test_verdicts_are_counted_as_in_a_scan():
    labels, raw = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0.71, 0.31, 0.1, 0.9, 0.69, 0.29, 0.31])
    found = count_verdicts(labels, raw, CALIBRATION, level="frame", data="d")
    assert (found.reals, found.reals_called_fake, found.reals_no_evidence) == (3, 1, 1)
    assert (found.fakes, found.fakes_called_fake, found.fakes_no_evidence) == (4, 1, 1)
    assert found.summary == (
        "1 of 3 real faces and 1 of 4 fake ones were called fake, "
        "and 1 of the fake ones got the verdict 'no evidence'"
    )
    assert replace(found, fakes_no_evidence=0).summary.endswith(
        "and none of the fake ones got the verdict 'no evidence'"
    )


def test_a_card_stores_them(tmp_path):
    card = read_card(toy.model(tmp_path / "toy"))
    rates = (ErrorRates("clips", "video", 9, 1, 8, 4, 2), ErrorRates("others", "video", 9, 1, 8, 4, 2, 3))
    write_card(replace(card, error_rates=rates))
    assert read_card(card.folder).error_rates == rates


def test_every_embedded_detector_has_error_rates():
    cards = [load_card(folder.name) for folder in installed_models()]
    assert all(card.error_rates for card in cards if card.calibration and card.method not in ("mtcnn",))


@pytest.mark.parametrize("wrong", [{"level": "clip"}, {"reals_called_fake": 10}, {"fakes_no_evidence": -1}])
def test_inconsistent_counts_are_rejected(wrong):
    with pytest.raises(ValueError):
        replace(ErrorRates("clips", "video", 9, 1, 8, 4, 2), **wrong)
