"""The Kubernetes of a row: a private node, or the cluster that the environment names."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.docker_daemon import NotMeasurable
from tests.cluster.available import GIVEN_KUBECONFIG, problem
from tests.cluster.fixtures import namespace_on


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of a row alone."""

    kubeconfig: Path
    namespace: str


@contextlib.contextmanager
def kubernetes_place(directory: Path) -> Iterator[Place]:
    """A namespace that is deleted afterwards; a private cluster is gone then as well.

    Raises:
        NotMeasurable: there is no cluster, and none can be started.
    """
    with _cluster(directory) as kubeconfig, namespace_on(kubeconfig) as namespace:
        yield Place(kubeconfig, namespace)


@contextlib.contextmanager
def _cluster(directory: Path) -> Iterator[Path]:
    if given := os.environ.get(GIVEN_KUBECONFIG):
        yield Path(given)
        return
    if why := problem():
        raise NotMeasurable(why)
    from tests.cluster.cluster import Cluster

    with Cluster(directory / "cluster") as cluster:
        yield cluster.kubeconfig


def official_client(kubeconfig: str) -> Any:
    """The official synchronous client for batch/v1, as its users make it."""
    config = importlib.import_module("kubernetes.config")
    client = importlib.import_module("kubernetes.client")
    return client.BatchV1Api(config.new_client_from_config(kubeconfig))
