"""Test that files of many rows are read and written in a time and a memory that grow with the rows only."""

import tracemalloc

import numpy as np
import pytest

from deepscan.evaluation.scores import TEXTS, Column, Scores, by_video, read_scores, write_scores


@pytest.mark.parametrize("rows", [20_000, pytest.param(1_000_000, marks=pytest.mark.exhaustive)])
def test_many_frames_come_back_and_take_little_memory(tmp_path, rows):
    rng = np.random.default_rng(0)
    texts = dict.fromkeys(TEXTS, Column.constant("", rows))
    texts["video"] = Column.of([f"video-{row // 32}" for row in range(rows)])
    texts["frame"] = Column.of([str(row % 32) for row in range(rows)])
    labels = np.arange(rows) // 32 % 2
    made = Scores(labels, rng.uniform(size=rows), np.ones(rows, np.int64), **texts)
    write_scores(tmp_path / "frames.csv", made)
    tracemalloc.start()
    read = read_scores(tmp_path / "frames.csv")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(read.scores, made.scores)
    # Three columns of numbers, the codes of two of text, and copies while they are built.
    assert most < 200 * rows + 10_000_000
    videos = by_video(read)
    assert len(videos) == -(-rows // 32)
    np.testing.assert_allclose(videos.scores[0], made.scores[:32].mean())
