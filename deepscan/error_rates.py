"""How often a model's verdicts were wrong on labelled data, as recorded in its card."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Counts of a model's verdicts on labelled samples, at the thresholds of its card.

    Attributes:
        data: Description of the samples that fits after "on", such as `clips made by the authors`.
        level: Kind of sample: `frame` or `video`.
        reals: Number of real samples.
        reals_called_fake: Number of real samples with the verdict `fake`.
        reals_no_evidence: Number of real samples with the verdict `no_evidence`; None if not counted.
        fakes: Number of fake samples.
        fakes_called_fake: Number of fake samples with the verdict `fake`.
        fakes_no_evidence: Number of fake samples with the verdict `no_evidence`.
    """

    data: str
    level: str
    reals: int
    reals_called_fake: int
    fakes: int
    fakes_called_fake: int
    fakes_no_evidence: int
    reals_no_evidence: int | None = None

    def __post_init__(self) -> None:
        if self.level not in ("frame", "video"):
            raise ValueError(f"level of error rates must be 'frame' or 'video', not {self.level!r}")
        of_reals = self.reals_called_fake + (self.reals_no_evidence or 0)
        of_fakes = self.fakes_called_fake + self.fakes_no_evidence
        counts = (value for value in asdict(self).values() if isinstance(value, int))
        if min(counts) < 0 or of_reals > self.reals or of_fakes > self.fakes:
            raise ValueError(f"more verdicts than samples, or a negative count: {self}")

    @property
    def summary(self) -> str:
        """The counts, such as `2 of 37 real videos and 5 of 18 fake ones were called fake, ...`."""
        what = "video" if self.level == "video" else "face"
        return (
            f"{self.reals_called_fake} of {self.reals} real {what}s and {self.fakes_called_fake} of "
            f"{self.fakes} fake ones were called fake, and {self.fakes_no_evidence or 'none'} of the fake "
            "ones got the verdict 'no evidence'"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the counts as they are stored in a card."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ErrorRates":
        """Return the counts from a card.

        Raises:
            TypeError: A key is missing or unknown.
            ValueError: A count is impossible.
        """
        return cls(**values)
