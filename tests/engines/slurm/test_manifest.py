"""Specs become options of sbatch, or are refused by name."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from engines import Capability
from engines.slurm.manifest import make_arguments, violations
from engines.slurm.queue import Batch, parse_comment
from engines.slurm.settings import About, Settings, capabilities, read_about
from jobengine.v1.job_pb2 import JobSpec, Mount, Resources, SecretReference
from tests.engines.slurm.specs import UID, intent, shell

GPUS = About(gpus=True)
ONE = Batch(0, 0, 0)


def arguments(
    spec: JobSpec, batch: Batch = ONE, *, settings: Settings | None = None, **given: Any
) -> list[str]:
    chosen = settings or Settings(Path("/state"))
    return make_arguments(intent(**given), spec, batch, "ab12", chosen)


def with_options(**options: Any) -> JobSpec:
    spec = shell("true")
    spec.engine_options.update(options)
    return spec


def test_always() -> None:
    found = arguments(shell("true"))
    for option in ("--no-requeue", "--propagate=NONE", "--output=/dev/null", "--job-name=job"):
        assert option in found
    (comment,) = [each.partition("=")[2] for each in found if each.startswith("--comment=")]
    assert parse_comment(comment) == ("ab12", UID, Batch(0, 0, 0))
    assert not [each for each in found if each.startswith(("--array", "--time", "--mem", "--gres"))]


def test_instances_are_one_array() -> None:
    found = arguments(shell("true"), Batch(0, 0, 9), completions=10, parallelism=3)
    assert "--array=0-9%3" in found
    assert "--array=0-2%3" in arguments(shell("true"), Batch(0, 1001, 1003), parallelism=100)
    assert not [each for each in arguments(shell("true"), Batch(1, 4, 4)) if "array" in each]


@pytest.mark.parametrize(
    ("spec", "given", "option"),
    [
        (shell("true", resources=Resources(cpu_millis=1)), {}, "--cpus-per-task=1"),
        (shell("true", resources=Resources(cpu_millis=2001)), {}, "--cpus-per-task=3"),
        (shell("true", resources=Resources(memory_bytes=1025)), {}, "--mem=2K"),
        (shell("true", resources=Resources(gpu_count=2)), {}, "--gres=gpu:2"),
        (shell("true"), {"timeout": 0.5}, "--time=1"),
        (shell("true"), {"timeout": 60.0}, "--time=1"),
        (shell("true"), {"timeout": 61.0}, "--time=2"),
        (with_options(qos="high"), {}, "--qos=high"),
        (with_options(nice=100), {}, "--nice=100"),
        (with_options(exclusive=True), {}, "--exclusive"),
        (with_options(nodelist="n[1-3],x"), {}, "--nodelist=n[1-3],x"),
        (with_options(gres="shard:1"), {}, "--gres=shard:1"),
    ],
)
def test_fields(spec: JobSpec, given: dict[str, Any], option: str) -> None:
    assert not violations(spec, GPUS)
    assert option in arguments(spec, **given)


def test_what_is_false_is_left_out() -> None:
    assert not [each for each in arguments(with_options(exclusive=False)) if "exclusive" in each]


def test_defaults_of_the_operator() -> None:
    settings = Settings(Path("/state"), partition="main", account="us")
    found = arguments(shell("true"), settings=settings)
    assert {"--partition=main", "--account=us"} <= set(found)
    found = arguments(with_options(partition="other"), settings=settings)
    assert {"--partition=other", "--account=us"} <= set(found)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (JobSpec(), "spec.command"),
        (JobSpec(command=["a=b"]), "spec.command[0]"),
        (shell("true", image="busybox"), "spec.image"),
        (shell("true", user="root"), "spec.user"),
        (shell("true", image_pull_secret="s"), "spec.image_pull_secret"),
        (shell("true", mounts=[Mount(target="/m", host_path="/m")]), "spec.mounts"),
        (shell("true", secret_env={"A": SecretReference(name="s", key="k")}), "spec.secret_env"),
        (shell("true", resources=Resources(gpu_count=1)), "spec.resources.gpu_count"),
        (shell("true", working_dir="work"), "spec.working_dir"),
        (with_options(output="/etc/passwd"), "spec.engine_options.output"),
        (with_options(wrap="rm"), "spec.engine_options.wrap"),
        (with_options(partition="a b"), "spec.engine_options.partition"),
        (with_options(partition="--uid=root"), "spec.engine_options.partition"),
        (with_options(account="a\n"), "spec.engine_options.account"),
        (with_options(qos=""), "spec.engine_options.qos"),
        (with_options(qos=None), "spec.engine_options.qos"),
        (with_options(licenses=["a"]), "spec.engine_options.licenses"),
        (with_options(nice=1.5), "spec.engine_options.nice"),
        (with_options(nice=-1), "spec.engine_options.nice"),
        (with_options(nice=1e12), "spec.engine_options.nice"),
        (with_options(exclusive="user"), "spec.engine_options.exclusive"),
        (with_options(constraint="a" * 2000), "spec.engine_options.constraint"),
    ],
)
def test_refusals_name_the_field(spec: JobSpec, field: str) -> None:
    assert [each.field for each in violations(spec, About())] == [field]


def test_all_that_is_wrong_is_told() -> None:
    spec = JobSpec(image="i", user="u", ttl_after_finished=Duration(seconds=1))
    assert [each.field for each in violations(spec, About())] == [
        "spec.image",
        "spec.user",
        "spec.command",
    ]


def test_what_a_cluster_says_of_itself() -> None:
    about = read_about(
        {
            "SLURM_VERSION": "22.05.8",
            "ClusterName": "test",
            "MaxArraySize": "5001",
            "AccountingStorageType": "accounting_storage/slurmdbd",
            "GresTypes": "craynetwork,gpu",
        }
    )
    assert (about.version, about.array_size, about.accounting) == ("22.05.8", 5001, True)
    assert capabilities(about) - capabilities(About()) == {Capability.GPU}
    assert read_about({"GresTypes": "(null)"}) == About()
