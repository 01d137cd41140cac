"""What the operator sets about the Slurm engine, and what its cluster says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engines import Capability

_ALWAYS: Final = frozenset(
    {
        Capability.LIST,
        Capability.CANCEL,
        Capability.LOGS,
        Capability.COMMANDS,
        Capability.INSTANCES,
        Capability.RETRIES,
        Capability.TIMEOUT,
        Capability.START_TIMEOUT,
        Capability.TTL,
        Capability.CPU_LIMIT,
        Capability.MEMORY_LIMIT,
        Capability.ENGINE_OPTIONS,
        Capability.DURABLE,
    }
)


@dataclass(frozen=True)
class Settings:
    """Of one engine. Times in seconds."""

    directory: Path
    partition: str = ""
    account: str = ""
    poll_interval: float = 1.0
    grace_seconds: float = 10.0
    default_start_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What a cluster says of itself.

    `array_size` is how many tasks one array may have, `accounting` whether it keeps what ended.
    """

    version: str = ""
    cluster: str = ""
    array_size: int = 1001
    accounting: bool = False
    gpus: bool = False
    process_tracking: str = ""


def read_about(config: Mapping[str, str]) -> About:
    """What `scontrol show config` comes to."""
    size = config.get("MaxArraySize", "")
    gres = config.get("GresTypes", "").split(",")
    return About(
        version=config.get("SLURM_VERSION", ""),
        cluster=config.get("ClusterName", ""),
        array_size=max(int(size), 1) if size.isdecimal() else 1001,
        accounting=config.get("AccountingStorageType", "").endswith("/slurmdbd"),
        gpus="gpu" in gres,
        process_tracking=config.get("ProctrackType", ""),
    )


def capabilities(about: About) -> frozenset[Capability]:
    """What the engine can do on this cluster."""
    return _ALWAYS | {Capability.GPU} if about.gpus else _ALWAYS
