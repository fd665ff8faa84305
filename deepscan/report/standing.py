"""Check whether records are unchanged since their run, and which of them contradict their own frames."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from deepscan.scanning import runfile
from deepscan.scanning.recomputation import JudgingRules, differences
from deepscan.scanning.record_source import ScanRecords
from deepscan.scanning.summary import VERDICT_LABELS

#: `whole`: the records match the hash recorded by the run; `changed`: they do not; `open`: the run has
#: recorded no hash, because it has not ended or is of an earlier version; `unknown`: the run's file is
#: missing.
StandingKind = Literal["whole", "changed", "open", "unknown"]
_MALFORMED = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether the records are unchanged since the run.

    Attributes:
        kind: See `StandingKind`.
        found: Current SHA-256 of the records.
        recorded: SHA-256 in the run's file, empty if there is none.
        rules: Rules for recomputing scores and verdicts, None if the hash matches.
        run_changed: Whether the run's file was changed since.
    """

    kind: StandingKind
    found: str
    recorded: str = ""
    rules: JudgingRules | None = field(default=None, repr=False)
    run_changed: bool = False

    @property
    def alarm(self) -> str:
        """What was changed since the scan, as text; empty if no hash shows a change."""
        changed = ["the records"] * (self.kind == "changed") + ["the run's file"] * self.run_changed
        verb = "were" if self.kind == "changed" else "was"
        return f"{' and '.join(changed)} {verb} changed after the scan" if changed else ""

    def doubts(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """Return how a record contradicts its own frames, as text; empty if the hash matches.

        Args:
            record: A parsed line of the journal.
        """
        if self.rules is None:
            return ()
        try:
            found = {difference.place: difference for difference in differences(record, self.rules)}
        except _MALFORMED:
            return ("its score and verdict cannot be recomputed from its own frames",)
        doubts = []
        if "verdict" in found:
            recorded, computed = found["verdict"].recorded, found["verdict"].computed
            doubts.append(f"the record says {_label(recorded)}, its own frames give {_label(computed)}")
        if "score" in found:
            score = found["score"]
            doubts.append(f"the record has a score of {score.recorded}, its own frames give {score.computed}")
        if not doubts and found:
            doubts.append(f"{len(found)} of its values differ from what its own frames give")
        return tuple(doubts)


def read_standing(records: ScanRecords) -> Standing:
    """Check whether records are unchanged since their run, by the hash in the run's description.

    Args:
        records: The records.

    Raises:
        ContractError: The description of the run cannot be read.
    """
    found = records.sha256()
    run = records.run()
    if run is None:
        return Standing("unknown", found)
    recorded, run_changed = (run.get("records") or {}).get("sha256", ""), not runfile.is_unchanged(run)
    if recorded == found:
        return Standing("whole", found, recorded, run_changed=run_changed)
    try:
        rules = JudgingRules.of_run(run)
    except _MALFORMED:
        rules = None
    return Standing("changed" if recorded else "open", found, recorded, rules, run_changed)


def _label(verdict: str | None) -> str:
    return VERDICT_LABELS.get(verdict or "", "") or "no verdict"
