"""Which shard a process is."""

import pytest

from deepscan.errors import UsageError
from deepscan.scanning.chunks import Shard
from deepscan.scanning.shards import parse_shard


def test_blocks_of_all_shards_have_every_chunk_once_and_differ_by_one_at_most():
    for count in (1, 2, 3, 7, 12):
        for chunks in (0, 1, 5, 12, 100):
            blocks = [Shard(number, count).block(chunks) for number in range(1, count + 1)]
            assert [chunk for block in blocks for chunk in block] == list(range(chunks))
            assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("3/12", {}, Shard(3, 12)),
        ("1/1", {"SLURM_ARRAY_TASK_ID": "7"}, Shard(1, 1)),
        (
            "auto",
            {"SLURM_ARRAY_TASK_ID": "10", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_COUNT": "4"},
            Shard(1, 4),
        ),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "3"}, Shard(3, 3)),
        ("auto", {"CLOUD_RUN_TASK_INDEX": "0", "CLOUD_RUN_TASK_COUNT": "3"}, Shard(1, 3)),
        ("auto", {"BATCH_TASK_INDEX": "1", "BATCH_TASK_COUNT": "3"}, Shard(2, 3)),
        ("auto/5", {"JOB_COMPLETION_INDEX": "4"}, Shard(5, 5)),
        ("auto/5", {"AWS_BATCH_JOB_ARRAY_INDEX": "0"}, Shard(1, 5)),
    ],
)
def test_the_shard_is_found(text, environment, shard):
    assert parse_shard(text, environment) == shard


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("0/3", {}, "shard 0 of 3 does not exist"),
        ("4/3", {}, "shard 4 of 3 does not exist"),
        ("1/0", {}, "shard 1 of 0 does not exist"),
        ("1", {}, "--shard cannot be '1'"),
        ("1/3/5", {}, "--shard cannot be"),
        ("automatic", {}, "--shard cannot be"),
        ("auto/x", {}, "--shard cannot be"),
        ("auto", {}, "no variable of a job array is set"),
        (
            "auto",
            {"JOB_COMPLETION_INDEX": "0"},
            "JOB_COMPLETION_INDEX is set, but the number of shards is not",
        ),
        ("auto/3", {"JOB_COMPLETION_INDEX": "3"}, "JOB_COMPLETION_INDEX=3: shard 4 of 3 does not exist"),
        ("auto/3", {"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX must be a whole number"),
        (
            "auto",
            {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4"},
            "SLURM_ARRAY_TASK_MIN must be a whole number, not ''",
        ),
    ],
)
def test_a_shard_that_cannot_be_is_refused(text, environment, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        parse_shard(text, environment)
