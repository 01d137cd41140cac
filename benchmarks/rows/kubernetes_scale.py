"""Many jobs of the Kubernetes engine, and many watchers: the start, memory, reads, requests."""

import importlib
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Figure, Measure, Reference, at_most, ratio_at_most
from benchmarks.kubernetes_cluster import Place, counted, kubernetes_place, official_client
from benchmarks.kubernetes_jobs import make_suspended_jobs
from benchmarks.loads.calls import job_names
from benchmarks.processes import Server, run_load, serving_kubernetes
from benchmarks.rows.finished import ask
from benchmarks.rows.read_status import subject
from benchmarks.rows.watchers import watching
from benchmarks.scale import Scale
from engines.kubernetes.record import END
from jobengine import Client
from tests.cluster.fixtures import namespace_on

IDLE_ROUNDS = 2
EVENT_SECONDS = 60
"""How long the official client may wait for a Job's end."""


@dataclass(slots=True)
class Subject:
    """So many watchers, and what the rounds came to."""

    watchers: int
    per_minute: list[float] = field(default_factory=list[float])
    late_ms: list[float] = field(default_factory=list[float])


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Two namespaces of one cluster: one with many suspended Jobs, and one with a single one."""
    names = job_names(scale.kubernetes_scale)
    row = f"kubernetes {len(names):,} jobs"
    with kubernetes_place(directory) as many, namespace_on(many.kubeconfig) as other:
        few = Place(many.kubeconfig, other)
        make_suspended_jobs(few, names[:1])
        make_suspended_jobs(many, names)
        return [
            *_starting(row, directory, scale, few, many),
            *_reading(row, directory, scale, few, many),
            *_watching(row, directory, scale, many),
        ]


def _starting(row: str, directory: Path, scale: Scale, few: Place, many: Place) -> list[Figure]:
    """From the start of a process until it serves, which it does once it knows all jobs."""
    ours: list[float] = []
    small: list[float] = []
    listing: list[float] = []
    for _ in range(scale.kubernetes_rounds):
        small.append(_start_seconds(directory, few))
        ours.append(_start_seconds(directory, many))
        listing.append(_list_seconds(directory, many, scale.kubernetes_scale))
    references = {"official client: list": listing, "1 job": small}
    return [
        Figure(
            row,
            "start to serving",
            "s",
            Measure.median(ours),
            Reference(name, Measure.median(seconds)),
        )
        for name, seconds in references.items()
    ]


def _start_seconds(directory: Path, place: Place) -> float:
    with serving_kubernetes(directory, place) as server:
        return server.start_seconds


def _list_seconds(directory: Path, place: Place, count: int) -> float:
    told = run_load(
        "kubernetes_lists",
        directory,
        kubeconfig=str(place.kubeconfig),
        namespace=place.namespace,
    )
    assert told["count"] == count
    return float(told["seconds"])


def _reading(row: str, directory: Path, scale: Scale, few: Place, many: Place) -> list[Figure]:
    count = scale.kubernetes_scale
    with (
        serving_kubernetes(directory, few) as small,
        serving_kubernetes(directory, many) as large,
    ):
        kilobytes = (large.private_bytes - small.private_bytes) / (count - 1) / 1e3
        subjects = [subject(small, 1), subject(large, count)]
        return [
            Figure(row, "memory per job", "KB", Measure.median([kilobytes])),
            *ask(row, directory, scale, subjects),
        ]


def _watching(row: str, directory: Path, scale: Scale, place: Place) -> list[Figure]:
    """Each round watches a job that hasn't ended yet, and ends it."""
    one, many = Subject(1), Subject(scale.kubernetes_scale)
    names = iter(job_names(2 * IDLE_ROUNDS))
    with (
        counted(place, directory) as (seen, proxy),
        serving_kubernetes(directory, seen) as server,
    ):
        for _ in range(IDLE_ROUNDS):
            for each in (one, many):
                name = next(names)
                with watching(directory, server, each.watchers, name) as watchers:
                    each.per_minute.append(proxy.per_minute(scale.kubernetes_idle_seconds))
                    ended = _end(server, place, name)
                    last = max(told["last"] for told in watchers.told())
                each.late_ms.append((last - ended) * 1e3)
    return [_requests(row, one, many), _lateness(row, many)]


def _end(server: Server, place: Place, name: str) -> float:
    """Cancel a job; return when the official client's watch tells that this is done."""
    sdk = official_client(str(place.kubeconfig))
    events = (
        importlib.import_module("kubernetes.watch")
        .Watch()
        .stream(
            sdk.list_namespaced_job,
            place.namespace,
            field_selector=f"metadata.name={name}",
            timeout_seconds=EVENT_SECONDS,
        )
    )
    next(events)  # as it is before
    with Client(server.address) as client, ThreadPoolExecutor(1) as thread:
        cancelled = thread.submit(client.cancel_job, name)
        for event in events:
            if END in event["object"].metadata.annotations:
                heard = time.time()
                cancelled.result()
                return heard
    raise RuntimeError(f"the official client hasn't heard of the end of {name}")


def _requests(row: str, one: Subject, many: Subject) -> Figure:
    """The rounds' mean, for there are few; an API server ends watches when it likes."""
    few, much = (
        Measure(tuple(rounds), statistics.fmean(rounds))
        for rounds in (one.per_minute, many.per_minute)
    )
    name = f"requests in a minute, idle, {many.watchers:,} watchers"
    return Figure(row, name, "", much, Reference("1 watcher", few), ratio_at_most(1.25))


def _lateness(row: str, many: Subject) -> Figure:
    return Figure(
        row,
        f"after the official client's watch, the last of {many.watchers:,} watchers",
        "ms",
        Measure.median(many.late_ms),
        target=at_most(1000),
    )
