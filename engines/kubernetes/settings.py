"""What the operator sets about the Kubernetes engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.base import Capability

_ALWAYS = frozenset(
    {
        Capability.LIST,
        Capability.CANCEL,
        Capability.LOGS,
        Capability.IMAGES,
        Capability.INSTANCES,
        Capability.RETRIES,
        Capability.TIMEOUT,
        Capability.START_TIMEOUT,
        Capability.TTL,
        Capability.CPU_LIMIT,
        Capability.MEMORY_LIMIT,
        Capability.GPU,
        Capability.MOUNTS,
        Capability.SECRET_ENV,
        Capability.USER,
        Capability.DURABLE,
    }
)


@dataclass(frozen=True)
class Settings:
    """Of one engine. Times in seconds.

    Pods run as `service_account` (the namespace's default where empty) without its token, on nodes
    with the labels of `node_selector`. `gpu_resource` is what the cluster's device plugin calls a
    GPU. `host_paths` are the prefixes below which a job may mount the node's directories.
    """

    service_account: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict[str, str])
    gpu_resource: str = "nvidia.com/gpu"
    host_paths: tuple[str, ...] = ()
    engine_options: bool = False
    grace_seconds: float = 10.0
    default_start_timeout: float | None = 1800.0


def capabilities(settings: Settings) -> frozenset[Capability]:
    """What the engine can do."""
    return _ALWAYS | {Capability.ENGINE_OPTIONS} if settings.engine_options else _ALWAYS
