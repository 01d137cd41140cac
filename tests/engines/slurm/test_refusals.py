"""What sbatch says as it refuses becomes the error that callers can do something about."""

import pytest

from engines import EngineFailed, EngineTimeout, EngineUnavailable, InvalidSpec, LimitReached
from engines.slurm.commands import Answer
from engines.slurm.refusals import refusal
from jobengine.v1.job_pb2 import JobSpec

FAILED = "sbatch: error: Batch job submission failed: "


def refused(words: str, **options: str) -> Exception:
    spec = JobSpec()
    spec.engine_options.update(options)
    return refusal(Answer(1, "", words), spec)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (
            f"sbatch: error: invalid partition specified: nope\n{FAILED}Invalid partition name",
            "spec.engine_options.partition",
        ),
        (
            f"{FAILED}Invalid account or account/partition combination specified",
            "spec.engine_options.account",
        ),
        (f"{FAILED}Invalid qos specification", "spec.engine_options.qos"),
        (f"{FAILED}Invalid feature specification", "spec.engine_options.constraint"),
        (f"{FAILED}Requested reservation is invalid", "spec.engine_options.reservation"),
        (f"{FAILED}Invalid license specification", "spec.engine_options.licenses"),
        (f"{FAILED}Invalid node name specified", "spec.engine_options.nodelist"),
        (f"{FAILED}Invalid generic resource (gres) specification", "spec.resources.gpu_count"),
        (
            f"{FAILED}Memory specification can not be satisfied; node configuration",
            "spec.resources.memory_bytes",
        ),
        (f"{FAILED}Requested node configuration is not available", "spec.resources"),
        (
            f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)",
            "spec.timeout",
        ),
        (f"{FAILED}Invalid job array specification", "spec.completions"),
        (f"{FAILED}Access/permission denied", "spec"),
    ],
)
def test_fields_are_named(words: str, field: str) -> None:
    error = refused(words)
    assert isinstance(error, InvalidSpec)
    assert [each.field for each in error.violations] == [field]
    assert "Slurm refuses it" in str(error)
    assert "sbatch" not in str(error)


def test_nodes_that_were_excluded() -> None:
    error = refused(f"{FAILED}Invalid node name specified", exclude="n1")
    assert "spec.engine_options.exclude" in str(error)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (f"{FAILED}Unable to contact slurm controller (connect failure)", EngineUnavailable),
        (f"{FAILED}Socket timed out on send/recv operation", EngineTimeout),
        (
            f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size limits)",
            LimitReached,
        ),
        (f"{FAILED}Slurm temporarily unable to accept job, sleeping and retrying", LimitReached),
        (f"{FAILED}I/O error writing script/environment to file", EngineFailed),
        ("", EngineFailed),
    ],
)
def test_other_errors(words: str, kind: type[Exception]) -> None:
    assert type(refused(words)) is kind


def test_a_command_that_was_killed_is_in_doubt() -> None:
    error = refusal(Answer(-9, "", ""), JobSpec())
    assert isinstance(error, EngineUnavailable)
    assert "signal 9" in str(error)
