"""Describe method, validation and limits of a scan, from its run's file and its models' cards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepscan.metrics.proportion import wilson_interval
from deepscan.report.run_info import RunInfo
from deepscan.report.sentences import DRAWS
from deepscan.scanning.record_source import ScanRecords
from deepscan.scanning.summary import counted

#: Limits of every scan, whatever its model.
_LIMITS = (
    "Only faces are judged. Edited speech, staged or recut scenes, false captions and changes away from the "
    "face are not detected.",
    "No evidence never means authentic: it means that this detector found nothing.",
    "An error rate applies to data like those on which it was measured. For other cameras, other compression "
    "and other kinds of fakes it may be far higher.",
    "The interval of a score shows how much the frames of one video differ. It does not show how often the "
    "model is wrong.",
    "A matching SHA-256 shows that a file or a record is unchanged since the scan. It does not show that a "
    "video shows what it claims to show.",
)


@dataclass(frozen=True, slots=True)
class RateRow:
    """How often a model was wrong on one set of data, as text.

    Attributes:
        model: Name of the model.
        data: What it was measured on.
        reals_called_fake: Count and interval.
        fakes_called_fake: Count and interval.
        fakes_no_evidence: Count and interval.
    """

    model: str
    data: str
    reals_called_fake: str
    fakes_called_fake: str
    fakes_no_evidence: str


@dataclass(frozen=True, slots=True)
class MethodText:
    """What a report must tell its readers in addition to the findings.

    Attributes:
        steps: What was done, one sentence or more per step, in order.
        rates: How often the models are wrong.
        validation: What else is known about that, one sentence or more each.
        limits: What the method cannot detect, one sentence or more each.
    """

    steps: tuple[str, ...]
    rates: tuple[RateRow, ...]
    validation: tuple[str, ...]
    limits: tuple[str, ...]


def describe_method(
    records: ScanRecords, info: RunInfo, decoders: Mapping[str, int], warned: int
) -> MethodText:
    """Describe the method, validation and limits of a scan.

    Args:
        records: The records. Without a description of their run there are no steps.
        info: The run.
        decoders: Name of the decoder -> number of videos it decoded.
        warned: Number of videos with a warning.
    """
    steps: tuple[str, ...] = ()
    if (run := records.run()) is not None:
        steps = tuple(_steps(run, info, decoders))
    have = "has" if warned == 1 else "have"
    warnings = [f"{counted(warned, 'video')} {have} warnings, shown with the verdict."] if warned else []
    own = [f"{model.name} is not for: {use}." for model in info.models.values() for use in model.not_for]
    return MethodText(steps, tuple(_rates(info)), tuple(_validation(info)), (*_LIMITS, *own, *warnings))


def _steps(run: Mapping[str, Any], info: RunInfo, decoders: Mapping[str, int]) -> Iterator[str]:
    parameters, tool = run["parameters"], run["tool"]
    commit = f", commit {tool['commit'][:12]}" if tool["commit"] else ""
    by = ", ".join(f"{name} ({count})" for name, count in sorted(decoders.items()))
    yield (
        f"{tool['name']} {tool['version']}{commit} recorded the SHA-256 of each file and sampled up to "
        f"{parameters['frames']} of its frames, spread evenly{f', decoded by {by}' if by else ''}."
    )
    rule = info.quality
    yield (
        f"It looked for faces with {run['faces']['name']}, followed them from frame to frame and grouped "
        "them into persons by position and appearance. Anything that does not look like a face is left out, "
        "and so is a face that never moves while another one does."
    )
    if rule is not None:
        yield (
            f"A face counts if the shorter side of its box has at least {rule.min_size:g} pixels, its "
            f"sharpness is at least {rule.min_sharpness:g}, it is turned sideways by at most "
            f"{rule.max_pose:g} (1 is a profile), and the face finder's confidence is at least "
            f"{rule.min_probability:g}."
        )
    for model in info.models.values():
        yield (
            f"{model.name} scored each face between 0 and 1, where 1 is most likely fake. A person's score "
            f"is the mean over the faces that count{', calibrated' if model.calibration else ''}. The "
            "video's score is the highest score of a person."
        )
    share = parameters.get("min_share")
    if share and info.models:
        yield f"If faces count in less than {share:.0%} of the sampled frames, the video is inconclusive."
    if info.models:
        yield (
            f"The interval of a score: its frames were drawn again {DRAWS:,} times with replacement "
            "(bootstrap); 95% of the resulting means are within the interval."
        )
    if info.together:
        yield f"Several models together: {info.together}."
    yield (
        "Nothing is random: the same file, version and settings give the same scores, except for rounding on "
        "other machines."
    )


def _rates(info: RunInfo) -> Iterator[RateRow]:
    for model in info.models.values():
        for rates in model.error_rates or ():
            yield RateRow(
                model.name,
                rates.data,
                _share(rates.reals_called_fake, rates.reals),
                _share(rates.fakes_called_fake, rates.fakes),
                _share(rates.fakes_no_evidence, rates.fakes),
            )


def _share(count: int, total: int) -> str:
    if not total:
        return "not measured"
    low, high = wilson_interval(count, total)
    return f"{count} of {total} ({low:.0%} to {high:.0%})"


def _validation(info: RunInfo) -> Iterator[str]:
    models: Sequence[Any] = list(info.models.values())
    if any(model.error_rates for model in models):
        yield (
            "In brackets: the 95% interval (Wilson), assuming that samples are independent of each other. "
            "Clips of one person or source are not quite independent."
        )
    for model in models:
        if not model.error_rates:
            reason = "the run's file does not say" if model.error_rates is None else "its card does not say"
            yield f"How often {model.name} is wrong is unknown: {reason}."
        if model.calibration:
            fitted = model.calibration
            yield (
                f"The thresholds of {model.name} come from {fitted.n} {fitted.level}s of other data "
                f"({fitted.data}) by this rule: {fitted.rule.replace('no_evidence', 'no evidence')}."
            )
    if models:
        yield (
            "If you rely on it, measure its errors on footage like yours: deepscan eval --records FILE.jsonl "
            "--labels FILE.csv."
        )
