"""The Kubernetes engine beside the official client: create, read, and the end."""

from pathlib import Path

from benchmarks.figures import Figure, Measure, Reference, at_most, ratio_at_least, ratio_at_most
from benchmarks.kubernetes_cluster import kubernetes_place
from benchmarks.loads.calls import job_names
from benchmarks.processes import run_load, serving_kubernetes
from benchmarks.rows.read_status import subject
from benchmarks.scale import Scale
from jobengine import Client, JobSpec
from tests.cluster.images import IMAGE

READERS = 8
"""Threads of the official client; more don't read more."""


def measure_creates(directory: Path, scale: Scale) -> list[Figure]:
    """One caller, one job after another, each deleted before the next."""
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    with kubernetes_place(directory) as place, serving_kubernetes(directory, place) as server:
        for _ in range(scale.kubernetes_rounds):
            told = run_load(
                "kubernetes_creates",
                directory,
                address=server.address,
                kubeconfig=str(place.kubeconfig),
                namespace=place.namespace,
                count=scale.kubernetes_creates,
            )
            ours.append([seconds * 1e3 for seconds in told["ours"]])
            theirs.append([seconds * 1e3 for seconds in told["theirs"]])
    return [
        Figure(
            "kubernetes CreateJob",
            f"until it answers, p{percent}",
            "ms",
            Measure.percentile(ours, percent),
            Reference("official client: create", Measure.percentile(theirs, percent)),
            ratio_at_most(1.1) if percent == 50 else None,
        )
        for percent in (50, 99)
    ]


def measure_endings(directory: Path, scale: Scale) -> list[Figure]:
    """From the official client's receipt of the condition to our caller's of the end."""
    late: list[list[float]] = []
    with kubernetes_place(directory) as place, serving_kubernetes(directory, place) as server:
        for _ in range(scale.kubernetes_rounds):
            told = run_load(
                "kubernetes_endings",
                directory,
                address=server.address,
                kubeconfig=str(place.kubeconfig),
                namespace=place.namespace,
                count=scale.kubernetes_jobs,
            )
            late.append([seconds * 1e3 for seconds in told["seconds"]])
    return [
        Figure(
            "kubernetes end to watcher",
            f"after the official client's watch, p{percent}",
            "ms",
            Measure.percentile(late, percent),
            target=at_most(100) if percent == 50 else None,
        )
        for percent in (50, 99)
    ]


def measure_reads(directory: Path, scale: Scale) -> list[Figure]:
    """One Job, read by ReadStatus and by the official client, in turns."""
    ours: list[float] = []
    theirs: list[float] = []
    (name,) = job_names(1)
    with kubernetes_place(directory) as place, serving_kubernetes(directory, place) as server:
        with Client(server.address) as client:
            client.create_job(JobSpec(command=["sleep", "600"], image=IMAGE), name=name)
        seconds = scale.kubernetes_seconds
        for _ in range(scale.kubernetes_rounds):
            told = run_load(
                "calls", directory, turns=1, seconds=seconds, servers=[subject(server, 1)]
            )
            ours += told["servers"][0]["per_second"]
            read = run_load(
                "kubernetes_reads",
                directory,
                kubeconfig=str(place.kubeconfig),
                namespace=place.namespace,
                name=name,
                threads=READERS,
                seconds=seconds,
            )
            theirs.append(read["per_second"])
    reference = f"official client, {READERS} threads"
    return [
        Figure(
            "kubernetes ReadStatus",
            "calls per second",
            "/s",
            Measure.median(ours),
            Reference(reference, Measure.median(theirs)),
            ratio_at_least(10),
        )
    ]
