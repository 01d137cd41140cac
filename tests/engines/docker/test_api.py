"""Single calls, where the daemon's words have to be read."""

from collections.abc import AsyncIterator

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
