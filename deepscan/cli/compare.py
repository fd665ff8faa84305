"""`deepscan compare`: whether one detector ranks videos better than another."""

from pathlib import Path
from typing import Annotated

import typer

from deepscan.cli.streams import print_line


def compare(
    first: Annotated[
        Path,
        typer.Argument(
            metavar="A", help="CSV with the columns video, label, score; optional: group, dataset."
        ),
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same for the other detector.")],
) -> None:
    """Compare the AUC of two detectors on the videos that both scored.

    Uses DeLong's test and, if videos have groups, a bootstrap over groups.

    Examples:
      deepscan compare ours.csv theirs.csv
    """
    from deepscan.evaluation.comparison import compare as compare_scores
    from deepscan.evaluation.scores import read_scores

    found = compare_scores(read_scores(first), read_scores(second))
    test, difference = found.test, found.test.difference
    print_line(f"{first}: AUC {test.first:.4f}")
    print_line(f"{second}: AUC {test.second:.4f}")
    p = "" if test.p is None else f", p {test.p:.3g} (DeLong)"
    print_line(f"difference {difference.value:+.4f}, 95 % {difference.low:+.4f} to {difference.high:+.4f}{p}")
    if found.resampled is not None:
        low, high = found.resampled.low, found.resampled.high
        print_line(f"resampled by group: {low:+.4f} to {high:+.4f} ({found.groups} groups)")
    print_line(f"on {found.fakes} fake and {found.reals} real videos that both scored")
    for path, alone, unscored in (
        (first, found.only_first, found.unscored_first),
        (second, found.only_second, found.unscored_second),
    ):
        if alone or unscored:
            print_line(
                f"{path}: {alone} videos are not in the other file, {unscored} are in both but have no score"
            )
