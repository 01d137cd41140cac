"""Holds what is known of jobs against the queue.

Slurm's word on a job is a hint. A controller that was killed may forget what it accepted a moment
ago, give its id to another job, say PENDING of what runs, and have that run again. Nothing of it
makes an attempt run twice, for that is decided by its script in the directory.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from engines import EngineError
from engines.lifecycle.facts import Key
from engines.slurm.controller import Controller
from engines.slurm.jobs import SlurmJob
from engines.slurm.queue import WAITING, Entry, covered
from engines.slurm.reasons import waiting
from engines.slurm.record import Attempt

FORGOTTEN_SECONDS: Final = 5.0
"""How long what never began may be missing in the queue before it is submitted again."""

GONE_SECONDS: Final = 10.0
"""How long what has begun may be missing there, or wait there again, before that counts. A node
ends within that time what its controller has forgotten (seen: 4 s)."""


class Comparison:
    """Of the jobs of one controller."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._cluster = controller.cluster

    async def meet(self, entries: Sequence[Entry], began: float) -> None:
        """Take in the queue as it was after `began`, by the monotonic clock."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            found[entry.uid].append(entry)
        left = {
            uid: alive
            for uid, known in found.items()
            if (alive := [entry for entry in known if not entry.ended])
        }
        self._controller.removals.meet(left, began)
        for uid, alive in left.items():
            if uid not in self._controller.active:
                await self._meet_stray(alive)
        for uid, job in list(self._controller.active.items()):
            if began >= job.since and not job.ending:
                await self._meet(job, found.get(uid, []), began)

    async def _meet_stray(self, alive: Sequence[Entry]) -> None:
        """Cancel what waits of a job that is over or gone: it would begin nothing."""
        ledger, entry = self._controller.ledger, alive[0]
        if not ledger.knows(entry.uid, entry.name):
            store = self._cluster.store
            there = await self._cluster.disk.do(
                entry.uid, lambda: store.is_there(entry.name, entry.uid)
            )
            if there:
                return  # another server's, of a moment ago
        waits = [entry.id for entry in alive if entry.state in WAITING]
        if waits:
            await self._cluster.slurm.cancel_waiting(entry.name, waits)

    async def _meet(self, job: SlurmJob, entries: list[Entry], began: float) -> None:
        job.entries = entries
        for entry in entries:
            number = entry.array if entry.tasks else entry.id
            job.note_submitted(entry.batch, number)
        self._meet_running(job, {entry.id: entry for entry in entries}, began)
        await self._meet_waiting(job, entries, began)
        if self._controller.active.get(job.intent.uid) is not job:
            return
        self._tell(job)
        if job.stop is not None:
            self._controller.stops.again(job)
        if not job.met:
            job.met = True
            self._controller.advance(job)

    # -- what has begun -----------------------------------------------------------------------

    def _meet_running(self, job: SlurmJob, by_id: dict[str, Entry], began: float) -> None:
        for key, attempt in list(job.running.items()):
            if began < job.began.get(key, job.since):
                continue
            entry = by_id.get(attempt.slurm)
            written = key in job.written
            if entry is not None and (entry.ended or (written and entry.state in WAITING)):
                self._decide(job, key, entry)
            elif written and entry is not None and entry.state == "COMPLETING":
                # It may stay so for as long as its node doesn't answer.
                if self._absent(job, key, GONE_SECONDS):
                    self._decide(job, key, None)
            elif entry is not None and entry.state not in WAITING:
                job.absent.pop(key, None)
            elif (entry is None and written) or self._absent(job, key, GONE_SECONDS):
                self._decide(job, key, entry)

    def _decide(self, job: SlurmJob, key: Key, entry: Entry | None) -> None:
        work = self._cluster.desk.verdict(
            job.intent, job.running[key], entry, job.stop, time.time()
        )
        self._controller.decide(job, key, work)
        if entry is not None and entry.state in WAITING:
            self._controller.spawn(job, self._cluster.slurm.cancel_waiting(entry.name, [entry.id]))

    @staticmethod
    def _absent(job: SlurmJob, key: Key, seconds: float) -> bool:
        """Whether an attempt has been missing for so long by now."""
        now = time.monotonic()
        return now - job.absent.setdefault(key, now) >= seconds

    # -- what hasn't ----------------------------------------------------------------------------

    async def _meet_waiting(self, job: SlurmJob, entries: list[Entry], began: float) -> None:
        asked = {key for batch in job.submitting for key in batch.keys}
        asked.update(key for batch, when in job.asked.items() if when > began for key in batch.keys)
        alive = covered(entry for entry in entries if not entry.ended)
        missing = job.handed_out - alive - asked
        for key in job.handed_out & alive:
            job.absent.pop(key, None)
        if not missing:
            return
        # It may have begun since its files were looked at.
        try:
            await self._controller.look(job)
        except EngineError:
            return  # the next time will do
        missing &= job.handed_out
        ended = {
            key: entry for entry in entries if entry.ended for key in entry.keys if key in missing
        }
        for key, entry in ended.items():
            self._controller.decide(job, key, self._unbegun(job, key, entry))
        forgotten = [
            key for key in missing - ended.keys() if self._absent(job, key, FORGOTTEN_SECONDS)
        ]
        if forgotten:
            self._submit_again(job, forgotten)

    async def _unbegun(self, job: SlurmJob, key: Key, entry: Entry) -> Attempt | None:
        desk = self._cluster.desk
        said = await desk.said(Attempt(*key, 0.0, entry.id), entry, exit_code=True)
        assert said is not None  # noqa: S101  (the entry says that much)
        return await desk.unbegun(job.intent, key, said, job.stop, time.time())

    def _submit_again(self, job: SlurmJob, keys: Iterable[Key]) -> None:
        for key in keys:
            job.absent.pop(key, None)
            job.give_back([key])
        self._controller.advance(job)

    def _tell(self, job: SlurmJob) -> None:
        """Say why a job waits, as long as nothing of it has begun."""
        if job.status.start_time is not None:
            return
        reason = next((entry.reason for entry in job.entries if entry.state == "PENDING"), None)
        if reason is not None:
            job.waiting, job.waiting_reason = waiting(reason)
            self._controller.update(job)
