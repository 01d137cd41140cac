"""From CreateJob to its answer and to the running job on Docker, beside the SDK by itself."""

from pathlib import Path

from benchmarks.docker_daemon import docker_daemon, new_namespace
from benchmarks.figures import Figure, Measure, Reference, Target, ratio_at_most
from benchmarks.processes import run_load, serving_docker
from benchmarks.scale import Scale

ROW = "docker CreateJob"


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """One caller, one job after another, each removed before the next."""
    with (
        docker_daemon(directory) as host,
        serving_docker(directory, host, new_namespace()) as server,
    ):
        arguments = {"address": server.address, "host": host, "namespace": new_namespace()}
        told: list[dict[str, list[float]]] = [
            run_load("docker_creates", directory, count=scale.docker_jobs, **arguments)
            for _ in range(scale.docker_rounds)
        ]

    def figure(
        name: str, key: str, percent: float, reference: tuple[str, str], target: Target | None
    ) -> Figure:
        theirs = Reference(reference[0], _milliseconds(told, reference[1], percent))
        return Figure(ROW, name, "ms", _milliseconds(told, key, percent), theirs, target)

    start = ("SDK: create + start", "started")
    volume = ("SDK: create a volume", "kept")
    return [
        figure("until it answers, p50", "accepted", 50, start, ratio_at_most(1.1)),
        figure("until it answers, p50", "accepted", 50, volume, None),
        figure("created to seen running, p50", "running", 50, start, ratio_at_most(1.1)),
        figure("created to seen running, p99", "running", 99, start, None),
    ]


def _milliseconds(told: list[dict[str, list[float]]], key: str, percent: float) -> Measure:
    return Measure.percentile([[one * 1e3 for one in each[key]] for each in told], percent)
