"""Servers on what older releases have left."""

from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobengine import Client
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.story import PATIENT

Serve = Callable[[FaultyServer], Client]
"""The fixture `serve`: start a server, and get a client of it."""


@pytest.fixture
def serve(tmp_path: Path) -> Generator[Serve]:
    """Starts servers, which end with the test, as do their jobs on the local engine."""
    with ExitStack() as stack:

        def start(server: FaultyServer) -> Client:
            stack.callback(processes.kill_all, tmp_path, server.state_dir)
            stack.callback(server.close)
            server.start()
            return stack.enter_context(Client(server.address, retry=PATIENT))

        yield start
