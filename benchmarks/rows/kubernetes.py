"""The Kubernetes engine beside the official client: create, read, and the end."""

from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

from benchmarks.figures import Figure, Measure, Reference, at_most, ratio_at_least, ratio_at_most
from benchmarks.kubernetes_cluster import forbid_pods, kubernetes_place
from benchmarks.kubernetes_jobs import SPEC
from benchmarks.loads.calls import job_names
from benchmarks.processes import echoing, run_load, serving_kubernetes
from benchmarks.rows.read_status import subject
from benchmarks.scale import Scale
from jobengine import Client
from jobengine.v1.job_engine_pb2 import CreateJobResponse, ReadStatusResponse
from jobengine.v1.job_pb2 import Job

READERS = 8
"""Threads of the official client; more don't read more."""


def measure_creates(directory: Path, scale: Scale) -> list[Figure]:
    """One caller, one job after another, each deleted before the next; no pod is made of any."""
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    behind: list[list[float]] = []
    with (
        kubernetes_place(directory) as place,
        serving_kubernetes(directory, place) as server,
        echoing(directory, unary_bytes=_created_bytes()) as echo,
    ):
        forbid_pods(place)
        for _ in range(scale.kubernetes_rounds):
            told = run_load(
                "kubernetes_creates",
                directory,
                address=server.address,
                echo=echo.address,
                kubeconfig=str(place.kubeconfig),
                namespace=place.namespace,
                count=scale.kubernetes_creates,
            )
            created, hops = told["theirs"], told["hops"]
            ours.append([seconds * 1e3 for seconds in told["ours"]])
            theirs.append([seconds * 1e3 for seconds in created])
            behind.append([sum(both) * 1e3 for both in zip(created, hops, strict=True)])
    return [
        Figure(
            "kubernetes CreateJob",
            f"until it answers, p{percent}",
            "ms",
            Measure.percentile(ours, percent),
            Reference(name, Measure.percentile(reference, percent)),
            target if percent == 50 else None,
        )
        for name, reference, target in (
            ("official client: create", theirs, ratio_at_most(1.1)),
            ("the same behind a bare echo", behind, None),
        )
        for percent in (50, 99)
    ]


def _created_bytes() -> int:
    """The size of CreateJob's answer, but for the few bytes of its times."""
    job = Job(name=str(uuid4()), uid=str(uuid4()), spec=SPEC)
    return CreateJobResponse(job=job).ByteSize()


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
    """One Job, read by ReadStatus and by the official client, and a bare echo, in turns."""
    ours: list[float] = []
    theirs: list[float] = []
    echoes: list[float] = []
    (name,) = job_names(1)
    with ExitStack() as stack:
        place = stack.enter_context(kubernetes_place(directory))
        server = stack.enter_context(serving_kubernetes(directory, place))
        with Client(server.address) as client:
            job = client.create_job(SPEC, name=name)
            answer = ReadStatusResponse(status=client.read_status(name), uid=job.uid)
        echo = stack.enter_context(echoing(directory, unary_bytes=answer.ByteSize()))
        seconds = scale.kubernetes_seconds
        subjects = [subject(server, 1), subject(echo, 1)]
        for _ in range(scale.kubernetes_rounds):
            told = run_load("calls", directory, turns=1, seconds=seconds, servers=subjects)
            ours += told["servers"][0]["per_second"]
            echoes += told["servers"][1]["per_second"]
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
    return [
        Figure(
            "kubernetes ReadStatus",
            "calls per second",
            "/s",
            Measure.median(ours),
            Reference(reference, Measure.median(per_second)),
            ratio_at_least(target),
        )
        for reference, per_second, target in (
            (f"official client, {READERS} threads", theirs, 10),
            ("bare echo", echoes, 0.8),
        )
    ]
