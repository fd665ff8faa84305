"""Figure U: what counts as unseen, how votes are made, and which shares are told."""

from pathlib import Path

import numpy as np
import pytest

from deepscan.cards import Calibration
from deepscan.data.crops.crop_cache import CropSet
from deepscan.data.pictures import LabelledPicture
from deepscan.evaluation.unseen import auc_of_votes, by_origin, verdict_shares
from deepscan.training.validation import GroupVotes, SeenInTraining, mean_votes

#: Scores are calibrated as they are; fake from 0.8, no_evidence below 0.2.
CALIBRATION = Calibration("video", "data", 10, "rule", 1.0, 0.2, 0.8)


def _crops(labels, methods, origins):
    count = len(labels)
    return CropSet(
        np.zeros((count, 4, 4, 3), np.uint8),
        np.array(labels),
        tuple(map(str, range(count))),
        tuple(map(str, range(count))),
        ("val",) * count,
        0,
        "",
        methods=tuple(methods),
        origins=tuple(origins),
    )


def _picture(label, split, origin="", method="", source="S"):
    return LabelledPicture(Path("a.jpg"), label, "g", split, source, "v", origin=origin, method=method)


def test_what_no_row_of_train_has_is_unseen():
    seen = SeenInTraining.of(
        [
            _picture(1, "train", "a", "old"),
            _picture(0, "train", "b", "none"),
            _picture(1, "val", "c", "new"),
            _picture(0, "train", source="DFDC"),
        ]
    )
    crops = _crops(
        [1, 1, 1, 0, 0, 0, 0], ["old", "new", "none", *"----"], ["c", "a", "a", "a", "b", "c", "DFDC"]
    )
    # A fake counts by its method, a real by its origin, from which a fake is enough to know it.
    assert seen.unseen(crops).tolist() == [False, True, True, False, False, True, False]


def test_a_vote_is_the_mean_of_a_group_and_label():
    voted = mean_votes(np.array([0, 1, 0, 1]), np.array([0.1, 0.8, 0.3, 0.9]), ["a", "a", "a", "b"])
    assert voted.labels.tolist() == [0, 1, 1]
    np.testing.assert_allclose(voted.scores, [0.2, 0.8, 0.9])
    assert voted.groups == ("a", "a", "b")


def test_a_group_of_many_crops_counts_once():
    labels = np.array([1] * 9 + [1, 0])
    voted = mean_votes(labels, np.array([0.1] * 9 + [0.9, 0.5]), ["many"] * 9 + ["one", "real"])
    found = auc_of_votes(voted)
    assert found.value == 0.5
    assert (found.n, found.groups) == (3, 3)


def test_the_interval_is_by_group():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 40)
    scores = np.clip(labels * 0.3 + rng.uniform(0, 0.7, 80), 0, 1)
    alone = auc_of_votes(GroupVotes(labels, scores, tuple(map(str, range(80)))))
    together = auc_of_votes(GroupVotes(labels, scores, tuple(str(at // 20) for at in range(80))))
    assert alone.value == together.value
    assert alone.interval.low < alone.value < alone.interval.high
    assert alone.interval != together.interval


def test_shares_are_of_each_label_at_the_thresholds():
    voted = GroupVotes(
        np.array([0, 0, 0, 0, 1, 1, 1]), np.array([0.1, 0.5, 0.79, 0.8, 0.1, 0.5, 0.9]), ("g",) * 7
    )
    shares = verdict_shares(voted, CALIBRATION)
    assert shares["real_fake"] == pytest.approx(1 / 4)
    assert shares["fake_fake"] == pytest.approx(1 / 3)
    assert shares["fake_no_evidence"] == pytest.approx(1 / 3)


def test_a_label_without_votes_has_no_share():
    shares = verdict_shares(GroupVotes(np.array([0]), np.array([0.9]), ("g",)), CALIBRATION)
    assert shares["real_fake"] == 1
    assert np.isnan(shares["fake_fake"])


def test_origins_of_few_crops_are_left_out():
    crops = _crops([0] * 5, [""] * 5, "aaabb")
    scores = np.array([0.9, 0.1, 0.1, 0.9, 0.9])
    found = by_origin(crops, scores, CALIBRATION, np.arange(5), least=3)
    assert set(found) == {"a"}
    assert found["a"]["crops"] == 3
    assert found["a"]["real_fake"] == pytest.approx(1 / 3)
    assert set(by_origin(crops, scores, CALIBRATION, np.array([1, 3, 4]), least=2)) == {"b"}
