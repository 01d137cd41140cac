"""Single calls, where the daemon's words have to be read."""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import docker
import pytest

from engines.docker.api import Api
from engines.docker.daemon import Daemon
from tests.docker.place import Place
from tests.engines.docker.running import Server
from tests.engines.docker.specs import shell

pytestmark = pytest.mark.engine("docker")


@pytest.fixture
async def api(place: Place) -> AsyncIterator[Api]:
    daemon = Daemon({"DOCKER_HOST": place.host})
    await daemon.connect()
    yield Api(daemon, place.namespace)
    daemon.close()


async def test_what_runs_is_removed_by_force_alone(
    api: Api, server: Server, place: Place, client: docker.APIClient
) -> None:
    await server.running(shell("exec sleep 300"))
    container = str(place.containers()[0]["Id"])
    assert not await api.remove(container)
    assert client.inspect_container(container)["State"]["Running"]
    assert await api.remove(container, force=True)
    assert await api.remove(container)  # it is gone


class Numbers:
    """They never end, and closing them fails, as it does for a stream that was cut off."""

    def __init__(self) -> None:
        self._numbers = count()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return next(self._numbers)

    def close(self) -> None:
        raise OSError("Transport endpoint is not connected")


async def test_a_stream_is_ended_by_its_interrupt_alone(place: Place) -> None:
    """Of two threads that close a TLS stream of docker-py, the second one fails."""
    daemon = Daemon({"DOCKER_HOST": place.host})
    await daemon.connect()
    gone, interrupts = threading.Event(), []

    def begin(_: Any) -> tuple[Iterator[int], Callable[[], None]]:
        numbers = Numbers()
        weakref.finalize(numbers, gone.set)
        return numbers, lambda: interrupts.append(1)

    async with contextlib.aclosing(daemon.stream(begin, silence=None)) as numbers:
        assert await anext(numbers) == 0
    assert await asyncio.to_thread(
        gone.wait, 10
    )  # nobody reads it any more, and nothing was raised
    assert interrupts
    daemon.close()
