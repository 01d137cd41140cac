"""What is decided about jobs, noted in the directory by whichever server is first."""

from engines import Status
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent, Key, Stop
from engines.slurm import record
from engines.slurm.client import Slurm
from engines.slurm.disk import Disk
from engines.slurm.queue import Ended, Entry
from engines.slurm.record import Attempt
from engines.slurm.store import Store
from engines.slurm.verdict import TAKEN_AWAY_BY, gone, requeued, unbegun, verdict


class Desk:
    """Notes decisions durably. Each returns what was decided first, which stands."""

    def __init__(self, store: Store, disk: Disk, slurm: Slurm, *, accounting: bool) -> None:
        self._store = store
        self._disk = disk
        self._slurm = slurm
        self._accounting = accounting

    async def stop(self, intent: Intent, stop: Stop) -> Stop:
        """That a job has to end."""
        return await self._stop(intent, record.STOP, stop)

    async def delete(self, intent: Intent, stop: Stop) -> Stop:
        """That a job has to go."""
        return await self._stop(intent, record.DELETE, stop)

    async def _stop(self, intent: Intent, kind: str, stop: Stop) -> Stop:
        return await self._disk.do(intent.uid, lambda: self._store.decide_stop(intent, kind, stop))

    async def end(self, intent: Intent, status: Status) -> Status:
        """How a job ended."""
        return await self._disk.do(intent.uid, lambda: self._store.decide_end(intent, status))

    async def verdict(
        self, intent: Intent, attempt: Attempt, entry: Entry | None, stop: Stop | None, now: float
    ) -> Attempt:
        """How an attempt ended that was begun; `entry` is what Slurm has of it.

        Without one it is gone from the queue, and its accounting is asked.
        """
        key = (attempt.instance, attempt.attempt)
        written = await self._disk.do(intent.uid, lambda: self._store.read_end(intent, key))
        if entry is not None and not entry.ended:
            end = written.end if written else requeued(attempt, now)
            # One that ended by itself keeps its end, whatever a controller that was killed says.
            if end.reason == facts.EXITED and end.signal in TAKEN_AWAY_BY:
                end = requeued(attempt, end.time)
        elif (said := await self.said(attempt, entry, exit_code=written is None)) is not None:
            end = verdict(attempt, said, written, stop)
        elif written is not None:
            end = verdict(attempt, Ended("FAILED"), written, stop)
        else:
            end = gone(attempt, now)
            if stop is not None:
                end = end._replace(reason=facts.STOPPED)
        decided = await self._decide(intent, key, end)
        return attempt._replace(end=decided)

    async def unbegun(
        self, intent: Intent, key: Key, said: Ended, stop: Stop | None, now: float
    ) -> Attempt | None:
        """How an attempt ended that never began; None if it has begun after all."""
        end = unbegun(key[0], said, said.time or now)
        if stop is not None:
            end = end._replace(reason=facts.NEVER_RAN)
        if not await self._disk.do(intent.uid, lambda: self._store.take(intent, key, end)):
            return None
        return Attempt(*key, 0.0, record.NOBODY, end=end)

    async def _decide(self, intent: Intent, key: Key, end: End) -> End:
        return await self._disk.do(intent.uid, lambda: self._store.decide_verdict(intent, key, end))

    async def said(self, attempt: Attempt, entry: Entry | None, *, exit_code: bool) -> Ended | None:
        """What Slurm says of how an attempt ended; None where it knows no more of it.

        Of what is in the queue still, `entry`, it is asked only where there is more to know: the
        exit code, where that is wanted, and by the accounting who cancelled it.
        """
        said: Ended | None = None
        if entry is not None:
            said = Ended(entry.state, time=entry.end_time, node=entry.node, reason=entry.reason)
            if exit_code and entry.state in ("COMPLETED", "FAILED"):
                told = await self._slurm.ended(entry.id)
                said = told if told is not None and told.uid == entry.uid else said
        if not self._accounting or (said is not None and said.state != "CANCELLED"):
            return said
        number = attempt.slurm if entry is None else entry.id
        accounted = (await self._slurm.accounted([number])).get(number)
        if accounted is None:
            return said
        if said is not None:
            return said._replace(by=accounted.by)
        if accounted.state in _UNFINISHED or not accounted.began_near(attempt.start_time):
            return None
        return accounted


_UNFINISHED = frozenset({"PENDING", "RUNNING", "SUSPENDED", "REQUEUED", "RESIZING"})
"""What the accounting says of a job of which it has heard no end."""
