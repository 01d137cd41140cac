"""What is written down of a run: what each watcher was told, and what became of each job."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from jobengine import Job, JobState, JobStatus, WatchEvent, WatchJobsResponse, WatchStatusResponse

STATUS = WatchEvent.WATCH_EVENT_STATUS
DELETED = WatchEvent.WATCH_EVENT_DELETED
SYNCED = WatchEvent.WATCH_EVENT_SYNCED
HEARTBEAT = WatchEvent.WATCH_EVENT_HEARTBEAT


class End(Enum):
    """How a watch ended."""

    OPEN = "left open"
    """It never ended by itself, as a watch of many jobs must not."""
    OK = "ended"
    GONE = "found no such job"


@dataclass(frozen=True, slots=True)
class Told:
    """A message as its watcher got it."""

    event: int
    name: str = ""
    uid: str = ""
    status: JobStatus = field(default_factory=JobStatus)
    cursor: str = ""
    full: bool = False
    call: int = 0
    """In which of its watcher's calls it came; a client doesn't tell."""
    order: int = 0
    """Its place among all messages to all watchers."""

    @property
    def news(self) -> tuple[int, str, JobStatus]:
        """What it says, wherever it came from."""
        return self.event, self.uid, self.status


@dataclass(slots=True)
class Watch:
    """One watcher's history. It watches the job `name` alone, or all that match `selector`."""

    name: str = ""
    selector: str = ""
    raw: bool = False
    """Whether it called the server itself, and resumed with the last cursor that it got."""
    told: list[Told] = field(default_factory=list)
    end: End = End.OPEN

    def __str__(self) -> str:
        what = self.name or f"all jobs {self.selector!r}"
        return f"{'raw watch' if self.raw else 'watch'} of {what}"


@dataclass(frozen=True, slots=True)
class Life:
    """What became of a job (of one uid), from those who made it and from what it wrote."""

    name: str
    uid: str
    ends: frozenset[tuple[int, int]] = frozenset()
    """The states in which it may have ended, each with its exit code."""
    may_be_cancelled: bool = False
    may_go: bool = False
    """Whether it was deleted, or forgotten by an engine that keeps nothing."""

    def allows(self, status: JobStatus) -> bool:
        """Whether it may have ended like this."""
        if status.state == JobState.JOB_STATE_CANCELLED:
            return self.may_be_cancelled
        return (status.state, status.exit_code) in self.ends


@dataclass(frozen=True, slots=True)
class History:
    """All that the checks need to know of a run that is over."""

    watches: list[Watch]
    lives: Mapping[str, Life]
    """By uid."""
    listed: Mapping[str, Mapping[str, Job]]
    """By selector, then by name: what ListJobs says in the end."""


class Notebook:
    """Where all watchers of a run write down what they are told."""

    def __init__(self) -> None:
        self.watches: list[Watch] = []
        self._order = itertools.count()

    def open(self, name: str = "", selector: str = "", *, raw: bool) -> Watch:
        """Begin a watcher's history."""
        watch = Watch(name, selector, raw)
        self.watches.append(watch)
        return watch

    def note(
        self, watch: Watch, message: WatchStatusResponse | WatchJobsResponse, call: int = 0
    ) -> None:
        """Write a message down, as it is now."""
        if isinstance(message, WatchStatusResponse):
            name, uid, status, full = watch.name, message.uid, message.status, False
        else:
            job = message.job
            name, uid, status, full = job.name, job.uid, job.status, message.full
        kept = JobStatus()
        kept.CopyFrom(status)
        order = next(self._order)
        watch.told.append(Told(message.event, name, uid, kept, message.cursor, full, call, order))
