"""Slurm clusters for tests: two that a whole run shares, and ones that a test may hurt."""

import contextlib
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from tests.slurm.available import memory_problem, problem

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.slurm.cluster import SlurmCluster

LOG_LINES = 30


@pytest.fixture(scope="session")
def slurm() -> "Generator[SlurmCluster]":
    """The cluster of this run that keeps no accounts."""
    _skip_for(problem())
    from tests.slurm.cluster import SlurmCluster

    with _directory() as place, SlurmCluster(place) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def slurm_accounting() -> "Generator[SlurmCluster]":
    """The cluster of this run that has a slurmdbd."""
    _skip_for(problem())
    from tests.slurm.cluster import SlurmCluster
    from tests.slurm.files import Settings

    with _directory() as place, SlurmCluster(place, Settings(accounting=True)) as cluster:
        yield cluster


@pytest.fixture
def make_slurm() -> "Generator[Callable[..., SlurmCluster]]":
    """Makes clusters of a test's own, by what `Settings` takes; not started yet."""
    _skip_for(problem())
    from tests.slurm.cluster import SlurmCluster
    from tests.slurm.files import Settings

    with ExitStack() as stack:

        def make(**settings: Any) -> SlurmCluster:
            place = stack.enter_context(_directory())
            cluster = SlurmCluster(place, Settings(**settings))
            stack.callback(cluster.close)
            return cluster

        yield make


@pytest.fixture
def memory_is_limited() -> None:
    """For a test of a job that outgrows its memory, and ends as OUT_OF_MEMORY."""
    if problem := memory_problem():
        pytest.skip(problem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show of a failed test what its clusters' controllers have logged last."""
    report = yield
    if report.failed:
        for name, found in getattr(item, "funcargs", {}).items():
            if name in {"slurm", "slurm_accounting", "cluster"} and hasattr(found, "conf"):
                log = found.log("slurmctld")
                lines = log.read_text(errors="replace").splitlines() if log.exists() else []
                report.sections.append((f"Log of {name}", "\n".join(lines[-LOG_LINES:])))
    return report


@contextlib.contextmanager
def _directory() -> Generator[Path]:
    """Pytest's own directories may be too long for Slurm's sockets."""
    with TemporaryDirectory(dir="/tmp", prefix="slurm") as place:
        yield Path(place)


def _skip_for(problem: str) -> None:
    """Skip in the words of tests/conftest.py, which fails a run that requires the engine."""
    if problem:
        pytest.skip(f"engine slurm: {problem}")
