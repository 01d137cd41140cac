"""One job in the mirror: its newest news, and the bytes that tell it, made once for all readers."""

import dataclasses
import hashlib
import time
from typing import Final

from engines.base import Job, Reason, State, Status
from jobengine.v1 import job_engine_pb2 as api
from server.broadcast import Broadcast
from server.messages import job_message, status_message

DELETED: Final = 9
"""How far a job is that is gone; before that it is its state that counts, all ends alike."""

UID_DIGITS: Final = 12
"""So many of a cursor's digits are the uid's; the next one is how far the job is."""


class Entry:
    """The newest that is known of one job (of one uid).

    It is the conflated slot of all watchers of the job: each compares `cursor` with what it
    told last, so that a slow one skips to the newest status, and none has a backlog.
    """

    __slots__ = (
        "_changed",
        "_cursor",
        "_news",
        "_read",
        "_watch",
        "deleted",
        "deleting",
        "job",
        "revision",
    )

    def __init__(self, job: Job, revision: int) -> None:
        self.job = job
        self.revision = revision
        self.deleted = False
        self.deleting = False
        self._changed: Broadcast | None = None
        self._cursor = ""
        self._news = b""
        self._read = b""
        self._watch = b""

    @property
    def final(self) -> bool:
        """Whether nothing more will be told of this job to those who watch it alone."""
        return self.deleted or self.job.status.state.terminal

    @property
    def cursor(self) -> str:
        """Names this news, in the same way on any replica and any later server.

        Digests of the uid and of the status, and between them a digit for how far the job is.
        """
        if not self._cursor:
            status = status_message(self.job.status).SerializeToString(deterministic=True)
            digests = _digest(self.job.uid.encode(), 6), _digest(status, 9)
            self._cursor = str(self._progress).join(digests)
        return self._cursor

    @property
    def _progress(self) -> int:
        state = self.job.status.state
        return DELETED if self.deleted else min(int(state), int(State.SUCCEEDED))

    def lags_behind(self, cursor: str) -> bool:
        """Whether a watcher with that cursor has been told of a later state of this very job.

        Another replica was ahead of this one, or a server before it has seen what is gone now.
        """
        uid, progress = cursor[:UID_DIGITS], cursor[UID_DIGITS : UID_DIGITS + 1]
        return self.cursor.startswith(uid) and progress > str(self._progress)

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

    @property
    def news(self) -> bytes:
        """The serialised WatchJobsResponse, but for its cursor, which belongs to a mirror."""
        if not self._news:
            self._news = api.WatchJobsResponse(
                event=api.WATCH_EVENT_DELETED if self.deleted else api.WATCH_EVENT_STATUS,
                job=job_message(self.job, with_spec=False),
            ).SerializeToString()
        return self._news

    def update(self, job: Job, revision: int, *, deleted: bool = False) -> None:
        """Take over the news and wake the watchers."""
        self.job = job
        self.revision = revision
        self.deleted = deleted
        self._cursor, self._news, self._read, self._watch = "", b"", b"", b""
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


def _digest(content: bytes, size: int) -> str:
    return hashlib.blake2b(content, digest_size=size).hexdigest()


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
