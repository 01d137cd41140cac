"""Says which field of a spec it was that Slurm refused, by the words of sbatch."""

import re
from typing import Final

from engines import (
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    FieldViolation,
    InvalidSpec,
    LimitReached,
)
from engines.slurm.commands import Answer, failure, said_by
from jobengine.v1.job_pb2 import JobSpec

_OPTIONS: Final = {
    "partition": r"invalid partition",
    "account": r"invalid account|account/partition combination",
    "qos": r"invalid qos|requested partition.*qos",
    "constraint": r"invalid feature",
    "reservation": r"requested reservation|reservation.*invalid|access denied to requested res",
    "licenses": r"invalid license",
    "nodelist": r"invalid node name|required node not available",
    "nice": r"invalid nice",
}

_FIELDS: Final = {
    "spec.resources.gpu_count": r"invalid generic resource|invalid gres|gres",
    "spec.resources.memory_bytes": r"memory",
    "spec.resources.cpu_millis": r"cpu count|more processors requested|cpus? per",
    "spec.timeout": r"time limit|--time",
    "spec.completions": r"array",
}

_LIMITS: Final = re.compile(
    r"job submit limit|job violates accounting/qos policy|maxsubmit|job limit|"
    r"resource temporarily unavailable|unable to accept job|too many|job_submit.*limit",
    re.IGNORECASE,
)
_REFUSED: Final = re.compile(
    r"invalid|not available|not permitted|can ?not be satisfied|unspecified error|"
    r"requested|access/permission denied|not supported|limit",
    re.IGNORECASE,
)


def refusal(answer: Answer, spec: JobSpec) -> EngineError:
    """The error for what sbatch said as it refused a job.

    EngineUnavailable and EngineTimeout say nothing of the job: it may have been accepted.
    """
    error = failure("sbatch", answer)
    if isinstance(error, EngineUnavailable | EngineTimeout):
        return error
    said = said_by(answer.words).removeprefix("Batch job submission failed: ")
    if _LIMITS.search(said):
        return LimitReached("jobs", f"Slurm takes no more: {said}")
    if (field := _field(said, spec)) is not None:
        return InvalidSpec([FieldViolation(field, f"Slurm refuses it: {said}")])
    if _REFUSED.search(said):
        return InvalidSpec([FieldViolation("spec", f"Slurm refuses it: {said}")])
    return EngineFailed(f"Slurm: {said}")


def _field(said: str, spec: JobSpec) -> str | None:
    options = spec.engine_options.fields
    for name, pattern in _OPTIONS.items():
        if re.search(pattern, said, re.IGNORECASE):
            excluded = name == "nodelist" and name not in options and "exclude" in options
            return f"spec.engine_options.{'exclude' if excluded else name}"
    for field, pattern in _FIELDS.items():
        if re.search(pattern, said, re.IGNORECASE):
            return field
    if re.search(r"node configuration", said, re.IGNORECASE):
        return "spec.resources"
    return None
