"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts and spans of a run.

    Calls are made in turns of `turn_seconds`, everything else in rounds, in which each subject
    and each reference has its turn.
    """

    turns: int
    turn_seconds: float
    rounds: int
    jobs: int
    psij_jobs: int
    endings: int
    creates: int
    watchers: int
    listed: int
    idle_streams: int
    watch_rounds: int
    watched_jobs: int
    reconnects: int
    finished: int
    starts: int
    docker_rounds: int
    docker_jobs: int
    docker_finished: int
    docker_idle_seconds: float
    kubernetes_rounds: int
    kubernetes_creates: int
    kubernetes_jobs: int
    kubernetes_seconds: float
    kubernetes_scale: int
    kubernetes_idle_seconds: float


NORMAL = Scale(
    turns=40,
    turn_seconds=0.4,
    rounds=15,
    jobs=400,
    psij_jobs=100,
    endings=30,
    creates=50,
    watchers=1_000,
    listed=20_000,
    idle_streams=1_000,
    watch_rounds=3,
    watched_jobs=2_000,
    reconnects=1_000,
    finished=100_000,
    starts=7,
    docker_rounds=5,
    docker_jobs=20,
    docker_finished=1_000,
    docker_idle_seconds=12.0,
    kubernetes_rounds=5,
    kubernetes_creates=20,
    kubernetes_jobs=6,
    kubernetes_seconds=3.0,
    kubernetes_scale=10_000,
    kubernetes_idle_seconds=60.0,
)

QUICK = Scale(
    turns=10,
    turn_seconds=0.2,
    rounds=3,
    jobs=250,
    psij_jobs=50,
    endings=20,
    creates=40,
    watchers=1_000,
    listed=5_000,
    idle_streams=500,
    watch_rounds=2,
    watched_jobs=500,
    reconnects=500,
    finished=5_000,
    starts=3,
    docker_rounds=3,
    docker_jobs=5,
    docker_finished=300,
    docker_idle_seconds=3.0,
    kubernetes_rounds=2,
    kubernetes_creates=10,
    kubernetes_jobs=2,
    kubernetes_seconds=1.0,
    kubernetes_scale=1_000,
    kubernetes_idle_seconds=30.0,
)

FULL_WATCHERS = 10_000
FULL_LISTED = 100_000
FULL_IDLE_STREAMS = 10_000
FULL_WATCHED_JOBS = 10_000
FULL_RECONNECTS = 10_000
