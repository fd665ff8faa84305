"""How often a model's verdicts were wrong where the truth was known: what its card states, and in words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Verdicts of a model on samples of known truth, at the thresholds of its card, counted.

    Attributes:
        data: What the samples are, as it stands after "on", such as `clips of our own`.
        level: `frame` or `video`: what a sample is.
        reals: How many samples are real.
        reals_called_fake: How many of these got `fake`.
        reals_no_evidence: How many of these got `no_evidence`, None where that was not counted.
        fakes: How many samples are fake.
        fakes_called_fake: How many of these got `fake`.
        fakes_no_evidence: How many of these got `no_evidence`.
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
            raise ValueError(f"verdicts of {self.reals} reals and {self.fakes} fakes do not add up: {self}")

    @property
    def in_words(self) -> str:
        """One clause for people, such as `2 of 37 real videos are called fake`."""
        what = "video" if self.level == "video" else "face"
        return (
            f"{self.reals_called_fake} of {self.reals} real {what}s were called fake, "
            f"{self.fakes_called_fake} of {self.fakes} fakes were called fake and "
            f"{self.fakes_no_evidence} of {self.fakes} got no evidence"
        )

    def to_json(self) -> dict[str, Any]:
        """Return them as cards state them."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> "ErrorRates":
        """Return what a card states.

        Raises:
            TypeError: Something is missing, or not known to this version.
            ValueError: The counts do not add up.
        """
        return cls(**stated)
