"""Daemons for tests: two that a whole run shares, and ones that a test may hurt."""

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.docker.available import GIVEN_HOST, problem, problems

if TYPE_CHECKING:  # what it imports may be missing here
    from tests.docker.daemons import Dockerd


LOG_LINES = 40


class Reachable(Protocol):
    """A daemon that has the image of the tests."""

    @property
    def host(self) -> str:
        """What clients take for DOCKER_HOST."""
        ...


class Given:
    """A daemon that somebody else runs, and keeps."""

    def __init__(self, host: str) -> None:
        self.host = host


@pytest.fixture(scope="session")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Generator[Reachable]:
    """The Docker daemon of this run, or the one that JOBENGINE_TEST_DOCKER_HOST names."""
    _skip_for("docker", problems()["docker"])
    from tests.docker.daemons import Dockerd, load_image

    if host := os.environ.get(GIVEN_HOST):
        load_image(host)
        yield Given(host)
        return
    with Dockerd(tmp_path_factory.mktemp("dockerd")) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def podman_service() -> Generator[Reachable]:
    """The podman of this run."""
    _skip_for("podman", problems()["podman"])
    from tests.docker.daemons import PodmanService

    # Pytest's own directories may be too long for it.
    with (
        TemporaryDirectory(dir="/tmp", prefix="podman") as place,
        PodmanService(Path(place)) as daemon,
    ):
        yield daemon


@pytest.fixture
def make_dockerd(
    tmp_path_factory: pytest.TempPathFactory,
) -> "Generator[Callable[..., Dockerd]]":
    """Makes daemons of a test's own, with options of dockerd; not started yet."""
    _skip_for("docker", problem("docker"))
    from tests.docker.daemons import Dockerd

    with ExitStack() as stack:

        def make(*options: str) -> Dockerd:
            daemon = Dockerd(tmp_path_factory.mktemp("dockerd"), *options)
            stack.callback(daemon.close)
            return daemon

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show of a failed test what its daemons have logged last."""
    report = yield
    if report.failed:
        for name, daemon in getattr(item, "funcargs", {}).items():
            log = getattr(daemon, "log", None)
            if name in {"dockerd", "podman_service", "daemon"} and log is not None:
                lines = log.read_text(errors="replace").splitlines()
                report.sections.append((f"Log of {name}", "\n".join(lines[-LOG_LINES:])))
    return report


def _skip_for(engine: str, problem: str) -> None:
    """Skip in the words of tests/conftest.py, which fails a run that requires the engine."""
    if problem:
        pytest.skip(f"engine {engine}: {problem}")
