from collections.abc import Mapping
from typing import Any

from kubernetes.aio.client import Configuration

KUBE_CONFIG_DEFAULT_LOCATION: str

class ConfigException(Exception): ...

class KubeConfigLoader:
    @property
    def current_context(self) -> Mapping[str, Any]: ...

def load_incluster_config(client_configuration: Configuration | None = ...) -> None: ...
async def load_kube_config(
    config_file: str | None = ...,
    context: str | None = ...,
    client_configuration: Configuration | None = ...,
    persist_config: bool = ...,
) -> KubeConfigLoader: ...
