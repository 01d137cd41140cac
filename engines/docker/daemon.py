"""The connection to a Docker daemon: the one place that uses Docker's SDK.

The SDK blocks. Short calls run on a bounded pool of threads, each with a client of its own, since
threads disagree on one (docker-py#619, #3229); what streams has a thread and a client to itself.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from typing import Any, Final, TypeVar, cast

import requests
import urllib3
from docker import APIClient
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env

from engines.docker.container import read_time
from engines.docker.pump import Pump
from engines.docker.settings import About, read_about
from engines.docker.workers import Workers
from engines.errors import EngineFailed, EngineTimeout, EngineUnavailable, LimitReached

T = TypeVar("T")

CALL_SECONDS: Final = 20.0
"""How long the daemon may take for a call, where nothing else is said."""

SLOW_CALL_SECONDS: Final = 120.0
"""The same for what moves data or waits for the kernel: starts and removals."""

PING_SECONDS: Final = 5.0
"""The same for a sign of life."""

MAX_CALLS: Final = 16
"""How many calls are under way at once."""

MAX_STREAMS: Final = 256
"""How many log reads, pulls and event streams are open at once."""

_LOCAL: Final = "unix:///var/run/docker.sock"
_UNUSED: Final = "1.24"
"""A version of the API for a client whose requests name none."""


class NotSent(EngineUnavailable):
    """No daemon is there, so that the request never left."""


class Refused(EngineFailed):
    """The daemon's answer was an error; `status` is its HTTP code, the message its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Docker: {message}")
        self.status = status
        self.words = message


class Daemon:
    """A Docker daemon, whether or not it can be reached at the moment.

    `environment` has Docker's own variables: DOCKER_HOST, DOCKER_TLS_VERIFY, DOCKER_CERT_PATH.
    Calls raise EngineUnavailable, EngineTimeout, or Refused.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self.address = environment.get("DOCKER_HOST") or _LOCAL
        self._version = _UNUSED
        self._generation = 0
        self._workers = Workers(MAX_CALLS, _Clients)
        self._pinger = Workers(1, _Clients)
        self._streams = 0
        self._away = asyncio.Event()

    def close(self) -> None:
        """Let go of its threads."""
        self._workers.close()
        self._pinger.close()

    async def connect(self) -> About:
        """Find out what is there, and which version of the API to speak."""

        def ask() -> tuple[str, About]:
            with self.translated():
                # The SDK's own negotiation is over before `trust_env` can be set.
                with contextlib.closing(self._client(CALL_SECONDS, _UNUSED)) as client:
                    version = cast("Mapping[str, Any]", client.version(api_version=False))
                spoken = str(version["ApiVersion"])
                with contextlib.closing(self._client(CALL_SECONDS, spoken)) as client:
                    began = time.time()
                    info = cast("Mapping[str, Any]", client.info())
                    taken = (time.time() - began) / 2
                clock = read_time(str(info["SystemTime"])) - began - taken
                return spoken, read_about(version, info, clock)

        self._version, about = await self._workers.run(lambda _: ask())
        # Clients are made anew: what they hold open may be dead without showing it.
        self._generation += 1
        self._away.clear()
        return about

    async def lost(self) -> None:
        """Wait until a call finds that no daemon is there any more.

        One that is being stopped still answers on what it has open, and takes nothing new: pings
        go on, and so does what could be asked for and would be in doubt afterwards.
        """
        await self._away.wait()

    async def ping(self) -> None:
        """Hear of the daemon, or raise; on a thread that nothing else can keep busy."""
        await self._call(self._pinger, lambda client: client.ping(), PING_SECONDS)

    async def call(self, function: Callable[[Any], T], *, slow: bool = False) -> T:
        """Call the SDK, on one of the pool's threads."""
        seconds = SLOW_CALL_SECONDS if slow else CALL_SECONDS
        return await self._call(self._workers, function, seconds)

    async def _call(
        self, workers: "Workers[_Clients]", function: Callable[[Any], T], seconds: float
    ) -> T:
        def run(clients: _Clients) -> T:
            with self.translated():
                client = clients.get(self._generation, self._client)
                client.timeout = seconds  # type: ignore[assignment]  # the SDK hands it to requests
                return function(client)

        try:
            return await workers.run(run)
        except NotSent:
            self._away.set()
            raise

    async def stream(
        self,
        begin: Callable[[Any], tuple[Iterator[T], Callable[[], None]]],
        *,
        silence: float | None,
    ) -> AsyncGenerator[T]:
        """Yield what a call of the SDK streams, until its end, which says nothing by itself.

        `begin` gives what to read and how to end that from another thread. `silence` is how long
        it may say nothing, in seconds, before that is an EngineTimeout.
        """
        if self._streams >= MAX_STREAMS:
            raise LimitReached("docker_streams", f"{MAX_STREAMS} streams of Docker are open")

        def source() -> tuple[Iterator[T], Callable[[], None]]:
            with self.translated():
                items, interrupt = begin(self._client(silence))
            return self._each(items), interrupt

        self._streams += 1
        try:
            async with contextlib.aclosing(Pump(source).read()) as items:
                async for item in items:
                    yield item
        finally:
            self._streams -= 1

    def _each(self, items: Iterator[T]) -> Iterator[T]:
        with self.translated():
            for item in items:  # noqa: UP028 - `yield from` would close an interrupted stream again
                yield item

    def _client(self, timeout: float | None, version: str = "") -> APIClient:
        arguments = cast("dict[str, Any]", kwargs_from_env(self._environment))
        arguments.setdefault("base_url", _LOCAL)
        client = APIClient(version=version or self._version, timeout=timeout, **arguments)  # type: ignore[arg-type]
        # A proxy of the environment isn't meant for the daemon, to look for one takes a third of
        # each request's processor time, and REQUESTS_CA_BUNDLE would replace the daemon's own
        # authority (psf/requests#3829).
        client.trust_env = False
        return client

    @contextlib.contextmanager
    def translated(self) -> Generator[None]:
        """Turn the SDK's errors into those of the contract."""
        try:
            yield
        except APIError as error:
            if "HTTP request to an HTTPS server" in str(error.explanation):
                raise self._unreachable(error) from error
            status = error.status_code or 500
            raise Refused(status, str(error.explanation or error)) from error
        except requests.exceptions.Timeout as error:
            raise EngineTimeout(f"Docker at {self.address} didn't answer in time") from error
        except (
            DockerException,
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
        ) as error:
            if "Read timed out" in str(error):
                raise EngineTimeout(f"Docker at {self.address} didn't answer in time") from error
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> EngineUnavailable:
        words = str(error)
        problem = f"can't reach Docker at {self.address}"
        if "Permission denied" in words:
            return NotSent(
                f"{problem}: permission denied; run the server as a user who may open it"
            )
        if "No such file" in words or "Connection refused" in words:
            return NotSent(
                f"{problem}: no daemon is there; start it, "
                "or name another with --docker-host or DOCKER_HOST"
            )
        if "HTTP request to an HTTPS server" in words:
            return EngineUnavailable(f"{problem}: it speaks TLS; name --docker-cert-path")
        if "CERTIFICATE" in words or "SSL" in words or "TLS" in words:
            return EngineUnavailable(
                f"{problem}: {words}; see to the certificates of --docker-cert-path"
            )
        return EngineUnavailable(f"{problem}: {words}")


class _Clients:
    """A thread's client, made anew when the daemon has become another one."""

    def __init__(self) -> None:
        self._generation = -1
        self._client: APIClient | None = None

    def get(self, generation: int, make: Callable[[float | None], APIClient]) -> APIClient:
        if self._client is None or generation != self._generation:
            self._client, self._generation = make(CALL_SECONDS), generation
        return self._client
