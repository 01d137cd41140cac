from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

class Configuration:
    host: str
    connection_pool_maxsize: int
    api_key: dict[str, str]
    def __init__(self) -> None: ...

class RESTResponse:
    response: aiohttp.ClientResponse

class RESTClientObject:
    async def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = ...,
        body: object = ...,
        post_params: Mapping[str, Any] | None = ...,
        _request_timeout: aiohttp.ClientTimeout | None = ...,
    ) -> RESTResponse: ...

class ApiClient:
    configuration: Configuration
    rest_client: RESTClientObject
    def __init__(self, configuration: Configuration | None = ...) -> None: ...
    async def close(self) -> None: ...
    async def update_params_for_auth(
        self,
        headers: dict[str, str],
        queries: list[tuple[str, str]],
        auth_settings: Sequence[str],
        resource_path: str,
        method: str,
        body: object,
    ) -> None: ...
