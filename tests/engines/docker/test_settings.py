"""What a daemon says of itself, and what can be done on it."""

from pathlib import Path
from typing import Any

import pytest

from engines.base import Capability
from engines.config import InvalidEngine, JobManager
from engines.docker.settings import About, Settings, capabilities, read_about

DOCKER = {"Version": "20.10.24", "Components": [{"Name": "Engine"}, {"Name": "containerd"}]}
PODMAN = {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}]}


@pytest.mark.parametrize(
    ("version", "info", "about"),
    [
        ({}, {}, About(init=False)),
        (
            DOCKER,
            {"NCPU": 8, "InitBinary": "docker-init", "Runtimes": {"runc": {}}},
            About("20.10.24", processors=8),
        ),
        (
            DOCKER,
            {"NCPU": 2, "InitBinary": "", "Runtimes": None, "DiscoveredDevices": None},
            About("20.10.24", processors=2, init=False),
        ),
        (
            DOCKER,
            {"InitBinary": "x", "Runtimes": {"nvidia": {}}},
            About("20.10.24", gpus=True),
        ),
        (
            DOCKER,
            {"InitBinary": "x", "DiscoveredDevices": [{"Source": "cdi"}]},
            About("20.10.24", gpus=True),
        ),
        (
            PODMAN,
            {"NCPU": 4, "Runtimes": {"nvidia": {}}},
            About("4.3.1", podman=True, processors=4),
        ),
    ],
)
def test_about(version: dict[str, Any], info: dict[str, Any], about: About) -> None:
    assert read_about(version, info, 0.0) == about


@pytest.mark.parametrize(
    ("clock", "taken"), [(0.0, 0.0), (0.9, 0.0), (-0.9, 0.0), (1.0, 1.0), (-7.5, -7.5)]
)
def test_clock(clock: float, taken: float) -> None:
    assert read_about({}, {}, clock).clock == taken


OPTIONAL = {Capability.GPU, Capability.SECRET_ENV, Capability.ENGINE_OPTIONS}


@pytest.mark.parametrize(
    ("settings", "about", "found"),
    [
        (Settings(), About(), set()),
        (Settings(), About(gpus=True), {Capability.GPU}),
        (Settings(secrets=Path("/s")), About(), {Capability.SECRET_ENV}),
        (Settings(engine_options=True), About(), {Capability.ENGINE_OPTIONS}),
        (Settings(secrets=Path("/s"), engine_options=True), About(gpus=True), OPTIONAL),
    ],
)
def test_capabilities(settings: Settings, about: About, found: set[Capability]) -> None:
    assert capabilities(settings, about) & OPTIONAL == found
    assert capabilities(settings, about) | OPTIONAL == frozenset(Capability) - {Capability.COMMANDS}


@pytest.mark.parametrize("namespace", ["a", "team-1", "A", "9", "n" * 32])
def test_namespaces(namespace: str) -> None:
    JobManager("docker", namespace=namespace)


@pytest.mark.parametrize(
    "namespace", ["", "n" * 33, "a.b", "a/b", "-a", "a b", "a_b", "ä", "٣", "a\n", "-", "a\0"]
)
def test_what_is_no_namespace(namespace: str) -> None:
    with pytest.raises(InvalidEngine, match="namespace"):
        JobManager("docker", namespace=namespace)
