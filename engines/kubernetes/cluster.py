"""The way to an API server: the one place that uses Kubernetes' SDK.

Of `kubernetes.aio` only what knows kubeconfigs and credentials, and makes requests, is used;
objects stay the JSON that they are. Its own Watch and informer reconnect without delay, have no
read timeout, and stop only when something arrives (kubernetes-client/python#1148, #1402).
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlencode

import aiohttp
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import (
    KUBE_CONFIG_DEFAULT_LOCATION,
    ConfigException,
    load_incluster_config,
    load_kube_config,
)

from engines.errors import EngineFailed, EngineTimeout, EngineUnavailable

Json = Mapping[str, Any]

CALL_SECONDS: Final = 20.0
"""How long the API server may take for a call, where nothing else is said."""

CONNECT_SECONDS: Final = 5.0
"""How long a connection to it may take to open."""

GOODBYE_SECONDS: Final = 0.1

PAGE_SIZE: Final = 500
"""How many objects are in a page of a list."""

MAX_CONNECTIONS: Final = 256
"""Two watches, the calls, and a log read each."""

MERGE_PATCH: Final = "application/merge-patch+json"

_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_UNAUTHORIZED: Final = 401
_RETRY_LATER: Final = frozenset({408, 429, 500, 502, 503, 504})


class Refused(EngineFailed):
    """The API server's answer was an error.

    `status` is its HTTP code, `reason` Kubernetes' word for it, `words` its message, and `causes`
    what it says of single fields.
    """

    def __init__(self, status: int, answer: Json) -> None:
        self.status = status
        self.reason = str(answer.get("reason") or "")
        self.words = str(answer.get("message") or f"HTTP status {status}")
        details: Json = answer.get("details") or {}
        self.causes: list[Json] = list(details.get("causes") or ())
        super().__init__(f"Kubernetes: {self.words}")


class Cluster:
    """An API server, whether or not it can be reached at the moment, and a namespace of it.

    It is found by `kubeconfig` (default: as kubectl does, by KUBECONFIG or in the home directory;
    within a pod by its service account) and `context`. `namespace` is empty for that of the
    context or the pod. Calls raise EngineUnavailable, EngineTimeout, or Refused.
    """

    def __init__(
        self, kubeconfig: Path | None = None, context: str = "", namespace: str = ""
    ) -> None:
        self._kubeconfig = kubeconfig
        self._context = context
        self._wanted_namespace = namespace
        self._client: ApiClient | None = None
        self._replaced: list[ApiClient] = []
        self._open_answers: dict[aiohttp.ClientResponse, ApiClient] = {}
        self._generation = 0
        self._connecting = asyncio.Lock()
        self.namespace = namespace
        self.address = "an API server that isn't configured yet"

    async def close(self) -> None:
        """Let go of its connections."""
        clients = [*self._replaced, *([] if self._client is None else [self._client])]
        self._replaced, self._client = [], None
        for client in clients:
            await self._close(client)
        if clients:
            # What was cut short says goodbye by TLS, of which nobody tells the end (aiohttp's
            # "graceful shutdown").
            await asyncio.sleep(GOODBYE_SECONDS)

    async def connect(self) -> None:
        """Read the configuration anew, and drop what is open.

        Raises:
            EngineUnavailable: there is none, or none that can be used.
        """
        async with self._connecting:
            await self.close()
            await self._open()

    async def _open(self) -> None:
        """Read the configuration; what is under way goes on by the one before."""
        path = self._path()
        configuration = Configuration()
        configuration.connection_pool_maxsize = MAX_CONNECTIONS
        try:
            usual = await _configure(configuration, path, self._context)
            client = ApiClient(configuration)
        except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
            raise _unusable(path, " ".join(str(error).split())) from error
        except (KeyError, TypeError, AttributeError) as error:
            raise _unusable(path, f"it isn't what a kubeconfig is ({error})") from error
        if self._client is not None:
            self._replaced.append(self._client)
        self.namespace = self._wanted_namespace or usual
        self._client = client
        self.address = str(configuration.host)
        self._generation += 1
        if len(self._replaced) > 1:
            await self._close(self._replaced.pop(0))

    async def _close(self, client: ApiClient) -> None:
        """Close a client, and wake whoever reads an answer: aiohttp would leave him waiting."""
        for answer, owner in list(self._open_answers.items()):
            if owner is client:
                answer.close()
        await client.close()

    def _path(self) -> str:
        """The kubeconfig, or several as KUBECONFIG has them; empty for the pod's own cluster."""
        if path := str(self._kubeconfig or os.environ.get("KUBECONFIG") or ""):
            return path
        default = Path(KUBE_CONFIG_DEFAULT_LOCATION).expanduser()
        return str(default) if default.exists() else ""

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        seconds: float = CALL_SECONDS,
    ) -> Json:
        """Make a request; return what is answered."""
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        with self._translated():
            async with self._answer(method, path, query, body, content_type, timeout) as answer:
                return cast("Json", json.loads(await answer.read()))

    async def pages(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[Json]:
        """Yield a list page by page."""
        wanted = {**query, "limit": str(PAGE_SIZE)}
        while True:
            page = await self.call("GET", path, query=wanted)
            yield page
            if not (more := page["metadata"].get("continue")):
                return
            wanted["continue"] = str(more)

    async def chunks(
        self, path: str, *, query: Mapping[str, str], silence: float
    ) -> AsyncGenerator[bytes]:
        """Yield an answer as it comes; its end says nothing by itself.

        `silence` is how long nothing may come, in seconds, before that is an EngineTimeout.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        json_type = "application/json"
        with self._translated():
            async with self._answer("GET", path, query, None, json_type, timeout) as answer:
                async for chunk in answer.content.iter_any():
                    yield chunk

    async def lines(
        self, path: str, *, query: Mapping[str, str], silence: float
    ) -> AsyncGenerator[bytes]:
        """The same by lines, without their ends; a last one without an end is yielded too."""
        parts: list[bytes] = []
        async with contextlib.aclosing(self.chunks(path, query=query, silence=silence)) as chunks:
            async for chunk in chunks:
                first, *others = chunk.split(b"\n")
                parts.append(first)
                for line in others:
                    yield b"".join(parts)
                    parts = [line]
        if last := b"".join(parts):
            yield last

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Json | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The answer, its head read; credentials that are refused are read anew, once."""
        for again in (False, True):
            generation = self._generation
            answer = await self._send(method, path, query, body, content_type, timeout)
            try:
                async with answer:
                    if answer.status < 400:
                        yield answer
                        return
                    words = _as_json(await answer.read())
            finally:
                self._open_answers.pop(answer, None)
            if answer.status != _UNAUTHORIZED or again:
                raise self._refusal(answer.status, words)
            # A refused request did nothing, so that it may be repeated (kcp#741).
            async with self._connecting:
                if generation == self._generation:
                    await self._open()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Json | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        client = self._client
        if client is None:
            raise EngineUnavailable("Kubernetes: not connected")
        headers = {"Accept": "application/json", "Content-Type": content_type}
        await client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = f"{client.configuration.host}{path}"
        if query:
            url += f"?{urlencode(query)}"
        try:
            answered = await client.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
        except (AssertionError, RuntimeError) as error:
            # So aiohttp says that its session was closed meanwhile.
            raise EngineUnavailable("Kubernetes: the connection was given up") from error
        self._open_answers[answered.response] = client
        return answered.response

    def _refusal(self, status: int, answer: Json) -> EngineFailed | EngineUnavailable:
        refused = Refused(status, answer)
        if status == _UNAUTHORIZED:
            return EngineUnavailable(
                f"Kubernetes at {self.address} doesn't accept the server's credentials (401): "
                "renew them in the kubeconfig, or the service account's token"
            )
        if status in _RETRY_LATER:
            return EngineUnavailable(f"Kubernetes at {self.address}: {refused.words}")
        return refused

    @contextlib.contextmanager
    def _translated(self) -> Generator[None]:
        """Turn the transport's errors into those of the contract."""
        try:
            yield
        except TimeoutError as error:
            raise EngineTimeout(f"Kubernetes at {self.address} didn't answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            words = str(error) or type(error).__name__
            hint = "see to certificate-authority in the kubeconfig" if "certif" in words else ""
            hint = hint or "is the API server up, and the kubeconfig's server the right one?"
            raise EngineUnavailable(
                f"can't reach Kubernetes at {self.address}: {words}; {hint}"
            ) from error


async def _configure(configuration: Configuration, path: str, context: str) -> str:
    """Fill the configuration in; return the namespace that goes with it."""
    if not path:
        load_incluster_config(configuration)
        return _NAMESPACE_FILE.read_text().strip()
    if not any(Path(each).expanduser().exists() for each in path.split(os.pathsep) if each):
        raise ConfigException("there is no such file")
    loader = await load_kube_config(path, context or None, configuration, persist_config=False)
    found: Json = loader.current_context.get("context") or {}
    return str(found.get("namespace") or "default")


def _unusable(path: str, why: str) -> EngineUnavailable:
    if path:
        return EngineUnavailable(
            f"the kubeconfig {path} can't be used: {why}; name one with --kubeconfig or KUBECONFIG"
        )
    return EngineUnavailable(
        f"there is no kubeconfig, and this isn't a pod of a cluster ({why}); "
        "name one with --kubeconfig or KUBECONFIG"
    )


def _as_json(data: bytes) -> Json:
    try:
        found = json.loads(data)
    except ValueError:
        return {"message": data.decode(errors="replace").strip()}
    return cast("Json", found) if isinstance(found, dict) else {"message": str(found)}
