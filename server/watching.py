"""The two watches: what is told to whom, in which order, and where a cursor goes on."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

from engines.base import LogChunk
from jobengine.v1 import job_engine_pb2 as api
from server.entry import Entry
from server.errors import ServerStopping
from server.mirror import Mirror
from server.selector import Selector, matches


async def watch_entry(
    entry: Entry, mirror: Mirror, cursor: str, heartbeat_seconds: float
) -> AsyncIterator[bytes]:
    """Tell the news of one job after the cursor, until there can be no more.

    Raises:
        ServerStopping: call again elsewhere; the last message has the cursor for that.
    """
    told = cursor
    while True:
        if told != entry.cursor and not entry.lags_behind(told):
            told, final = entry.cursor, entry.final
            yield entry.watch_response
            if final:
                return
        elif entry.final:
            return
        elif mirror.closed:
            yield _heartbeat(told)
            raise ServerStopping
        elif not await entry.wait(heartbeat_seconds):
            yield _heartbeat(told)


async def watch_all(
    mirror: Mirror, selector: Selector | None, cursor: str, heartbeat_seconds: float
) -> AsyncGenerator[bytes]:
    """Tell the news of all jobs that match after the cursor, without end.

    Raises:
        ServerStopping: call again elsewhere; the last message has the cursor for that.
    """
    since = mirror.position(cursor)
    position = mirror.revision
    told_early: dict[str, int] = {}
    if since is None:
        async for message in _full_list(mirror, selector, position, told_early):
            yield message
    else:
        for entry in _round(mirror, since, position, selector):
            yield _with_cursor(entry.news, mirror.cursor(entry.revision))
    yield api.WatchJobsResponse(
        event=api.WATCH_EVENT_SYNCED, cursor=mirror.cursor(position), full=since is None
    ).SerializeToString()
    while True:
        since, position = position, mirror.revision
        for entry in _round(mirror, since, position, selector):
            if told_early.pop(entry.job.uid, 0) != entry.revision:
                yield _with_cursor(entry.news, mirror.cursor(entry.revision))
        if mirror.revision == position:
            async for heartbeat in _pause(mirror, position, heartbeat_seconds):
                yield heartbeat


async def _full_list(
    mirror: Mirror, selector: Selector | None, position: int, told_early: dict[str, int]
) -> AsyncIterator[bytes]:
    """Tell of all jobs, and of those that are deleted meanwhile; note what was after the position.

    Its messages have no cursor: who loses part of a list begins again.
    """
    async with aclosing(mirror.find(selector)) as present:
        async for entry in present:
            if entry.revision > position:
                told_early[entry.job.uid] = entry.revision
            yield entry.news
    # Else their absence from the list would be all that a watcher learns before SYNCED.
    for entry in _round(mirror, position, mirror.revision, selector):
        if entry.deleted:
            told_early[entry.job.uid] = entry.revision
            yield entry.news


async def _pause(mirror: Mirror, position: int, heartbeat_seconds: float) -> AsyncIterator[bytes]:
    """Wait for news; a heartbeat if there were none, or a last one before the server stops."""
    news = not mirror.closed and await mirror.changed.wait(heartbeat_seconds)
    if mirror.closed or not news:
        cursor = mirror.cursor(position)
        yield api.WatchJobsResponse(
            event=api.WATCH_EVENT_HEARTBEAT, cursor=cursor
        ).SerializeToString()
    if mirror.closed:
        raise ServerStopping


def _round(mirror: Mirror, since: int, position: int, selector: Selector | None) -> Iterator[Entry]:
    """What changed after `since`; what changes again before its turn is left to the next round."""
    for entry in mirror.changes(since):
        if entry.revision <= position and matches(selector, entry.job):
            yield entry


async def until_closed(chunks: AsyncIterator[LogChunk], mirror: Mirror) -> AsyncIterator[LogChunk]:
    """Pass the chunks on, also while the server stops: that must not wait for the next one.

    Raises:
        ServerStopping: call again elsewhere with the last chunk's cursor.
    """
    closing = asyncio.ensure_future(mirror.closing.wait())
    following: asyncio.Future[LogChunk | None] | None = None
    try:
        while True:
            following = asyncio.ensure_future(_next(chunks))
            await asyncio.wait((following, closing), return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                raise ServerStopping
            chunk = following.result()
            if chunk is None:
                return
            yield chunk
    finally:
        closing.cancel()
        if following is not None:
            following.cancel()


async def _next(chunks: AsyncIterator[LogChunk]) -> LogChunk | None:
    return await anext(chunks, None)


def _heartbeat(cursor: str) -> bytes:
    return api.WatchStatusResponse(
        event=api.WATCH_EVENT_HEARTBEAT, cursor=cursor
    ).SerializeToString()


def _with_cursor(news: bytes, cursor: str) -> bytes:
    """A message with the cursor in it: serialised messages that are joined are one (protobuf)."""
    return news + api.WatchJobsResponse(cursor=cursor).SerializeToString()
