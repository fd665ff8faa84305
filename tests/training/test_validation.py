"""Which crops are unseen in training, and mean votes."""

from pathlib import Path

import numpy as np

from deepscan.data.pictures import LabelledPicture
from deepscan.training.validation import SeenInTraining, mean_votes
from tests.training.conftest import crop_set


def _picture(label, split, origin="", method="", source="S"):
    return LabelledPicture(Path("a.jpg"), label, "g", split, source, "v", origin=origin, method=method)


def test_methods_and_origins_that_training_lacks_are_unseen():
    seen = SeenInTraining.of_pictures(
        [
            _picture(1, "train", "a", "old"),
            _picture(0, "train", "b", "none"),
            _picture(1, "val", "c", "new"),
            _picture(0, "train", source="DFDC"),
        ]
    )
    crops = crop_set(
        [1, 1, 1, 0, 0, 0, 0],
        methods=("old", "new", "none", *"----"),
        origins=("c", "a", "a", "a", "b", "c", "DFDC"),
    )
    # Fakes are compared by method, reals by origin; a training fake is enough to know an origin.
    assert seen.unseen(crops).tolist() == [False, True, True, False, False, True, False]


def test_a_vote_is_the_mean_of_a_group_and_label():
    votes = mean_votes(np.array([0, 1, 0, 1]), np.array([0.1, 0.8, 0.3, 0.9]), ["a", "a", "a", "b"])
    assert votes.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(votes.scores, [0.2, 0.8, 0.9])
    assert votes.groups == ("a", "a", "b")
