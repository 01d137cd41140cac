"""`python -m tests.docker up|podman-up|down DIR`: private daemons, for people and benchmarks."""

import sys
from pathlib import Path

from tests.docker.available import problem
from tests.docker.daemons import Daemon, Dockerd, PodmanService, in_directory

_USAGE = "usage: tests/docker/{up|podman-up} DIR [options of the daemon], tests/docker/down DIR"


def main(command: str = "", directory: str = "", *options: str) -> int | str:
    """Run a command; return its exit code, or what is wrong."""
    if not directory or command not in {"up", "podman-up", "down"}:
        return _USAGE
    place = Path(directory)
    if command == "up":
        return problem("docker") or _start(Dockerd(place, *options))
    if command == "podman-up":
        return problem("podman") or _start(PodmanService(place, *options))
    if (daemon := in_directory(place)) is not None:
        daemon.close()
    return 0


def _start(daemon: Daemon) -> int | str:
    try:
        daemon.start()
    except (AssertionError, OSError) as error:
        daemon.close()
        return str(error)
    print(f"export DOCKER_HOST={daemon.host}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
