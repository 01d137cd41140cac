"""Whether the engines of containers can be tested here; imports nothing that may be missing."""

import importlib.util
import os
import shutil
import sys

GIVEN_HOST = "JOBENGINE_TEST_DOCKER_HOST"
"""Environment variable: the daemon to test the engine docker on, in place of a private one."""

PATH = os.pathsep.join([
    os.environ.get("PATH", os.defpath),
    *("/usr/local/sbin", "/usr/sbin", "/sbin"),  # not in every root's PATH
    *("/usr/lib/podman", "/usr/libexec/podman"),
])  # fmt: skip
"""Where the daemons' programs are."""

_PROGRAMS = {
    "docker": (
        *("dockerd", "docker-init", "containerd", "runc", "ip", "busybox"),
        "docker-registry",
    ),
    "podman": ("podman", "netavark", "catatonit", "docker-init", "runc", "ip", "busybox"),
}


def problems() -> dict[str, str]:
    """By engine: why it can't be tested here, or nothing."""
    found = {name: problem(name) for name in _PROGRAMS}
    if os.environ.get(GIVEN_HOST):
        found["docker"] = _problem_of_sdk()
    return found


def problem(engine: str) -> str:
    """Why no private daemon can be started for an engine, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "its daemon takes root on Linux"
    missing = [name for name in _PROGRAMS[engine] if shutil.which(name, path=PATH) is None]
    if missing:
        return f"{', '.join(missing)} isn't installed: run tests/docker/install as root"
    return _problem_of_sdk()


def _problem_of_sdk() -> str:
    if importlib.util.find_spec("docker") is not None:
        return ""
    return "the Python package 'docker' isn't installed: run scripts/setup dev"
