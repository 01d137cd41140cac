"""One job in the mirror: its newest news, and the bytes that tell it, made once for all readers."""

import dataclasses
import hashlib
import time

from engines.base import Job, Reason, State, Status
from jobengine.v1 import job_engine_pb2 as api
from server.broadcast import Broadcast
from server.messages import status_message


class Entry:
    """The newest that is known of one job (of one uid).

    It is the conflated slot of all watchers of the job: each compares `cursor` with what it
    told last, so that a slow one skips to the newest status, and none has a backlog.
    """

    __slots__ = ("_changed", "_cursor", "_read", "_watch", "deleted", "deleting", "job", "revision")

    def __init__(self, job: Job, revision: int) -> None:
        self.job = job
        self.revision = revision
        self.deleted = False
        self.deleting = False
        self._changed: Broadcast | None = None
        self._cursor = ""
        self._read = b""
        self._watch = b""

    @property
    def final(self) -> bool:
        """Whether nothing more will be told of this job to those who watch it alone."""
        return self.deleted or self.job.status.state.terminal

    @property
    def cursor(self) -> str:
        """Names this news: a digest, so that any replica and any later server makes the same."""
        if not self._cursor:
            digest = hashlib.blake2b(self.job.uid.encode(), digest_size=12)
            digest.update(status_message(self.job.status).SerializeToString(deterministic=True))
            digest.update(b"deleted" if self.deleted else b"")
            self._cursor = digest.hexdigest()
        return self._cursor

    @property
    def read_response(self) -> bytes:
        """The serialised ReadStatusResponse."""
        if not self._read:
            self._read = api.ReadStatusResponse(
                status=status_message(self.job.status), uid=self.job.uid
            ).SerializeToString()
        return self._read

    @property
    def watch_response(self) -> bytes:
        """The serialised WatchStatusResponse."""
        if not self._watch:
            self._watch = api.WatchStatusResponse(
                event=api.WATCH_EVENT_DELETED if self.deleted else api.WATCH_EVENT_STATUS,
                status=status_message(self.job.status),
                uid=self.job.uid,
                cursor=self.cursor,
            ).SerializeToString()
        return self._watch

    def update(self, job: Job, revision: int, *, deleted: bool = False) -> None:
        """Take over the news and wake the watchers."""
        self.job = job
        self.revision = revision
        self.deleted = deleted
        self._cursor, self._read, self._watch = "", b"", b""
        self.wake()

    def wake(self) -> None:
        """Have all watchers look again."""
        if self._changed is not None:
            self._changed.wake_all()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait until there is news; False if there was none in time."""
        if self._changed is None:
            self._changed = Broadcast()
        return await self._changed.wait(timeout_seconds)


def forward(old: Status, new: Status) -> Status:
    """The status after hearing `new`: terminal states stay, and none goes back to PENDING."""
    if old.state.terminal:
        return old
    if new.state < old.state:
        return dataclasses.replace(new, state=old.state)
    return new


def removed(status: Status, heard: Status | None, *, asked_for: bool) -> Status:
    """The last status of a job that is gone: `heard` from the engine, or what must be assumed.

    Who didn't see its end can't claim one: unless the service itself was asked to delete it,
    the job is LOST.
    """
    if status.state.terminal:
        return status
    if heard is not None and heard.state.terminal:
        return heard
    return dataclasses.replace(
        status,
        active=None,
        state=State.CANCELLED if asked_for else State.LOST,
        reason=Reason.DELETED,
        message="deleted while it ran"
        if asked_for
        else "removed from the engine by somebody else before its end was seen",
        end_time=time.time(),
    )
