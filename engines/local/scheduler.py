"""Decides which attempt runs next: a limit for all jobs, and turns among them."""

from collections import deque

from engines.local.jobs import LocalJob
from engines.local.pool import Pool
from engines.local.shim import Request


class Scheduler:
    """Hands out attempts to the pool while there are places.

    Jobs take turns in order of their acceptance, one attempt each, so that a job of many
    instances holds up nobody.
    """

    def __init__(self, pool: Pool, max_running: int) -> None:
        self._pool = pool
        self._places = max_running
        self._turns: deque[LocalJob] = deque()
        self._taken: dict[str, int] = {}
        self._sum = 0

    def update(self, job: LocalJob) -> None:
        """Take note that a job has changed: places that it needs or has given back."""
        taken = job.in_flight if not job.status.state.terminal else 0
        self._sum += taken - self._taken.get(job.intent.uid, 0)
        if taken:
            self._taken[job.intent.uid] = taken
        else:
            self._taken.pop(job.intent.uid, None)
        if job.ready and not job.queued:
            job.queued = True
            self._turns.append(job)

    def run(self) -> None:
        """Fill the free places."""
        while self._sum < self._places and self._turns:
            job = self._turns.popleft()
            job.queued = False
            if not job.ready:
                continue
            instance, attempt = job.hand_out()
            self._pool.want(self._sum + 1)
            self._submit(job, instance, attempt)
            self.update(job)
        self._pool.want(self._sum)

    def submit_again(self, job: LocalJob) -> None:
        """Hand out again what may have been lost on the way; nothing runs twice by that."""
        for instance, attempt in job.handed_out:
            self._submit(job, instance, attempt)

    def _submit(self, job: LocalJob, instance: int, attempt: int) -> None:
        intent = job.intent
        first_start = job.progress.first_start
        self._pool.submit(Request(intent.name, intent.uid, instance, attempt, first_start))
