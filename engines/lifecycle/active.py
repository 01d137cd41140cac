"""A job that isn't over, as the server keeps it in memory."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import ClassVar, Generic, TypeVar

from engines.base import Job, Reason, Status
from engines.lifecycle import facts
from engines.lifecycle.facts import Attempt, Intent, Key, Stop, key_of
from engines.lifecycle.status import Progress, status

A = TypeVar("A", bound=Attempt)


class ActiveJob(Generic[A]):
    """A job that isn't over: what has run of it, and what is to run next.

    `handed_out` are the attempts that were given to the shims and of which no record was seen
    yet. `waiting` says for people why nothing runs yet, where there is something to say, and
    `waiting_reason` is the reason that goes with it.
    """

    deadline_margin_seconds: ClassVar[float] = 0.0
    """How long after its deadline a job that runs is stopped."""

    def __init__(
        self, intent: Intent, attempts: Iterable[A] = (), stop: Stop | None = None
    ) -> None:
        self.intent = intent
        self.stop = stop
        self.stopping = stop is not None
        self.deleted = False
        self.queued = False
        self.waiting = ""
        self.waiting_reason = Reason.NONE
        self.progress = Progress[A]()
        self.running: dict[Key, A] = {}
        self.handed_out: set[Key] = set()
        self.changed = asyncio.Event()
        self._next_instance = 0
        self._again: deque[Key] = deque()
        self._ended: set[Key] = set()
        self._adopt(sorted(attempts, key=key_of))
        self.status = status(intent, self.progress, stop)

    def _adopt(self, attempts: list[A]) -> None:
        latest = {attempt.instance: attempt for attempt in attempts}
        for attempt in attempts:
            self._note(attempt)
        self._next_instance = max(latest, default=-1) + 1
        for instance in range(self._next_instance):
            last = latest.get(instance)
            if last is None:
                self._again.append((instance, 0))
            elif last.end is not None and instance not in self.progress.succeeded:
                self._again.append((instance, last.attempt + 1))

    @property
    def job(self) -> Job:
        """The job as callers see it."""
        return make_job(self.intent, self.status)

    @property
    def in_flight(self) -> int:
        """How many attempts take a place, running or about to."""
        return len(self.running) + len(self.handed_out)

    def has_ended(self, key: Key) -> bool:
        """Whether that attempt's end is known."""
        return key in self._ended

    @property
    def settled(self) -> bool:
        """Whether a failure has decided the outcome."""
        return self.progress.decisive(self.intent.max_retries) is not None

    @property
    def ready(self) -> bool:
        """Whether an attempt could be handed out now."""
        return (
            not self.stopping
            and self.in_flight < self.intent.parallelism
            and (bool(self._again) or self._next_instance < self.intent.completions)
            and not self.settled
        )

    def hand_out(self) -> Key:
        """The attempt to run next; only while `ready`."""
        if self._again:
            key = self._again.popleft()
        else:
            key = (self._next_instance, 0)
            self._next_instance += 1
        self.handed_out.add(key)
        return key

    def take_back(self) -> None:
        """Note that what was handed out and isn't running never will; the job is stopped."""
        self.handed_out.clear()

    def apply(self, attempt: A) -> bool:
        """Take in an attempt's record; False if it tells nothing new."""
        key = key_of(attempt)
        if key in self._ended or self.running.get(key) == attempt:
            return False
        if key not in self.running and key not in self.handed_out:
            self._expect(key)
        self.handed_out.discard(key)
        self._note(attempt)
        if attempt.end is not None and attempt.instance not in self.progress.succeeded:
            self._again.append((attempt.instance, attempt.attempt + 1))
        return True

    def leave(self, key: Key) -> None:
        """Don't hand this one out: another server is about to run it."""
        self._expect(key)
        self.handed_out.add(key)

    def _expect(self, key: Key) -> None:
        """Don't hand this one out any more: a request of an earlier server got through."""
        while self._next_instance <= key[0]:
            self._again.append((self._next_instance, 0))
            self._next_instance += 1
        if key in self._again:
            self._again.remove(key)

    def _note(self, attempt: A) -> None:
        key = key_of(attempt)
        self.progress.add(attempt)
        if attempt.end is None:
            self.running[key] = attempt
        else:
            self._ended.add(key)
            self.running.pop(key, None)

    def refresh(self) -> bool:
        """Work the status out anew, and say whether it is another one."""
        before, self.status = (
            self.status,
            status(self.intent, self.progress, self.stop, self.waiting, self.waiting_reason),
        )
        self.changed.set()
        self.changed = asyncio.Event()
        return self.status != before

    def due(self, now: float) -> str | None:
        """Why the job has to be stopped by now, None if it hasn't."""
        if self.settled:
            return facts.SETTLED
        if (due := self.next_due) is None:
            return None
        if self.deadline is not None:
            margin = self.deadline_margin_seconds if self.running else 0.0
            return facts.DEADLINE if now >= due + margin else None
        return facts.START_TIMEOUT if now >= due else None

    @property
    def next_due(self) -> float | None:
        """When time may end the job: by its timeout, or before its start by start_timeout."""
        timeout = self.intent.start_timeout
        if self.progress.first_start is not None or timeout is None:
            return self.deadline
        return self.intent.create_time + timeout

    @property
    def deadline(self) -> float | None:
        """When the job's timeout runs out, None while it hasn't started or has none."""
        first = self.progress.first_start
        timeout = self.intent.timeout
        return None if first is None or timeout is None else first + timeout


def make_job(intent: Intent, job_status: Status) -> Job:
    """A job as callers see it, without its spec; small, as finished ones are kept."""
    return Job(
        name=intent.name,
        status=job_status,
        uid=intent.uid,
        labels=intent.labels or _NO_LABELS,
        request_id=intent.request_id,
        spec_hash=intent.spec_hash,
    )


_NO_LABELS: dict[str, str] = {}
