"""`python -m tests.slurm up|up-accounting|down DIR`: private clusters, for people and benches."""

import subprocess
import sys
from pathlib import Path

from tests.slurm.available import problem
from tests.slurm.cluster import SlurmCluster
from tests.slurm.files import Settings

_USAGE = "usage: tests/slurm/{up|up-accounting|down} DIR"


def main(command: str = "", directory: str = "") -> int | str:
    """Run a command; return its exit code, or what is wrong."""
    if not directory or command not in {"up", "up-accounting", "down"}:
        return _USAGE
    if command == "down":
        SlurmCluster(Path(directory)).close()
        return 0
    settings = Settings(accounting=command == "up-accounting")
    return problem() or _start(SlurmCluster(Path(directory), settings))


def _start(cluster: SlurmCluster) -> int | str:
    try:
        cluster.start()
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        cluster.close()
        return str(error)
    print(f"export SLURM_CONF={cluster.conf}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
