"""Whether records are as their run left them, and which of them say what their own frames do not give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deepscan.cards import sha256_of
from deepscan.scanning import runfile
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.recomputation import JudgingRules, differences
from deepscan.scanning.summary import VERDICT_LABELS

#: `whole`: the hash that the run stated holds; `changed`: it does not; `open`: the run has stated none, as it
#: has not ended, or is of an earlier version; `unknown`: the run's file is not there.
StandingKind = Literal["whole", "changed", "open", "unknown"]
_ODD = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether the records are what the run left.

    Attributes:
        kind: See `StandingKind`.
        found: SHA-256 of the records as they are now.
        stated: The one in the run's file, empty where it states none.
        rules: What scores and verdicts are computed with once more; None where the hash holds.
        run_changed: Whether the run's file is not what it says that it was.
    """

    kind: StandingKind
    found: str
    stated: str = ""
    rules: JudgingRules | None = field(default=None, repr=False)
    run_changed: bool = False

    @property
    def alarm(self) -> str:
        """What was changed since the scan, in words; empty where no hash says so."""
        what = ["the records"] * (self.kind == "changed") + ["the run's file"] * self.run_changed
        verb = "were" if self.kind == "changed" else "was"
        return f"{' and '.join(what)} {verb} changed after the scan" if what else ""

    def doubts(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what of a record is not what its own frames give, in words; nothing where the hash holds.

        Args:
            record: A parsed line of the journal.
        """
        if self.rules is None:
            return ()
        try:
            odd = {each.what: each for each in differences(record, self.rules)}
        except _ODD:
            return ("what it says cannot be computed from its own frames",)
        said = []
        if "verdict" in odd:
            stated, computed = odd["verdict"].stated, odd["verdict"].computed
            said.append(f"the record says {_word(stated)}, its own frames give {_word(computed)}")
        if "score" in odd:
            score = odd["score"]
            said.append(f"the record says a score of {score.stated}, its own frames give {score.computed}")
        if not said and odd:
            said.append(f"{len(odd)} of its figures are not what its own frames give")
        return tuple(said)


def read_standing(records: Path) -> Standing:
    """Return whether records are as their run left them, by the hash in `*.run.json` beside them.

    Args:
        records: The journal.

    Raises:
        ContractError: The run's file cannot be read.
    """
    path = ScanOutput(records).run
    found = sha256_of(records)
    if not path.exists():
        return Standing("unknown", found)
    run = runfile.read(path)
    stated, run_changed = (run.get("records") or {}).get("sha256", ""), not runfile.is_unchanged(run)
    if stated == found:
        return Standing("whole", found, stated, run_changed=run_changed)
    try:
        rules = JudgingRules.of_run(run)
    except _ODD:
        rules = None
    return Standing("changed" if stated else "open", found, stated, rules, run_changed)


def _word(verdict: str | None) -> str:
    return VERDICT_LABELS.get(verdict or "", "") or "no verdict"
