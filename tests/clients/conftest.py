"""Servers and clients for the tests of the client."""

import itertools
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest

from jobengine import Client
from tests.clients.blocking import make_client
from tests.clients.server import Server

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """A job's name that no other test has."""
    return f"job-{os.getpid()}-{next(_numbers)}"


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server on the fake engine, for tests that leave it alone."""
    server = Server("fake", tmp_path_factory.mktemp("fake"), "--engine-timeout", "1")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server on a class with just the four methods."""
    server = Server("tests.clients.plain:Plain", tmp_path_factory.mktemp("plain"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def new_server(tmp_path: Any) -> Generator[Callable[..., Server]]:
    """Starts servers that the test may stop."""
    with ExitStack() as stack:

        def start(engine: str, *options: str) -> Server:
            server = Server(engine, tmp_path / f"state-{engine}", *options)
            stack.callback(server.close)
            server.start()
            return server

        yield start


@pytest.fixture(params=["sync", "async"])
def new_client(request: pytest.FixtureRequest) -> Generator[Callable[..., Client]]:
    """Makes clients, of each kind in turn."""
    with ExitStack() as stack:

        def make(address: str, **settings: Any) -> Client:
            return stack.enter_context(make_client(request.param, address, **settings))

        yield make


@pytest.fixture
def client(new_client: Callable[..., Client], fake_server: Server) -> Client:
    """A client of the fake engine's server, of each kind in turn."""
    return new_client(fake_server.address)
