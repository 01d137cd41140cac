"""All jobs as callers see them, and who watches them."""

from engines.base import Changed, Job, Removed, Status
from engines.errors import JobNotFound
from engines.feed import Feed
from engines.lifecycle.active import make_job
from engines.lifecycle.facts import Intent


class Ledger:
    """The jobs by name. What changes in it is told to the watchers."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.feed = Feed()
        self._intents: dict[str, Intent] = {}

    def knows(self, uid: str, name: str) -> bool:
        """Whether this job, and no other of its name, is there."""
        job = self.jobs.get(name)
        return job is not None and job.uid == uid

    def intent(self, job: Job) -> Intent:
        """What was asked for.

        Raises:
            JobNotFound: the job is gone.
        """
        if not self.knows(job.uid, job.name):
            raise JobNotFound(job.name)
        return self._intents[job.name]

    def show(self, intent: Intent, status: Status) -> None:
        """A job is new, or its status is now this."""
        known = self.jobs.get(intent.name)
        if known is not None and known.uid != intent.uid:
            self.forget(known.uid, intent.name)
        job = make_job(intent, status)
        if job != self.jobs.get(intent.name):
            self.jobs[intent.name] = job
            self._intents[intent.name] = intent
            self.feed.publish(Changed(job))

    def forget(self, uid: str, name: str) -> None:
        """A job is gone; nothing if it isn't there."""
        if self.knows(uid, name):
            job = self.jobs.pop(name)
            del self._intents[name]
            self.feed.publish(Removed(name, uid, job.status))
