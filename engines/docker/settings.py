"""What the operator sets about the Docker engine, and what its daemon says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engines.base import Capability

MIB: Final = 1024 * 1024

_ALWAYS: Final = frozenset(
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
        Capability.MOUNTS,
        Capability.USER,
        Capability.DURABLE,
    }
)


@dataclass(frozen=True)
class Settings:
    """Of one engine. Sizes in bytes, times in seconds."""

    namespace: str = "default"
    network: str = "bridge"
    host_paths: tuple[str, ...] = ()
    secrets: Path | None = None
    engine_options: bool = False
    log_limit_bytes: int = 64 * MIB
    grace_seconds: float = 10.0
    default_start_timeout: float | None = 1800.0


@dataclass(frozen=True, slots=True)
class About:
    """What a daemon says of itself. `clock` is how far its clock is ahead of ours, in seconds."""

    version: str = ""
    podman: bool = False
    processors: int = 0
    gpus: bool = False
    init: bool = True
    clock: float = 0.0


def read_about(version: Mapping[str, Any], info: Mapping[str, Any], clock: float) -> About:
    """What the answers to `version` and `info` come to.

    A clock that is off by less than a second is taken for ours: that much the answer's way may
    have taken.
    """
    components = [str(part.get("Name")) for part in version.get("Components") or ()]
    runtimes: Mapping[str, Any] = info.get("Runtimes") or {}
    podman = "Podman Engine" in components
    return About(
        version=str(version.get("Version") or ""),
        podman=podman,
        processors=int(info.get("NCPU") or 0),
        # Podman ignores requests for devices, and doesn't tell of its init (catatonit).
        gpus=not podman and ("nvidia" in runtimes or bool(info.get("DiscoveredDevices"))),
        init=podman or bool(info.get("InitBinary")),
        clock=clock if abs(clock) >= 1.0 else 0.0,
    )


def capabilities(settings: Settings, about: About) -> frozenset[Capability]:
    """What the engine can do on this daemon."""
    found = set(_ALWAYS)
    if about.gpus:
        found.add(Capability.GPU)
    if settings.secrets is not None:
        found.add(Capability.SECRET_ENV)
    if settings.engine_options:
        found.add(Capability.ENGINE_OPTIONS)
    return frozenset(found)
