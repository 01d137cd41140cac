"""Which fields of a spec need which capability."""

from collections.abc import Callable, Collection, Mapping

from engines.base import Capability
from engines.errors import FieldViolation
from jobengine.v1.job_pb2 import JobSpec

FIELDS: Mapping[str, tuple[Capability, Callable[[JobSpec], object]]] = {
    "spec.image": (Capability.IMAGES, lambda spec: spec.image),
    "spec.completions": (Capability.INSTANCES, lambda spec: spec.completions > 1),
    "spec.max_retries": (Capability.RETRIES, lambda spec: spec.max_retries),
    "spec.timeout": (Capability.TIMEOUT, lambda spec: spec.HasField("timeout")),
    "spec.start_timeout": (Capability.START_TIMEOUT, lambda spec: spec.HasField("start_timeout")),
    "spec.ttl_after_finished": (Capability.TTL, lambda spec: spec.HasField("ttl_after_finished")),
    "spec.resources.cpu_millis": (Capability.CPU_LIMIT, lambda spec: spec.resources.cpu_millis),
    "spec.resources.memory_bytes": (
        Capability.MEMORY_LIMIT,
        lambda spec: spec.resources.memory_bytes,
    ),
    "spec.resources.gpu_count": (Capability.GPU, lambda spec: spec.resources.gpu_count),
    "spec.mounts": (Capability.MOUNTS, lambda spec: spec.mounts),
    "spec.secret_env": (Capability.SECRET_ENV, lambda spec: spec.secret_env),
    "spec.user": (Capability.USER, lambda spec: spec.user),
    "spec.engine_options": (
        Capability.ENGINE_OPTIONS,
        lambda spec: spec.HasField("engine_options"),
    ),
}
"""By field: what it needs, and whether a spec sets it."""

SPEC_CAPABILITIES = frozenset(capability for capability, _ in FIELDS.values()) | {
    Capability.COMMANDS
}
"""What is about specs, and not about what else an engine can do."""


def unsupported_fields(
    spec: JobSpec, capabilities: Collection[Capability], engine: str
) -> list[FieldViolation]:
    """The fields that the spec sets and that these capabilities don't cover."""
    violations = [
        FieldViolation(field, f"engine {engine!r} can't do this (no {capability.name}): unset it")
        for field, (capability, is_set) in FIELDS.items()
        if capability not in capabilities and is_set(spec)
    ]
    if Capability.COMMANDS not in capabilities and not spec.image:
        message = f"engine {engine!r} runs only images: name one"
        violations.append(FieldViolation("spec.image", message))
    return violations
