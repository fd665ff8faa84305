"""`deepscan compare` as a user runs it."""

import numpy as np

from deepscan.errors import ExitCode
from tests.command import deepscan


def test_two_files_are_compared_on_their_common_videos(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    for name, noise in (("a", 0.1), ("b", 2.0)):
        scores = 1 / (1 + np.exp(-(labels - 0.5 + noise * rng.normal(size=60))))
        lines = [
            f"v{at},{label},{score:.5f}" for at, (label, score) in enumerate(zip(labels, scores, strict=True))
        ]
        (tmp_path / f"{name}.csv").write_text(
            "\n".join(["video,label,score", *lines[: 60 - 2 * (name == "b")]]) + "\n"
        )
    ran = deepscan("compare", "a.csv", "b.csv", cwd=tmp_path)
    assert ran.code == 0, ran.err
    first, second, difference, *rest = ran.out.splitlines()
    assert first == "a.csv: AUC 1.0000"
    auc = float(second.removeprefix("b.csv: AUC "))
    assert difference.startswith(f"difference {1 - auc:+.4f}, 95 % ")
    assert difference.endswith("(DeLong)")
    assert "on 29 fake and 29 real videos that both scored" in rest
    assert "a.csv: 2 videos are not in the other file, 0 are in both but have no score" in rest


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    error, hint = deepscan("compare", "a.csv", "b.csv", cwd=tmp_path).refused(ExitCode.USAGE)
    assert "a.csv cannot be read" in error
    assert "CSV file of scores" in hint
