"""The files in deploy/ are valid, agree with themselves, and start scans that deepscan accepts."""

import os
import re
import shlex
import signal
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from deepscan.cli.app import build
from deepscan.cli.shard_command import cluster_options, names_run_folder
from deepscan.cluster.connection import DECODER_BYTES, WORKER_BYTES, places, require_address
from deepscan.errors import ExitCode
from deepscan.scanning.attempts import MOST_DEATHS
from deepscan.scanning.chunks import Shard
from deepscan.scanning.shards import parse_shard
from deepscan.storage.copies import ALL_IN_MEMORY

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
FILES = ("kubernetes-job.yaml", "rayjob.yaml", "slurm-array.sh")
#: Records its arguments, and ends with an exit code.
DEEPSCAN = 'printf "%s\\n" "$@" > "$STUBS/words"\nexit "$CODE"\n'
#: Takes a moment to end after SIGTERM.
SLOW = 'trap \'sleep 0.3; echo > "$STUBS/ended"; exit 143\' TERM\necho > "$STUBS/begun"\n'
SLOW += "for each in $(seq 400); do sleep 0.05; done\n"


def text(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


def kubernetes_job():
    return yaml.safe_load(text("kubernetes-job.yaml"))["spec"]


def ray_job():
    return yaml.safe_load(text("rayjob.yaml"))["spec"]


def containers(name):
    """The pods' only containers: of shards, or of the head and the workers."""
    if name == "kubernetes-job.yaml":
        pods = [kubernetes_job()["template"]]
    else:
        cluster = ray_job()["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        pods = [group["template"] for group in groups]
    found = [container for pod in pods for container in pod["spec"]["containers"]]
    assert len(found) == len(pods)
    return found


def directives():
    """The options of sbatch in the script."""
    found = re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", text("slurm-array.sh"), re.MULTILINE)
    assert len(found) == len(dict(found))
    return dict(found)


def command(name):
    """What the platform starts."""
    if name == "kubernetes-job.yaml":
        (container,) = containers(name)
        return [*container["command"], *container["args"]]
    # Ray gives the entrypoint to a shell.
    return ["sh", "-c", ray_job()["entrypoint"]] if name == "rayjob.yaml" else ["sh", str(DEPLOY / name)]


def stub(folder, name, script):
    (folder / name).write_text(f"#!/bin/sh\n{script}", encoding="utf-8")
    (folder / name).chmod(0o755)


def environment(folder, code=0):
    stub(folder, "srun", 'shift\nexec "$@"\n')
    stub(folder, "apptainer", 'shift 4\nexec "$@"\n')
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "STUBS": str(folder), "CODE": str(code)}
    return given | {"SLURM_CPUS_PER_TASK": directives()["cpus-per-task"], "TMPDIR": "/scratch"}


def started(name, folder, code=0):
    """The exit code of what the platform starts, and the words of the scan."""
    stub(folder, "deepscan", DEEPSCAN)
    ended = subprocess.run(command(name), env=environment(folder, code), check=False, timeout=30)
    return ended.returncode, (folder / "words").read_text(encoding="utf-8").splitlines()


def options(words):
    """The options of a scan, parsed by deepscan itself."""
    scan = typer.main.get_command(build()).get_command(None, "scan")
    assert words[0] == "scan"
    return scan.make_context("scan", words[1:]).params


def gigabytes(value):
    number, unit = re.fullmatch(r"(\d+)(G|Gi)", value).groups()
    return int(number) << 30 if unit == "Gi" else int(number) * 10**9


def requested(name):
    """CPUs and bytes of memory of what scans."""
    if name == "slurm-array.sh":
        # Slurm counts memory in powers of two.
        return int(directives()["cpus-per-task"]), gigabytes(directives()["mem"] + "i")
    limits = containers(name)[-1]["resources"]["limits"]
    return int(limits["cpu"]), gigabytes(limits["memory"])


def test_every_file_is_tested_and_described():
    assert sorted(path.name for path in DEPLOY.iterdir()) == sorted(FILES)
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert [name for name in FILES if f"](../deploy/{name})" not in page] == []


@pytest.mark.parametrize("name", FILES)
def test_the_image_is_the_one_that_its_comment_builds(name):
    ((tag, extra),) = re.findall(
        r"^# +docker build --tag (\S+) --build-arg EXTRAS=(\S+) \.$", text(name), re.MULTILINE
    )
    assert (
        f"#     docker build --tag {tag} --build-arg EXTRAS={extra} .\n" in (ROOT / "Dockerfile").read_text()
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extra in project["optional-dependencies"]
    if name.endswith(".yaml"):
        assert {container["image"] for container in containers(name)} == {tag}
    else:
        assert f"docker save --output deepscan.tar {tag}\n" in text(name)


@pytest.mark.parametrize("name", FILES)
def test_deepscan_accepts_the_command(name, tmp_path):
    code, words = started(name, tmp_path)
    found = options(words)
    assert code == 0
    assert names_run_folder(found["out"])
    assert found["progress"] == "plain"
    assert found["scratch"] == Path("/scratch")
    assert len(found["from_list"]) == 1
    cluster = cluster_options(found["cluster"], found["workers"], found["stages"])
    if name == "rayjob.yaml":
        require_address(cluster.address, {})
        assert found["shard"] is None
    else:
        assert cluster is None
        assert found["shard"].startswith("auto")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_failed_videos_are_a_success_and_failed_scans_are_not(name, code, tmp_path):
    ended, _ = started(name, tmp_path, code)
    if code == ExitCode.SOME_FAILED:
        assert ended == 0
    elif name == "rayjob.yaml":
        assert ended != 0
    else:
        assert ended == code


def test_a_pod_ends_after_its_scan(tmp_path):
    stub(tmp_path, "deepscan", SLOW)
    with subprocess.Popen(command("kubernetes-job.yaml"), env=environment(tmp_path)) as shell:
        try:
            while not (tmp_path / "begun").exists():
                assert shell.poll() is None
                time.sleep(0.02)
            shell.send_signal(signal.SIGTERM)
            assert shell.wait(timeout=15) == 128 + signal.SIGTERM
        finally:
            shell.kill()
    # Otherwise the container's end would kill the scan, which counts as a death of its chunks.
    assert (tmp_path / "ended").exists()


def test_each_completion_of_the_job_is_a_shard(tmp_path):
    shard = options(started("kubernetes-job.yaml", tmp_path)[1])["shard"]
    job = kubernetes_job()
    total = job["completions"]
    assert job["completionMode"] == "Indexed"
    found = [parse_shard(shard, {"JOB_COMPLETION_INDEX": str(index)}) for index in range(total)]
    assert found == [Shard(number, total) for number in range(1, total + 1)]


def test_each_task_of_the_array_is_a_shard(tmp_path):
    shard = options(started("slurm-array.sh", tmp_path)[1])["shard"]
    first, last = map(int, re.match(r"(\d+)-(\d+)%", directives()["array"]).groups())
    total = last - first + 1
    given = {"SLURM_ARRAY_TASK_MIN": str(first), "SLURM_ARRAY_TASK_COUNT": str(total)}
    numbers = range(first, last + 1)
    found = [parse_shard(shard, {**given, "SLURM_ARRAY_TASK_ID": str(number)}) for number in numbers]
    assert found == [Shard(number, total) for number in range(1, total + 1)]


@pytest.mark.parametrize("name", FILES)
def test_the_memory_is_enough_for_the_decoders_and_fetched_videos(name):
    cpus, memory = requested(name)
    assert memory > WORKER_BYTES + cpus * DECODER_BYTES + ALL_IN_MEMORY


def test_a_pod_of_the_ray_cluster_is_one_worker_with_all_cpus():
    cpus, memory = requested("rayjob.yaml")
    node = {
        "NodeID": "a",
        "Alive": True,
        "NodeManagerHostname": "a",
        "Resources": {"CPU": cpus, "memory": memory},
    }
    (place,) = places([node], None, gpus=False)
    assert place.cpus == cpus
    assert ray_job()["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_retries_are_enough_to_isolate_a_video_that_kills_its_process():
    # Each death of its chunk, and of the video alone, is a start of the same shard.
    assert kubernetes_job()["backoffLimitPerIndex"] >= 2 * MOST_DEATHS


def test_what_starting_again_does_not_mend_is_not_started_again():
    rules = kubernetes_job()["podFailurePolicy"]["rules"]
    (codes,) = [rule["onExitCodes"] for rule in rules if rule["action"] == "FailIndex"]
    assert codes["values"] == [ExitCode.USAGE, ExitCode.CONTRACT, ExitCode.MISSING]
    assert codes["containerName"] == containers("kubernetes-job.yaml")[0]["name"]


@pytest.mark.parametrize("name", ["kubernetes-job.yaml", "rayjob.yaml"])
def test_pods_get_their_credentials_from_the_platform(name):
    for container in containers(name):
        names = {variable["name"] for variable in container.get("env", [])}
        assert names == ({"RAY_USAGE_STATS_ENABLED"} if name == "rayjob.yaml" else set())
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/scratch"}
        assert container["resources"]["requests"] == container["resources"]["limits"]
    assert text(name).count("serviceAccountName: deepscan") == len(containers(name))


@pytest.mark.parametrize("name", FILES)
def test_it_names_no_registry_and_no_site(name):
    assert re.findall(r"https?://\S+|image: \S*/\S*|docker://\S+", text(name)) == []


def test_the_array_is_a_shell_script():
    subprocess.run(["sh", "-n", DEPLOY / "slurm-array.sh"], check=True)
    # sbatch reads its options only up to the first command.
    lines = text("slurm-array.sh").splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first:])
    assert shlex.split(lines[0]) == ["#!/bin/sh"]
