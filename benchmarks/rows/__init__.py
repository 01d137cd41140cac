"""The rows of the table: each a module with `measure`, named as `--only` knows it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.rows import (
    authenticated,
    create_job,
    docker_creates,
    docker_endings,
    docker_finished,
    docker_upstream,
    endings,
    finished,
    idle_streams,
    jobs,
    kubernetes,
    kubernetes_scale,
    read_status,
    reconnects,
    start,
    watch_jobs,
    watched_jobs,
    watchers,
)
from benchmarks.scale import Scale

Measuring = Callable[[Path, Scale], list[Figure]]

ROWS: Mapping[str, Measuring] = {
    "read-status": read_status.measure,
    "authenticated": authenticated.measure,
    "jobs": jobs.measure,
    "endings": endings.measure,
    "watchers": watchers.measure,
    "watch-jobs": watch_jobs.measure,
    "idle-streams": idle_streams.measure,
    "watched-jobs": watched_jobs.measure,
    "reconnects": reconnects.measure,
    "finished": finished.measure,
    "start": start.measure,
    "create-job": create_job.measure,
    "docker-create-job": docker_creates.measure,
    "docker-endings": docker_endings.measure,
    "docker-upstream": docker_upstream.measure,
    "docker-finished": docker_finished.measure,
    "kubernetes-create-job": kubernetes.measure_creates,
    "kubernetes-endings": kubernetes.measure_endings,
    "kubernetes-read-status": kubernetes.measure_reads,
    "kubernetes-scale": kubernetes_scale.measure,
}
