"""Servers that tests may hurt, and clients of them."""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobengine import Client
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.story import PATIENT


@pytest.fixture
def make_server(tmp_path: Path) -> Generator[Callable[..., FaultyServer]]:
    """Makes servers on one state directory, unless told otherwise; not started yet."""
    with ExitStack() as stack:

        def make(*options: str, state_dir: Path = tmp_path / "state") -> FaultyServer:
            server = FaultyServer(state_dir, *options)
            stack.callback(processes.kill_all, tmp_path, state_dir)
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def server(make_server: Callable[..., FaultyServer]) -> FaultyServer:
    """A running server."""
    server = make_server()
    server.start()
    return server


@pytest.fixture
def new_client() -> Generator[Callable[[str], Client]]:
    """Makes clients that outlast restarts."""
    with ExitStack() as stack:
        yield lambda address: stack.enter_context(Client(address, retry=PATIENT))


@pytest.fixture
def client(new_client: Callable[[str], Client], server: FaultyServer) -> Client:
    """A client of the running server."""
    return new_client(server.address)
