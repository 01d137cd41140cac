"""The Docker daemon of a row: a private one, or the one that the environment names."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from docker import APIClient

from engines.docker.record import NAMESPACE
from tests.docker.available import GIVEN_HOST, problem
from tests.docker.daemons import Dockerd, load_image

ANSWER_SECONDS = 60


class NotMeasurable(Exception):
    """There is no daemon; the message says why."""


@contextlib.contextmanager
def docker_daemon(directory: Path) -> Iterator[str]:
    """The host of a daemon with the image of the tests, as DOCKER_HOST has it.

    A private daemon keeps all that it has in the directory, and is gone afterwards, whatever
    happens meanwhile. A given one is left as it was.

    Raises:
        NotMeasurable: there is none, and none can be started.
    """
    if host := os.environ.get(GIVEN_HOST) or os.environ.get("DOCKER_HOST"):
        with _given(host):
            yield host
        return
    if why := problem("docker"):
        raise NotMeasurable(why)
    with Dockerd(directory / "dockerd") as daemon:
        yield daemon.host


def new_namespace() -> str:
    """One that no other run uses; `docker_daemon` knows it again by how it begins."""
    return f"{_mark()}-{uuid4().hex[:8]}"


def _mark() -> str:
    return f"bench-{os.getpid()}"


@contextlib.contextmanager
def _given(host: str) -> Iterator[None]:
    load_image(host)
    try:
        yield
    finally:
        _clear(host)


def _clear(host: str) -> None:
    """Remove what this run has left in its namespaces."""
    filters = {"label": NAMESPACE}
    with contextlib.closing(APIClient(host, timeout=ANSWER_SECONDS)) as client:
        for container in client.containers(all=True, filters=filters):
            if container["Labels"][NAMESPACE].startswith(_mark()):
                client.remove_container(container["Id"], v=True, force=True)
        for volume in client.volumes(filters=filters)["Volumes"] or ():
            if volume["Labels"][NAMESPACE].startswith(_mark()):
                client.remove_volume(volume["Name"])
