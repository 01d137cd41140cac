"""A job on Slurm that isn't over."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from engines.lifecycle.active import ActiveJob
from engines.lifecycle.facts import Key
from engines.slurm.queue import Batch, Entry
from engines.slurm.record import Attempt, KeptJob, Written
from engines.slurm.survey import Known, Sighting
from jobengine.v1.job_pb2 import JobSpec


class SlurmJob(ActiveJob[Attempt]):
    """What is known of the job, and what is under way about it.

    `own` says whether this server submits what there is to submit; of a job that another one
    accepted it does so only if that one doesn't. `since` is when it was taken up, and `met` whether
    the queue was read since. `entries` is what the queue had of it. `written` are ends for which
    Slurm is still to say whether they are of its making. `submitted` has by submission its ids in
    Slurm, and `asked` when the last of them was asked for. `signalled` says whether what has to end
    was asked to. `absent` says since when attempts aren't in the queue, or wait there again. All
    these times are by the monotonic clock.
    """

    def __init__(self, seen: Sighting, *, own: bool) -> None:
        self.written: dict[Key, Written] = {}
        super().__init__(seen.kept.intent, seen.attempts, seen.stop)
        self.kept: KeptJob = seen.kept
        self.spec = JobSpec.FromString(seen.kept.spec)
        self.own = own
        self.deleted = seen.deleted
        self.since = time.monotonic()
        self.met = False
        self.ending = False
        self.signalled = False
        self.failures = 0
        self.entries: list[Entry] = []
        self.submitted: dict[Batch, set[str]] = {}
        self.asked: dict[Batch, float] = {}
        self.submitting: set[Batch] = set()
        self.deciding: set[Key] = set()
        self.absent: dict[Key, float] = {}
        self.began: dict[Key, float] = {}
        self.tasks: set[asyncio.Task[Any]] = set()
        self._changed_ns = 0
        self._run_changes_ns: dict[Key, int] = {}
        for batch, number in seen.submitted:
            self.note_submitted(batch, number)

    def note_submitted(self, batch: Batch, number: str) -> bool:
        """Take note of a submission; False if it is known."""
        ids = self.submitted.setdefault(batch, set())
        if number in ids:
            return False
        ids.add(number)
        for key in batch.keys:
            if not self.knows(key):
                self.leave(key)
        return True

    def knows(self, key: Key) -> bool:
        """Whether that attempt was handed out, runs or has ended."""
        return key in self.handed_out or key in self.running or self.has_ended(key)

    def next_batch(self, most: int) -> Batch | None:
        """What is to be submitted next, of so many instances at most; None if nothing is.

        A retry goes by itself. First runs go as an array, whose tasks Slurm keeps to the
        parallelism. The next array has to wait for the end of the one before, for there is nothing
        in Slurm that would keep two together to it.
        """
        while self._again and self.knows(self._again[0]):
            self._again.popleft()
        if not self.ready:
            return None
        if self._again:
            instance, attempt = self.hand_out()
            return Batch(attempt, instance, instance)
        if self.in_flight:
            return None
        first = self._next_instance
        batch = Batch(0, first, min(first + most, self.intent.completions) - 1)
        for key in batch.keys:
            self.leave(key)
        return batch

    def give_back(self, keys: Iterable[Key]) -> None:
        """Submit these anew: Slurm knows nothing of them, and they haven't begun."""
        for key in keys:
            if key in self.handed_out:
                self.handed_out.discard(key)
                self._again.append(key)

    @property
    def known(self) -> Known:
        """What is known of its files."""
        attempts = self.running.keys() | self._ended
        running = {key: self._run_changes_ns.get(key, 0) for key in self.running}
        return Known(self.intent, self._changed_ns, attempts, running)

    def looked(self, changed: int, running: dict[Key, int]) -> None:
        """Take note of when its files had changed last."""
        self._changed_ns = changed
        self._run_changes_ns = running
