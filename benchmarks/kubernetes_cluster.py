"""The Kubernetes of a row: a private node, or the cluster that the environment names."""

import contextlib
import importlib
import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.docker_daemon import NotMeasurable
from benchmarks.proxy import Proxy, serving
from tests.cluster.api import Access
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


@contextlib.contextmanager
def counted(place: Place, directory: Path) -> Iterator[tuple[Place, Proxy]]:
    """The same place, seen through a proxy that notes each request; the directory is for its file.

    The API server's own metrics don't tell who has asked, and the kubelet and Kubernetes'
    controllers always do. A proxy hears of one server alone, needs nothing of the API server,
    and no hook in the engine. It takes plain HTTP, and speaks TLS to the API server.
    """
    access = Access.of(place.kubeconfig)
    tls = ssl.create_default_context(cafile=access.ca_file)
    if access.cert_file:
        tls.load_cert_chain(access.cert_file, access.key_file)
    with serving(Proxy(access.server.replace("https:", "tcp:", 1), None, tls)) as proxy:
        kubeconfig = directory / "counted.json"
        kubeconfig.write_text(json.dumps(_kubeconfig(proxy.host, access.token)))
        yield Place(kubeconfig, place.namespace), proxy


def _kubeconfig(host: str, token: str) -> dict[str, Any]:
    """JSON is YAML as well."""
    server = host.replace("tcp:", "http:", 1)
    context = {"cluster": "counted", "user": "user"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "counted", "cluster": {"server": server}}],
        "users": [{"name": "user", "user": {"token": token} if token else {}}],
        "contexts": [{"name": "counted", "context": context}],
        "current-context": "counted",
    }


def official_client(kubeconfig: str, api: str = "BatchV1Api") -> Any:
    """The official synchronous client for batch/v1, or another API, as its users make it."""
    config = importlib.import_module("kubernetes.config")
    client = importlib.import_module("kubernetes.client")
    return getattr(client, api)(config.new_client_from_config(kubeconfig))


def forbid_pods(place: Place) -> None:
    """Have no pod made in the namespace: they would take the processors that are measured on."""
    quota = {"metadata": {"name": "no-pods"}, "spec": {"hard": {"pods": "0"}}}
    core = official_client(str(place.kubeconfig), "CoreV1Api")
    core.create_namespaced_resource_quota(place.namespace, quota)
