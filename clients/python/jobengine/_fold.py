"""Makes one story out of a watch of many jobs that is interrupted and resumed."""

from collections.abc import Iterator

from jobengine.states import is_terminal
from jobengine.v1 import job_engine_pb2 as pb
from jobengine.v1 import job_pb2
from jobengine.v1.job_engine_pb2 import WatchJobsResponse
from jobengine.v1.job_pb2 import Job

MAX_REMEMBERED_DELETIONS = 10_000
"""So many of the jobs that are gone are known to be; the server remembers as many."""

_VANISHED = "The job was removed while this watch was interrupted; how it ended can't be known here"


class JobsFold:
    """The jobs that a watch has told of, and what each further message changes about them.

    A resumed watch may begin with a full list again. Held against the jobs known from before,
    that gives only what changed meanwhile, and an end for each job that vanished.
    """

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        """Where a new call should begin."""
        self._known: dict[str, Job] = {}
        self._listed: set[str] = set()
        # By uid, oldest first. A deletion may be told again: by the call that goes on from the
        # list in which the job was missed, or by a replica that hears of it later.
        self._gone: dict[str, None] = {}
        self._listing = True
        self._whole = False

    def begin(self) -> None:
        """A new call begins, with the cursor."""
        self._listed.clear()
        self._listing = True

    def fold(self, message: WatchJobsResponse) -> Iterator[WatchJobsResponse]:
        """What the caller doesn't know yet of what this message tells."""
        if message.event == pb.WATCH_EVENT_SYNCED:
            yield from self._sync(message)
        elif message.event == pb.WATCH_EVENT_STATUS:
            yield from self._update(message)
        elif message.event == pb.WATCH_EVENT_DELETED:
            yield from self._remove(message)
        # A cursor out of the midst of a list would leave out the rest of the list.
        if message.cursor and not self._listing:
            self.cursor = message.cursor

    def _update(self, message: WatchJobsResponse) -> Iterator[WatchJobsResponse]:
        job = message.job
        if job.uid in self._gone:
            return
        if self._listing:
            self._listed.add(job.name)
        known = self._known.get(job.name)
        if known == job or (known is not None and _lags_behind(job, known)):
            return
        if known is not None and known.uid != job.uid:
            self._remember_gone(known)
            yield _vanished(known)
        self._known[job.name] = job
        yield message

    def _remove(self, message: WatchJobsResponse) -> Iterator[WatchJobsResponse]:
        known = self._known.get(message.job.name)
        if known is not None and known.uid != message.job.uid:
            return  # its end was told when the next job of that name showed up
        if message.job.uid in self._gone:
            return
        self._known.pop(message.job.name, None)
        self._remember_gone(message.job)
        yield message

    def _sync(self, message: WatchJobsResponse) -> Iterator[WatchJobsResponse]:
        self._listing = False
        if message.full:
            for name in self._known.keys() - self._listed:
                gone = self._known.pop(name)
                self._remember_gone(gone)
                yield _vanished(gone)
        self._listed.clear()
        # Full as the caller sees it: all jobs since its own beginning, not since the
        # resumption. Later on it has been told of every end.
        full = message.full and not self._whole
        self._whole = self._whole or message.full
        yield WatchJobsResponse(event=message.event, cursor=message.cursor, full=full)

    def _remember_gone(self, job: Job) -> None:
        self._gone[job.uid] = None
        if len(self._gone) > MAX_REMEMBERED_DELETIONS:
            del self._gone[next(iter(self._gone))]


def _lags_behind(job: Job, known: Job) -> bool:
    """Whether a replica, or a server before it, has told more of the same job already."""
    if job.uid != known.uid:
        return False
    return is_terminal(known.status) or job.status.state < known.status.state


def _vanished(job: Job) -> WatchJobsResponse:
    last = Job()
    last.CopyFrom(job)
    if not is_terminal(last.status):
        last.status.state = job_pb2.JOB_STATE_LOST
        last.status.reason = job_pb2.JOB_REASON_DELETED
        last.status.message = _VANISHED
        last.status.ClearField("active")
    return WatchJobsResponse(event=pb.WATCH_EVENT_DELETED, job=last)
