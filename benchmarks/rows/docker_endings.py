"""How late a watcher hears of the end of its job's container."""

from pathlib import Path

from benchmarks.docker_daemon import docker_daemon, new_namespace
from benchmarks.figures import Figure, Measure, Reference, at_most
from benchmarks.processes import run_load, serving_docker
from benchmarks.scale import Scale

ROW = "docker end to watcher"
JOB_SECONDS = 0.1


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """From the container's FinishedAt to the client's receipt, one job at a time."""
    ours: list[list[float]] = []
    daemon: list[list[float]] = []
    with (
        docker_daemon(directory) as host,
        serving_docker(directory, host, new_namespace()) as server,
    ):
        for _ in range(scale.docker_rounds):
            told = run_load(
                "docker_endings",
                directory,
                address=server.address,
                host=host,
                count=scale.docker_jobs,
                job_seconds=JOB_SECONDS,
            )
            ours.append([seconds * 1e3 for seconds in told["seconds"]])
            daemon.append([seconds * 1e3 for seconds in told["daemon_seconds"]])
    return [
        Figure(
            ROW,
            f"p{percent}",
            "ms",
            Measure.percentile(ours, percent),
            Reference("SDK: the daemon's event", Measure.percentile(daemon, percent)),
            at_most(50) if percent == 50 else None,
        )
        for percent in (50, 99)
    ]
