"""The newest status of every job, kept by one upstream watch for any number of readers."""

import asyncio
import contextlib
import dataclasses
import itertools
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Collection, Iterator

import structlog
from sortedcontainers import SortedDict

from engines.backoff import Backoff
from engines.base import Changed, Contact, Engine, Event, Job, Removed, Snapshot, State
from engines.errors import EngineError, EngineFailed
from server.broadcast import Broadcast
from server.entry import Entry, forward, removed
from server.index import Index
from server.metrics.jobs import JobTally
from server.ownership import Unfinished
from server.selector import Selector, matches

SILENCE_SECONDS = 30.0
"""A watch that says nothing for this long is dead: engines owe a sign of life every 10 s."""

LISTEN_AGAIN = Backoff(first=0.1, longest=5.0)

MAX_REMEMBERED_DELETIONS = 10_000
"""Deletions that a resumed WatchJobs can still be told; older cursors get a full list."""

BATCH = 256
"""So many jobs are looked at without letting the event loop run: about 1 ms."""

_log = structlog.get_logger()


class Mirror:
    """What is known of all jobs.

    Two things write to it: the engine's watch, and the server's own successful calls, at once,
    so that a caller reads what it has written. States only move forward, and what is gone
    never comes back: an engine never reuses a uid.
    """

    def __init__(self, engine: Engine, tally: JobTally | None = None) -> None:
        self._engine = engine
        self._tally = tally or JobTally()
        self._jobs: SortedDict[str, Entry] = SortedDict()
        self._index = Index()
        self.unfinished = Unfinished()
        # All entries in order of their last change, deleted ones included: the end of it is
        # what a WatchJobs has yet to tell.
        self._history: OrderedDict[str, Entry] = OrderedDict()
        self._deletions: OrderedDict[str, int] = OrderedDict()
        self._own_writes: dict[str, float] = {}
        self._horizon = 0
        self._epoch = secrets.token_hex(4)
        self._last_contact: float | None = None
        self.revision = 0
        self.changed = Broadcast()
        self.in_touch = asyncio.Event()
        self.out_of_touch = asyncio.Event()
        self.out_of_touch.set()
        self.trouble = "not asked yet"
        self.closing = asyncio.Event()

    # -- reading ------------------------------------------------------------------------------

    def get(self, name: str) -> Entry | None:
        """The job of that name, or None."""
        entry: Entry | None = self._jobs.get(name)
        return entry

    async def find(
        self, selector: Selector | None, states: Collection[State] = (), *, after: str = ""
    ) -> AsyncGenerator[Entry]:
        """The jobs that match, by their names, from the one after that. No states are all states.

        The event loop runs between batches, since all jobs may have to be looked at.
        """
        while batch := list(itertools.islice(self._candidates(selector, states, after), BATCH)):
            for entry in batch:
                job = entry.job
                fits = not states or job.status.state in states
                if fits and not entry.deleted and matches(selector, job):
                    yield entry
            after = batch[-1].job.name
            await asyncio.sleep(0)

    def _candidates(
        self, selector: Selector | None, states: Collection[State], after: str
    ) -> Iterator[Entry]:
        names = self._index.candidates(selector, states, after)
        if names is None:
            names = self._jobs.irange(minimum=after, inclusive=(False, True))
        for name in names:
            yield self._jobs[name]

    def changes(self, since: int) -> list[Entry]:
        """What changed after that revision, oldest first, each job once, deletions included."""
        found: list[Entry] = []
        for entry in reversed(self._history.values()):
            if entry.revision <= since:
                break
            found.append(entry)
        found.reverse()
        return found

    def cursor(self, revision: int) -> str:
        """Names a revision of this mirror."""
        return f"{self._epoch}.{revision:x}"

    def position(self, cursor: str) -> int | None:
        """The revision that a cursor names, or None where only a full list can follow it."""
        epoch, _, number = cursor.partition(".")
        if epoch != self._epoch:
            return None
        try:
            revision = int(number, 16)
        except ValueError:
            return None
        return revision if self._horizon <= revision <= self.revision else None

    @property
    def closed(self) -> bool:
        """Whether the server is stopping."""
        return self.closing.is_set()

    @property
    def contact_time(self) -> float | None:
        """When the engine was last heard of, in seconds since the epoch."""
        if self._last_contact is None:
            return None
        return time.time() - (time.monotonic() - self._last_contact)

    @property
    def age_seconds(self) -> float | None:
        """How long ago the engine was last heard of; None while in touch with it."""
        if self.in_touch.is_set() or self._last_contact is None:
            return None
        return time.monotonic() - self._last_contact

    # -- writing ------------------------------------------------------------------------------

    def wrote(self, job: Job) -> Entry | None:
        """Take over what this server itself has just written or read."""
        self._own_writes[job.uid] = time.monotonic()
        return self._apply(job)

    def _apply(self, job: Job) -> Entry | None:
        """Take over the news of a job; None if that job is gone already."""
        if not job.uid:
            raise EngineFailed(f"engine {self._engine.name!r} gave job {job.name!r} no uid")
        if job.uid in self._deletions:
            return None
        entry: Entry | None = self._jobs.get(job.name)
        if entry is not None and entry.job.uid != job.uid:
            self._remove(Removed(job.name, entry.job.uid))
            entry = None
        if entry is None:
            entry = Entry(dataclasses.replace(job, spec=None), 0)
            self._jobs[job.name] = entry
            self._index.add(job)
            self._tally.found(job.status)
            self.unfinished.count(job, 1)
        else:
            status = forward(entry.job.status, job.status)
            if status == entry.job.status:
                return entry
            self._index.move(job.name, entry.job.status.state, status.state)
            self._tally.moved(entry.job.status, status)
            self.unfinished.count(entry.job, -1)
            job = dataclasses.replace(entry.job, status=status)
            self.unfinished.count(job, 1)
        self._commit(entry, dataclasses.replace(job, spec=None))
        return entry

    def _remove(self, event: Removed) -> None:
        entry: Entry | None = self._jobs.get(event.name)
        if entry is None or entry.job.uid != event.uid:
            self._remember_deletion(event.uid)
            return
        del self._jobs[event.name]
        self._index.remove(entry.job)
        self.unfinished.count(entry.job, -1)
        status = removed(entry.job.status, event.status, asked_for=entry.deleting)
        self._tally.removed(entry.job.status, status)
        self._commit(entry, dataclasses.replace(entry.job, status=status), deleted=True)
        self._remember_deletion(event.uid)

    def _commit(self, entry: Entry, job: Job, *, deleted: bool = False) -> None:
        self.revision += 1
        entry.update(job, self.revision, deleted=deleted)
        self._history[job.uid] = entry
        self._history.move_to_end(job.uid)
        self.changed.wake_all()

    def _remember_deletion(self, uid: str) -> None:
        self._deletions[uid] = self.revision
        self._own_writes.pop(uid, None)
        if len(self._deletions) > MAX_REMEMBERED_DELETIONS:
            forgotten, revision = self._deletions.popitem(last=False)
            self._horizon = revision
            self._history.pop(forgotten, None)

    # -- following the engine -----------------------------------------------------------------

    async def follow(self) -> None:
        """Keep up with the engine until cancelled, however often it goes away."""
        failures = 0
        while True:
            before = self._last_contact
            try:
                await self._listen()
                self._lose_touch("its watch ended")
            except TimeoutError:
                self._lose_touch(f"it said nothing for {SILENCE_SECONDS:g} s")
            except EngineError as error:
                self._lose_touch(str(error))
            except Exception as error:  # noqa: BLE001
                _log.exception("engine_watch_failed", engine=self._engine.name)
                self._lose_touch(f"{type(error).__name__}: {error}")
            if self._last_contact != before:
                failures = 0
            failures += 1
            await asyncio.sleep(LISTEN_AGAIN.after(failures))

    async def _listen(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            events = self._engine.watch()
            if (close := getattr(events, "aclose", None)) is not None:
                stack.push_async_callback(close)
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    event = await anext(events, None)
                if event is None:
                    return
                self._take(event)

    def _take(self, event: Event) -> None:
        self._last_contact = time.monotonic()
        match event:
            case Snapshot():
                self._take_snapshot(event)
            case Changed(job):
                self._own_writes.pop(job.uid, None)
                self._apply(job)
            case Removed():
                self._remove(event)
            case Contact():
                pass
        if isinstance(event, Snapshot) and not self.in_touch.is_set():
            self.in_touch.set()
            self.out_of_touch.clear()
            self.trouble = ""
            _log.info("engine_in_touch", engine=self._engine.name, jobs=len(self._jobs))

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        present = {job.uid for job in snapshot.jobs}
        for job in snapshot.jobs:
            self._apply(job)
        for entry in list(self._jobs.values()):
            uid = entry.job.uid
            if uid not in present and self._own_writes.get(uid, 0.0) <= snapshot.began:
                self._remove(Removed(entry.job.name, uid))
        self._own_writes = {
            uid: when for uid, when in self._own_writes.items() if when > snapshot.began
        }

    def _lose_touch(self, trouble: str) -> None:
        self.trouble = trouble
        if self.in_touch.is_set() or self._last_contact is None:
            _log.warning("engine_out_of_touch", engine=self._engine.name, trouble=trouble)
        self.in_touch.clear()
        self.out_of_touch.set()

    def close(self) -> None:
        """Have every watcher look up and find `closed`."""
        self.closing.set()
        self.changed.wake_all()
        for entry in self._jobs.values():
            entry.wake()
