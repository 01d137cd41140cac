from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engines.local.place import Place, Server


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(tmp_path)
    yield place
    await place.empty()


@pytest.fixture
async def server(place: Place) -> AsyncIterator[Server]:
    async with place.server() as server:
        yield server
