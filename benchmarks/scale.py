"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Counts and spans of a run; `round_seconds` is that of a round of calls."""

    rounds: int
    round_seconds: float
    jobs: int
    psij_jobs: int
    endings: int
    creates: int
    watchers: int
    finished: int
    starts: int


NORMAL = Scale(
    rounds=7,
    round_seconds=2.0,
    jobs=1000,
    psij_jobs=200,
    endings=50,
    creates=100,
    watchers=1_000,
    finished=100_000,
    starts=7,
)

QUICK = Scale(
    rounds=3,
    round_seconds=0.7,
    jobs=250,
    psij_jobs=50,
    endings=20,
    creates=40,
    watchers=1_000,
    finished=5_000,
    starts=3,
)

FULL_WATCHERS = 10_000
