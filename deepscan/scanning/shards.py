"""Find out which shard of a run a process is: from `--shard`, or from the variables that job arrays set."""

import re
from collections.abc import Mapping

from deepscan.errors import UsageError
from deepscan.scanning.chunks import Shard

#: Variables of job arrays: the index of a job, its first value, and the number of jobs. The first value is a
#: variable or a number.
_ARRAYS: tuple[tuple[str, str | int, str | None], ...] = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT"),
    ("AWS_BATCH_JOB_ARRAY_INDEX", 0, "AWS_BATCH_JOB_ARRAY_SIZE"),
    ("CLOUD_RUN_TASK_INDEX", 0, "CLOUD_RUN_TASK_COUNT"),
    ("BATCH_TASK_INDEX", 0, "BATCH_TASK_COUNT"),
    # Kubernetes gives the index, but not the number of completions.
    ("JOB_COMPLETION_INDEX", 0, None),
)
_FORMS = "use 3/12 for the third of 12, auto in a job array, or auto/12 in a Kubernetes Indexed Job"


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the shard that `--shard` names.

    Args:
        text: `I/N`, `auto` or `auto/N`.
        environment: The variables of the process.

    Raises:
        UsageError: The text has another form, there is no such shard, or the variables of a job array are
            missing.
    """
    found = re.fullmatch(r"(?:auto|(\d+))(?:/(\d+))?", text)
    if not found or (found[1] and not found[2]):
        raise UsageError(f"--shard cannot be {text!r}", _FORMS)
    if found[1]:
        return _checked(int(found[1]), int(found[2]), f"--shard {text}")
    for index, first, count in _ARRAYS:
        if index not in environment:
            continue
        if not found[2] and (count is None or count not in environment):
            raise UsageError(
                f"--shard auto: {index} is set, but the number of shards is not",
                "add the number, as in --shard auto/12",
            )
        least = _number(environment, first) if isinstance(first, str) else first
        total = int(found[2]) if found[2] else _number(environment, str(count))
        number = _number(environment, index) - least + 1
        return _checked(number, total, f"--shard {text}: {index}={environment[index]}")
    names = ", ".join(index for index, _, _ in _ARRAYS)
    raise UsageError(f"--shard {text}: no variable of a job array is set ({names})", "use --shard I/N")


def _checked(number: int, count: int, given: str) -> Shard:
    if not 1 <= number <= count:
        raise UsageError(f"{given}: shard {number} of {count} does not exist", _FORMS)
    return Shard(number, count)


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not text.isascii() or not text.isdigit():
        raise UsageError(
            f"--shard auto: {name} must be a whole number, not {text!r}", "use --shard I/N instead"
        )
    return int(text)
