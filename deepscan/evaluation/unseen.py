"""Figure U: how well fakes of unseen methods are told from reals of unseen origins."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.data.crops.crop_cache import CropSet
from deepscan.detectors.detector import FAKE, REAL
from deepscan.evaluation.measurements import Measurement, measure_all
from deepscan.metrics.binary import METRICS
from deepscan.training.validation import GroupVotes

_AUC = {"auc": METRICS["auc"]}


def auc_of_votes(voted: GroupVotes) -> Measurement:
    """Return the AUC of votes, its interval by group."""
    return measure_all(voted.labels, voted.scores, voted.groups, measures=_AUC)[0]


def verdict_shares(voted: GroupVotes, calibration: Calibration) -> dict[str, float]:
    """Return shares of votes by verdict: `real_fake`, `fake_fake`, `fake_no_evidence`; NaN for no votes.

    Args:
        voted: The votes, of raw scores.
        calibration: Calibrates them, and has the thresholds of `fake` and `no_evidence`.
    """
    calibrated = calibrate(voted.scores, calibration)
    called = calibrated >= calibration.fake
    cleared = calibrated < calibration.no_evidence
    real, fake = voted.labels == REAL, voted.labels == FAKE
    return {
        "real_fake": _share(called[real]),
        "fake_fake": _share(called[fake]),
        "fake_no_evidence": _share(cleared[fake]),
    }


def _share(which: NDArray[np.bool_]) -> float:
    return float(which.mean()) if len(which) else float("nan")


def by_origin(
    crops: CropSet,
    scores: NDArray[np.float64],
    calibration: Calibration,
    which: NDArray[np.int64],
    least: int = 20,
) -> Mapping[str, dict[str, float]]:
    """Return the verdict shares of single crops for each origin that has enough of them, by its name.

    Args:
        crops: The crops.
        scores: Probability of fake, shape (N,).
        calibration: As `verdict_shares` takes it.
        which: Positions of the crops to look at.
        least: Origins of fewer crops are left out.
    """
    origins = np.array(crops.origins)
    found = {}
    for name in np.unique(origins[which]).tolist():
        rows = which[origins[which] == name]
        if len(rows) >= least:
            alone = GroupVotes(crops.labels[rows], scores[rows], tuple(map(str, rows)))
            found[name] = {"crops": float(len(rows)), **verdict_shares(alone, calibration)}
    return found
