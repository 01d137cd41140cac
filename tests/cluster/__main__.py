"""`python -m tests.cluster up|down DIR`: private clusters, for people and benchmarks."""

import sys
from pathlib import Path

from tests.cluster.api import Refused
from tests.cluster.available import problem
from tests.cluster.cluster import Cluster

_USAGE = "usage: tests/cluster/{up|down} DIR"


def main(command: str = "", directory: str = "") -> int | str:
    """Run a command; return its exit code, or what is wrong."""
    if not directory or command not in {"up", "down"}:
        return _USAGE
    cluster = Cluster(Path(directory))
    if command == "up":
        return problem() or _start(cluster)
    cluster.close()
    return 0


def _start(cluster: Cluster) -> int | str:
    try:
        cluster.start()
    except (AssertionError, OSError, Refused) as error:
        cluster.close()
        return str(error)
    print(f"export KUBECONFIG={cluster.kubeconfig}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
