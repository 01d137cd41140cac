from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docker.fixtures import Reachable

if TYPE_CHECKING:  # they need Docker's SDK
    import docker

    from tests.docker.place import Place
    from tests.engines.docker.running import Server


@pytest.fixture
def place(dockerd: Reachable, tmp_path: Path) -> "Iterator[Place]":
    """A namespace on the daemon of this run."""
    from tests.docker.place import place_on

    with place_on(dockerd.host, tmp_path) as place:
        yield place


@pytest.fixture
async def server(place: "Place") -> "AsyncIterator[Server]":
    """An engine in that namespace."""
    from tests.engines.docker.running import serving

    async with serving(place) as server:
        yield server


@pytest.fixture
def client(place: "Place") -> "Iterator[docker.APIClient]":
    """Somebody else's access to the daemon."""
    with closing(place.client()) as client:
        yield client
