"""Method, validation and limits of a scan, in sentences made from its run's file and its models' cards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepscan.metrics.proportion import wilson_interval
from deepscan.report.run_info import RunInfo
from deepscan.report.sentences import DRAWS
from deepscan.scanning import runfile
from deepscan.scanning.output import ScanOutput

#: Of every scan, whatever its model.
_LIMITS = (
    "Only faces are judged. Edited speech, staged or recut scenes, false captions and changes away from the "
    "face are not seen.",
    "No evidence never means authentic: it means that this detector found nothing.",
    "An error rate holds for data like those that it was counted on. For other cameras, other compression "
    "and other ways of forging it may be far higher.",
    "The interval of a score says how much the frames of one video differ. It says nothing of how often the "
    "model is wrong.",
    "A matching SHA-256 shows that a file or a record is still what it was at the scan. It does not show "
    "that a video shows what it claims to show.",
)


@dataclass(frozen=True, slots=True)
class RateRow:
    """How often a model erred on one set of data, in words.

    Attributes:
        model: Its name.
        data: What it was measured on.
        reals_called_fake: Count and interval.
        fakes_called_fake: Likewise.
        fakes_no_evidence: Likewise.
    """

    model: str
    data: str
    reals_called_fake: str
    fakes_called_fake: str
    fakes_no_evidence: str


@dataclass(frozen=True, slots=True)
class MethodWords:
    """What a report owes its reader, beside the findings.

    Attributes:
        steps: What was done, a sentence each, in order.
        rates: How often the models err.
        validation: What else is known of that, a sentence each.
        limits: What the method does not see, a sentence each.
    """

    steps: tuple[str, ...]
    rates: tuple[RateRow, ...]
    validation: tuple[str, ...]
    limits: tuple[str, ...]


def method_words(records: Path, info: RunInfo, decoders: Mapping[str, int], warned: int) -> MethodWords:
    """Return method, validation and limits of a scan.

    Args:
        records: The journal; without `*.run.json` beside it there are no steps.
        info: The run.
        decoders: Which decoder gave the frames of how many videos.
        warned: How many videos have a warning.
    """
    steps: tuple[str, ...] = ()
    if info.described:
        steps = tuple(_steps(runfile.read(ScanOutput(records).run), info, decoders))
    warnings = [f"Videos with warnings, which stand beside them: {warned}."] if warned else []
    own = [f"{model.name} is not for: {use}." for model in info.models.values() for use in model.not_for]
    return MethodWords(steps, tuple(_rates(info)), tuple(_validation(info)), (*_LIMITS, *own, *warnings))


def _steps(run: Mapping[str, Any], info: RunInfo, decoders: Mapping[str, int]) -> Iterator[str]:
    parameters, tool = run["parameters"], run["tool"]
    commit = f", commit {tool['commit'][:12]}" if tool["commit"] else ""
    by = ", ".join(f"{name} ({count})" for name, count in sorted(decoders.items()))
    yield (
        f"{tool['name']} {tool['version']}{commit} took the SHA-256 of each file, and up to "
        f"{parameters['frames']} of its frames, spread evenly{f', decoded by {by}' if by else ''}."
    )
    rule = info.quality
    yield (
        f"It looked for faces with {run['faces']['name']}, followed them from frame to frame and joined "
        "them to persons by their place and look. What does not look like a face, and a face that never "
        "moves where another does, is left aside."
    )
    if rule is not None:
        yield (
            f"A face counts if its shorter side has {rule.min_size:g} pixels or more, its sharpness is "
            f"{rule.min_sharpness:g} or more, it is turned by {rule.max_pose:g} of 1 at most, and the "
            f"finder is sure of it to {rule.min_probability:g} or more."
        )
    for model in info.models.values():
        yield (
            f"{model.name} scored each face between 0 and 1, 1 being the surest fake. A person's score is "
            f"the mean over the faces that count{', calibrated' if model.calibration else ''}; the video's "
            "is that of the person with the highest."
        )
    share = parameters.get("min_share")
    if share and info.models:
        yield f"Where faces count in less than {share:.0%} of the sampled frames, a video is inconclusive."
    if info.models:
        yield (
            f"The interval of a score: the frames that it is the mean of were drawn again {DRAWS:,} times "
            "with replacement (bootstrap), and 95 % of the means lie in it."
        )
    if info.together:
        yield f"Several models together: {info.together}."
    yield (
        "Nothing is drawn at random: the same file, version and settings give the same scores, up to "
        "rounding on another machine."
    )


def _rates(info: RunInfo) -> Iterator[RateRow]:
    for model in info.models.values():
        for each in model.error_rates or ():
            yield RateRow(
                model.name,
                each.data,
                _share(each.reals_called_fake, each.reals),
                _share(each.fakes_called_fake, each.fakes),
                _share(each.fakes_no_evidence, each.fakes),
            )


def _share(count: int, total: int) -> str:
    if not total:
        return "none measured"
    low, high = wilson_interval(count, total)
    return f"{count} of {total} ({low:.0%} to {high:.0%})"


def _validation(info: RunInfo) -> Iterator[str]:
    models: Sequence[Any] = list(info.models.values())
    if any(model.error_rates for model in models):
        yield (
            "In brackets: the 95 % interval (Wilson) if each sample is independent of the others; clips of "
            "one person or source are not quite that."
        )
    for model in models:
        if not model.error_rates:
            where = "the run's file does not say" if model.error_rates is None else "its card does not state"
            yield f"How often {model.name} is wrong, {where}."
        if model.calibration:
            fitted = model.calibration
            yield (
                f"The thresholds of {model.name} come from {fitted.n} {fitted.level}s of other data "
                f"({fitted.data}) by this rule: {fitted.rule.replace('no_evidence', 'no evidence')}."
            )
    if models:
        yield (
            "If you rely on it, count its errors on footage like yours: deepscan eval --records "
            "FILE.jsonl --labels FILE.csv."
        )
