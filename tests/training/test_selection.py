"""The choice of the best epoch: the crops it uses, and the network that is returned."""

import dataclasses

import numpy as np
import pytest
import torch

from deepscan.errors import UsageError
from deepscan.training.batches import CropSource, halves
from deepscan.training.loop import train
from tests.training.conftest import CPU


@pytest.fixture
def filmed(crops):
    """Four crops per video and two videos per group, so that metrics of crops and videos differ."""
    videos = tuple(f"video-{row // 8}" for row in range(96))
    return dataclasses.replace(crops, videos=videos, groups=tuple(f"group-{row // 8}" for row in range(96)))


@pytest.mark.parametrize("frames", [0, 2])
def test_the_epoch_is_chosen_on_the_first_half_of_the_crops(recipe, filmed, tmp_path, monkeypatch, frames):
    short = dataclasses.replace(recipe, epochs=1, frames={"train": 0, "val": frames})
    calls, scores = [], CropSource.scores

    def spy(source, network, rows):
        calls.append(rows)
        return scores(source, network, rows)

    monkeypatch.setattr(CropSource, "scores", spy)
    train(short, filmed, tmp_path, processes=CPU)
    choosing, reported = halves(filmed, frames)
    (rows,) = calls
    assert rows[:, 0].tolist() == choosing.tolist()
    assert rows[:, 1].tolist() == filmed.labels[choosing].tolist()
    assert not set(rows[:, 0]) & set(reported)


@pytest.mark.parametrize(("select", "best"), [("auc", 1), ("video_auc", 2)])
def test_the_best_epochs_network_is_returned(recipe, filmed, tmp_path, monkeypatch, select, best):
    labels = filmed.labels[halves(filmed)[0]]
    fakes = np.flatnonzero(labels)
    # All crops wrong; all right except those of one video; all wrong except one crop of each fake video,
    # whose score is so high that the videos' means are right.
    outcomes = [1.0 - labels, np.where(labels, 1, 0.2), np.where(labels, 0, 0.2), 1.0 - labels]
    outcomes[1][fakes[:4]] = 0
    outcomes[2][fakes[::4]] = 1
    states = []

    def scores(source, network, rows):
        states.append({name: value.clone() for name, value in network.state_dict().items()})
        return outcomes[len(states) - 1]

    monkeypatch.setattr(CropSource, "scores", scores)
    chosen = dataclasses.replace(recipe, epochs=4, select=select, frames={"train": 0, "val": 0})
    network, progress = train(chosen, filmed, tmp_path, processes=CPU)
    auc = (len(fakes) - 4) / len(fakes)
    assert [row["auc"] for row in progress.history] == pytest.approx([0, auc, 0.25, 0])
    assert [row["video_auc"] for row in progress.history] == pytest.approx([0, auc, 1, 0])
    assert progress.best == progress.history[best][select]
    same = [
        all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
        for state in states
    ]
    assert same == [epoch == best for epoch in range(4)]


def test_figure_u_can_choose_the_epoch(recipe, filmed, tmp_path, monkeypatch):
    choosing, _ = halves(filmed)
    groups = sorted({filmed.groups[row] for row in choosing})
    # Only the first group has a method and an origin that are not in training.
    new = [
        name == groups[0] and split == "val" for name, split in zip(filmed.groups, filmed.splits, strict=True)
    ]
    known = dataclasses.replace(
        filmed,
        methods=tuple("new" if unseen else "old" for unseen in new),
        origins=tuple("there" if unseen else "here" for unseen in new),
    )
    labels = filmed.labels[choosing]
    inside = np.array(new)[choosing]
    outcomes = [np.where(inside, labels, 1 - labels), np.where(inside, 1 - labels, labels)]
    monkeypatch.setattr(CropSource, "scores", lambda source, network, rows: outcomes.pop(0).astype(float))
    chosen = dataclasses.replace(recipe, epochs=2, select="unseen_auc", frames={"train": 0, "val": 0})
    _, progress = train(chosen, known, tmp_path, processes=CPU)
    assert [row["unseen_auc"] for row in progress.history] == [1, 0]
    assert progress.best == 1


def test_figure_u_cannot_choose_if_nothing_is_unseen(recipe, filmed, tmp_path):
    chosen = dataclasses.replace(recipe, epochs=1, select="unseen_auc")
    with pytest.raises(UsageError, match="unseen_auc"):
        train(chosen, filmed, tmp_path, processes=CPU)
