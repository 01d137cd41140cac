"""Reads jobs from the directory: whole, and what is new of those that are carried. Blocks."""

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog

from engines import Status
from engines.lifecycle.facts import Intent, Key, Stop
from engines.slurm import record
from engines.slurm.queue import Batch
from engines.slurm.record import Attempt, KeptJob, Written
from engines.slurm.store import Store

RECENT_SECONDS: Final = 3.0
"""What changed within this time may have changed again without its time telling: clocks are coarse,
and a remote file system's attributes are remembered for a while."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Sighting:
    """A job as its directory tells it. `end` is set where it is over, and nothing else then."""

    kept: KeptJob
    end: Status | None = None
    stop: Stop | None = None
    deleted: bool = False
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    written: dict[Key, Written] = field(default_factory=dict[Key, Written])
    submitted: list[tuple[Batch, str]] = field(default_factory=list[tuple[Batch, str]])


def see(store: Store, name: str) -> Sighting | None:
    """The job of this name; None if there is none, or if it can't be read."""
    try:
        kept = store.read_job(name)
    except (ValueError, TypeError, KeyError) as error:
        _log.error("slurm_job_damaged", job=name, error=str(error))
        return None
    found = None if kept is None else store.look(kept)
    if found is None:
        return None
    seen = Sighting(found.kept, found.end, found.stop, found.deleted)
    if found.end is not None:
        return seen
    for file in found.files:
        if (submitted := record.parse_submitted_name(file)) is not None:
            seen.submitted.append(submitted)
        elif (key := record.parse_attempt_name(file)) is not None:
            see_attempt(store, seen.kept.intent, key, seen.attempts, seen.written)
    return seen


def see_all(store: Store, names: Collection[str]) -> list[Sighting]:
    """The jobs of these names, as far as they are there."""
    return [seen for name in names if (seen := see(store, name)) is not None]


def see_attempt(
    store: Store,
    intent: Intent,
    key: Key,
    attempts: list[Attempt],
    written: dict[Key, Written],
) -> None:
    """Take in an attempt, and how its script says that it ended."""
    attempt = store.read_attempt(intent, key)
    if attempt is None:
        return
    attempts.append(attempt)
    if attempt.end is None and (end := store.read_end(intent, key)) is not None:
        written[key] = end


class Known(NamedTuple):
    """What is known of a job: when its directory and those of its attempts changed last."""

    intent: Intent
    changed: int
    attempts: Collection[Key]
    running: dict[Key, int]


@dataclass(slots=True)
class Glance:
    """What is new of a job. `decided`: something else than attempts may be new in it."""

    intent: Intent
    gone: bool = False
    changed: int = 0
    decided: frozenset[str] = frozenset()
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    written: dict[Key, Written] = field(default_factory=dict[Key, Written])
    running: dict[Key, int] = field(default_factory=dict[Key, int])


_DECISIONS: Final = frozenset({record.STOP, record.DELETE, record.END})


def glance(store: Store, known: Known) -> Glance:
    """What is new of a job since it was looked at last."""
    intent = known.intent
    seen = Glance(intent, changed=known.changed)
    home = store.job_directory(intent.name, intent.uid)
    try:
        changed = os.stat(home).st_mtime_ns  # noqa: PTH116
        if changed != known.changed or _recent(changed):
            files = os.listdir(home)  # noqa: PTH208
            seen.changed = changed
            seen.decided = _DECISIONS.intersection(files)
            for file in files:
                key = record.parse_attempt_name(file)
                if key is not None and key not in known.attempts:
                    see_attempt(store, intent, key, seen.attempts, seen.written)
    except FileNotFoundError:
        seen.gone = True
        return seen
    for key, last in known.running.items():
        _glance_at(store, seen, key, f"{home}/{record.attempt_name(key)}", last)
    return seen


def _glance_at(store: Store, seen: Glance, key: Key, path: str, last: int) -> None:
    try:
        changed = os.stat(path).st_mtime_ns  # noqa: PTH116
    except FileNotFoundError:
        return
    seen.running[key] = changed
    if changed != last or _recent(changed):
        attempts: list[Attempt] = []
        see_attempt(store, seen.intent, key, attempts, seen.written)
        seen.attempts += [attempt for attempt in attempts if attempt.end is not None]


def glances(store: Store, known: Sequence[Known]) -> list[Glance]:
    """What is new of these jobs."""
    return [glance(store, each) for each in known]


def _recent(changed: int) -> bool:
    return abs(time.time() - changed / 1e9) < RECENT_SECONDS
