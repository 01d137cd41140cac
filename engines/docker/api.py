"""What the engine asks of the daemon, call by call."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import requests
from docker import auth as docker_auth
from docker.errors import create_api_error_from_http_exception
from docker.types.daemon import CancellableStream

from engines.docker.daemon import Daemon, NotSent, Refused
from engines.docker.record import NAMESPACE, UID, Claim
from engines.errors import EngineFailed, EngineTimeout

NOT_FOUND: Final = 404
CONFLICT: Final = 409
PUT_TRIES: Final = 3
REMOVAL_LOOKS: Final = 100
REMOVAL_LOOK_SECONDS: Final = 0.1

PULL_SILENCE_SECONDS: Final = 300.0
"""How long a pull may go without progress."""

LOG_SILENCE_SECONDS: Final = 30.0
"""How long a log may be silent before it is opened anew: the daemon may be gone."""

_HEADER_BYTES: Final = 8
_EVENTS: Final = {
    "type": ["container", "volume"],
    # Podman filters by other words than it answers with: died for die.
    "event": ["create", "start", "die", "died", "destroy", "remove"],
}

Json = Mapping[str, Any]
Client = Any
"""The SDK's APIClient, of which its types say too little."""


class Frame(NamedTuple):
    """An entry of a container's log: 1 for stdout or 2 for stderr, and its time before a blank."""

    stream: int
    data: bytes


class Api:
    """The calls, which raise what `Daemon.call` does. Where that is said, missing is None."""

    def __init__(self, daemon: Daemon, namespace: str) -> None:
        self._daemon = daemon
        self._filter = {"label": f"{NAMESPACE}={namespace}"}

    # -- the daemon -----------------------------------------------------------------------------

    async def info(self) -> Json:
        """What it says of itself, as Docker's API has it."""
        return await self._daemon.call(lambda client: cast("Json", client.info()))

    async def version(self) -> Json:
        """Its versions."""
        return await self._daemon.call(lambda client: cast("Json", client.version()))

    async def has_network(self, network: str) -> bool:
        """Whether there is a network of that name."""
        return await self._if_there(lambda client: client.inspect_network(network)) is not None

    # -- volumes ------------------------------------------------------------------------------

    async def volumes(self, uid: str = "") -> Sequence[Json]:
        """All volumes of the namespace, or of one job, with their labels."""
        filters = {"label": f"{UID}={uid}"} if uid else self._filter
        found = await self._daemon.call(lambda client: client.volumes(filters=filters))
        return cast("Sequence[Json]", found.get("Volumes") or ())

    async def put_volume(self, name: str, labels: Mapping[str, str]) -> Mapping[str, str]:
        """Make a volume with these labels unless there is one of that name.

        Returns the labels that it has: of two calls with one name, both get those of the first.
        One without any is what a daemon finds that was killed while it made the volume: the
        directory is there, what was to be kept of it isn't (seen on 20.10). It is removed.
        """
        for _ in range(PUT_TRIES):
            made: Json = await self._daemon.call(
                lambda client: client.create_volume(name, labels=dict(labels))
            )
            if found := made.get("Labels"):
                return cast("Mapping[str, str]", found)
            await self.remove_volume(name)
        raise EngineFailed(f"Docker makes the volume {name} without its labels")

    async def volume_labels(self, name: str) -> Mapping[str, str] | None:
        """A volume's labels, None where there is no such volume."""
        found = await self._if_there(lambda client: client.inspect_volume(name))
        return None if found is None else found.get("Labels") or {}

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; fine if it is gone."""
        await self._if_there(lambda client: client.remove_volume(name), slow=True)

    # -- containers ---------------------------------------------------------------------------

    async def containers(self, uid: str = "") -> Sequence[Json]:
        """All containers of the namespace, or of one job, as the daemon lists them."""
        label = f"{UID}={uid}" if uid else self._filter["label"]
        found = await self._daemon.call(
            lambda client: client.containers(all=True, filters={"label": label})
        )
        return cast("Sequence[Json]", found)

    async def inspect(self, container: str) -> Json | None:
        """All about a container by its name or id; None where there is none."""
        found = await self._if_there(lambda client: client.inspect_container(container))
        return cast("Json | None", found)

    async def create(self, name: str, body: Json) -> str:
        """Make a container; return its id."""
        made = await self._daemon.call(
            lambda client: client.create_container_from_config(dict(body), name), slow=True
        )
        return str(made["Id"])

    async def start(self, claim: Claim, unsent: set[Claim]) -> None:
        """Start a container. To be called once in its life: a second start would run it again.

        The claim on it is in `unsent` except while the request is under way or may have arrived,
        also where the caller doesn't wait for that.
        """

        def start(client: Client) -> None:
            unsent.discard(claim)
            try:
                with self._daemon.translated():
                    client.start(claim.container)
            except NotSent:
                unsent.add(claim)
                raise

        await self._daemon.call(start, slow=True)

    async def kill(self, container: str, signal: str) -> None:
        """Send it a signal; fine if it is gone or doesn't run."""
        try:
            await self._if_there(lambda client: client.kill(container, signal))
        except Refused as refusal:
            if refusal.status != CONFLICT and "running" not in refusal.words:
                raise

    async def remove(self, container: str, *, force: bool = False) -> bool:
        """Remove it and its unnamed volumes; False if it runs and isn't to be forced."""
        try:
            await self._if_there(
                lambda client: client.remove_container(container, v=True, force=force), slow=True
            )
        except Refused as refusal:
            if refusal.status == CONFLICT and "already in progress" in refusal.words:
                await self._gone(container)  # somebody else is at it (vscode-docker#1477)
            elif refusal.status == CONFLICT:
                return False
            else:
                raise
        return True

    async def _gone(self, container: str) -> None:
        """Wait until a container that is being removed is gone."""
        for _ in range(REMOVAL_LOOKS):
            if await self.inspect(container) is None:
                return
            await asyncio.sleep(REMOVAL_LOOK_SECONDS)
        raise EngineTimeout(f"Docker doesn't finish the removal of the container {container}")

    # -- streams ------------------------------------------------------------------------------

    async def past_events(self, until: float) -> Sequence[Json]:
        """What the daemon remembers: the last 256 events since it came up (moby's events)."""

        def read(client: Client) -> list[Json]:
            events = client.events(since=1, until=int(until), filters=_EVENTS, decode=True)
            return list(cast("Iterator[Json]", events))

        return await self._daemon.call(read)

    def events(self, since: float) -> AsyncGenerator[Json]:
        """What happens from then on. Hints only: a busy daemon drops some."""

        def begin(client: Client) -> tuple[Iterator[Json], Callable[[], None]]:
            stream = client.events(since=int(since), filters=_EVENTS, decode=True)
            return cast("Iterator[Json]", stream), stream.close

        return self._daemon.stream(begin, silence=None)

    def pull(self, image: str, auth: Json | None) -> AsyncGenerator[Json]:
        """Pull an image; yields its progress, an error among it."""

        def begin(client: Client) -> tuple[Iterator[Json], Callable[[], None]]:
            # Without any, the SDK would take those of the server's own user.
            credentials = (auth and _registry_auth(auth, image)) or {}
            lines = client.pull(image, stream=True, decode=True, auth_config=credentials)
            return cast("Iterator[Json]", lines), lambda: None

        return self._daemon.stream(begin, silence=PULL_SILENCE_SECONDS)

    def logs(self, container: str, **parameters: object) -> AsyncGenerator[Frame]:
        """A container's log with times; the parameters are those of Docker's API."""

        def begin(client: Client) -> tuple[Iterator[Frame], Callable[[], None]]:
            url = f"{client.base_url}/v{client.api_version}/containers/{container}/logs"
            response = client.get(
                url,
                params={"timestamps": 1, **parameters},
                stream=True,
                timeout=LOG_SILENCE_SECONDS,
            )
            try:
                response.raise_for_status()
            except requests.HTTPError as error:
                create_api_error_from_http_exception(error)  # raises
            frames = CancellableStream(_frames(response), response)
            return cast("Iterator[Frame]", frames), frames.close

        return self._daemon.stream(begin, silence=LOG_SILENCE_SECONDS)

    async def has_image(self, image: str) -> bool:
        """Whether the daemon has the image."""
        return await self._if_there(lambda client: client.inspect_image(image)) is not None

    async def _if_there(self, function: Callable[[Client], object], *, slow: bool = False) -> Any:  # noqa: ANN401 - what the SDK gives
        try:
            return await self._daemon.call(function, slow=slow)
        except Refused as refusal:
            if refusal.status == NOT_FOUND:
                return None
            raise


def _frames(response: requests.Response) -> Iterator[Frame]:
    """The entries of a log: each has a header with its stream and its length."""
    raw = response.raw
    while len(header := raw.read(_HEADER_BYTES)) == _HEADER_BYTES:
        size = int.from_bytes(header[4:], "big")
        data = raw.read(size)
        if len(data) < size:
            return
        yield Frame(header[0], data)


def _registry_auth(config: Json, image: str) -> Json | None:
    """The credentials for an image's registry, out of a `config.json` of Docker."""
    sdk: Any = docker_auth  # of which its types say too little
    registry, _ = sdk.resolve_repository_name(image)
    return cast(
        "Json | None", sdk.resolve_authconfig(sdk.load_config(None, dict(config)), registry)
    )
