"""Clusters for tests: one that a whole run shares, and ones that a test may hurt."""

import contextlib
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import pytest

from tests.cluster.api import Api
from tests.cluster.available import GIVEN_KUBECONFIG, problem, problems
from tests.faults.processes import until

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.cluster.cluster import Cluster
    from tests.cluster.story import Place

_ACCOUNT_SECONDS = 90.0
"""Kubernetes' controllers stay away for up to 30 s from an API server that they found gone."""


class Reachable(Protocol):
    """A cluster that has the image of the tests."""

    @property
    def kubeconfig(self) -> Path:
        """Of one who may do everything."""
        ...


class Given:
    """A cluster that somebody else runs, and keeps."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Reachable]:
    """The cluster of this run, or the one that JOBENGINE_TEST_KUBECONFIG names."""
    _skip_for(problems()["kubernetes"])
    from tests.cluster.cluster import Cluster

    if given := os.environ.get(GIVEN_KUBECONFIG):
        yield Given(Path(given))
        return
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> "Generator[Cluster]":
    """A cluster that tests hurt, and leave well."""
    _skip_for(problem())
    from tests.cluster.cluster import Cluster

    with Cluster(tmp_path_factory.mktemp("hurt")) as cluster:
        yield cluster


@pytest.fixture
def hurt_place(hurt: "Cluster", tmp_path: Path) -> "Generator[Place]":
    """A place on the cluster that tests hurt; it is well again afterwards."""
    from tests.cluster.story import Place

    with namespace_on(hurt.kubeconfig) as namespace:
        try:
            yield Place(hurt.kubeconfig, namespace, tmp_path)
        finally:
            hurt.mend()


@pytest.fixture
def make_cluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> "Generator[Callable[[], Cluster]]":
    """Makes clusters of a test's own; not started yet."""
    _skip_for(problem())
    from tests.cluster.cluster import Cluster

    with ExitStack() as stack:

        def make() -> Cluster:
            cluster = Cluster(tmp_path_factory.mktemp("cluster"))
            stack.callback(cluster.close)
            return cluster

        yield make


@pytest.fixture
def kubernetes_namespace(cluster: Reachable) -> Generator[str]:
    """A namespace of this test alone on the cluster of this run."""
    with namespace_on(cluster.kubeconfig) as namespace:
        yield namespace


@contextlib.contextmanager
def namespace_on(kubeconfig: Path) -> Generator[str]:
    """A namespace in which pods can be made; the end of all that is in it isn't waited for."""
    api, name = Api(kubeconfig), f"test-{uuid4().hex[:12]}"
    path = f"/api/v1/namespaces/{name}"
    api.post("/api/v1/namespaces", {"metadata": {"name": name}})
    try:
        for needed in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
            what = f"{name} has {needed}"
            until(what, lambda: api.exists(f"{path}/{needed}"), seconds=_ACCOUNT_SECONDS)  # noqa: B023
        yield name
    finally:
        api.delete(path)
        # A shell doesn't end by SIGTERM: pods would stay for their 30 s.
        api.delete(f"{path}/pods", {"gracePeriodSeconds": 1})


def _skip_for(problem: str) -> None:
    """Skip in the words of tests/conftest.py, which fails a run that requires the engine."""
    if problem:
        pytest.skip(f"engine kubernetes: {problem}")
