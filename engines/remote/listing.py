"""What a WatchJobs tells, as the events of the engine contract."""

import time
from collections.abc import Iterator

from engines.base import Changed, Event, Job, Removed, Snapshot
from engines.errors import EngineFailed
from engines.remote.messages import job_of
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2 import WatchJobsResponse


class Listing:
    """One call's messages: a list that becomes a Snapshot, then news."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._present: dict[str, Job] | None = {}
        self._gone: dict[str, Job] = {}

    def events(self, message: WatchJobsResponse) -> Iterator[Event]:
        """What this message tells.

        Raises:
            EngineFailed: it can't have been sent by a server that keeps to docs/watching.md.
        """
        if message.event == api.WATCH_EVENT_SYNCED:
            yield from self._synced(message)
        elif message.event == api.WATCH_EVENT_DELETED:
            yield from self._deleted(job_of(message.job))
        elif message.event == api.WATCH_EVENT_STATUS:
            yield from self._status(job_of(message.job))

    def _status(self, job: Job) -> Iterator[Event]:
        if self._present is None:
            yield Changed(job)
        else:
            self._present[job.uid] = job

    def _deleted(self, job: Job) -> Iterator[Event]:
        if self._present is None:
            yield Removed(job.name, job.uid, job.status)
        else:
            self._present.pop(job.uid, None)
            self._gone[job.uid] = job

    def _synced(self, message: WatchJobsResponse) -> Iterator[Event]:
        if self._present is None or not message.full:
            raise EngineFailed("the other server sent SYNCED where there was nothing to tell it of")
        # What was deleted while the list was sent is in it with its end, and then removed: that
        # it is missing wouldn't say how it ended.
        yield Snapshot([*self._gone.values(), *self._present.values()], self._began)
        for job in self._gone.values():
            yield Removed(job.name, job.uid, job.status)
        self._present = None
        self._gone = {}
