"""Streams an instance's output over all its runs, following it where asked."""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple, Self

from engines.base import Job, LogChunk, LogQuery, LogStream
from engines.docker.api import Api, Frame
from engines.docker.container import read_container
from engines.docker.controller import Controller
from engines.docker.record import Labels
from engines.errors import (
    EngineTimeout,
    EngineUnavailable,
    FieldViolation,
    InvalidSpec,
    InvalidToken,
)
from engines.lifecycle.facts import Intent

OVERLAP_SECONDS: Final = 10
"""How far before the place to go on a log is opened: entries of the two streams are written in
almost, but not quite, the order of their times."""

PART_BYTES: Final = 16 * 1024
"""Docker keeps longer lines in parts of this size."""

_WAIT_SECONDS: Final = 1.0
_NANO: Final = 1_000_000_000
_CURSOR: Final = re.compile(r"d((?:[0-9]{1,20}\.){5})([0-9a-f]{4,32})")


class Mark(NamedTuple):
    """A place in one output stream: after so many entries of this time (nanoseconds)."""

    time: int = 0
    entries: int = 0


_START: Final = Mark()


@dataclass(frozen=True, slots=True)
class Position:
    """A place in an instance's output. Within a stream, times never go back."""

    attempt: int = 0
    out: Mark = _START
    err: Mark = _START

    @classmethod
    def parse(cls, cursor: str, uid: str) -> Self:
        """The place that a cursor names; InvalidToken if it is none of this job's."""
        if (match := _CURSOR.fullmatch(cursor)) is None or match[2] != uid[:12]:
            raise InvalidToken("cursor")
        attempt, *marks = map(int, match[1].rstrip(".").split("."))
        return cls(attempt, Mark(*marks[:2]), Mark(*marks[2:]))

    def cursor(self, uid: str) -> str:
        """Names the place."""
        numbers = (self.attempt, *self.out, *self.err)
        return f"d{'.'.join(map(str, numbers))}.{uid[:12]}"

    def after(self, stream: int, time: int) -> Self:
        """The place after one more entry."""
        before = self.err if stream == LogStream.STDERR else self.out
        mark = Mark(time, before.entries + 1 if time == before.time else 1)
        return replace(self, err=mark) if stream == LogStream.STDERR else replace(self, out=mark)

    @property
    def since(self) -> int:
        """From when to read so that nothing after this place is missed; seconds."""
        return max(0, max(self.out.time, self.err.time) // _NANO - OVERLAP_SECONDS)


class Entry(NamedTuple):
    """What was written at once, or a line of it."""

    stream: int
    time: int
    data: bytes


async def read_output(
    api: Api, labels: Labels, controller: Controller, job: Job, query: LogQuery
) -> AsyncGenerator[LogChunk]:
    """Yield an instance's output, see `Engine.read_logs`.

    A run whose container is gone, because somebody removed it, is left out.
    """
    intent = controller.ledger.intent(job)
    if not 0 <= query.instance < intent.completions:
        why = f"the job's instances are numbered from 0 to {intent.completions - 1}"
        raise InvalidSpec([FieldViolation("instance", why)])
    reader = _Reader(api, labels, controller, intent, query)
    position = Position.parse(query.cursor, intent.uid) if query.cursor else Position()
    if query.tail_lines is not None and not query.cursor:
        chunks, position = await reader.tail(query.tail_lines)
        for chunk in chunks:
            yield chunk
    while await reader.begun(position.attempt):
        async for chunk in reader.read(position):
            yield chunk
        position = Position(position.attempt + 1)


class _Reader:
    def __init__(
        self, api: Api, labels: Labels, controller: Controller, intent: Intent, query: LogQuery
    ) -> None:
        self._api = api
        self._labels = labels
        self._controller = controller
        self._intent = intent
        self._query = query
        self._exact = not controller.about.podman

    async def begun(self, attempt: int) -> bool:
        """Whether there is such an attempt or a later one; with `follow`, whether there will be."""
        while True:
            over = self._over()
            if await self._running(attempt) is not None:
                return True
            if await self._running(attempt + 1) is not None:
                return True
            if over or not self._query.follow:
                return False
            await self._change()

    async def read(self, position: Position) -> AsyncGenerator[LogChunk]:
        """Yield an attempt's output from there; with `follow`, until the attempt has ended."""
        attempt = position.attempt
        while (running := await self._running(attempt)) is not None:
            follow = self._query.follow and running
            # A stream that ends says nothing: once the container has ended, the rest is read.
            with contextlib.suppress(EngineTimeout):
                entries = self._entries(position, follow=int(follow), since=position.since)
                async with contextlib.aclosing(entries):
                    async for entry in entries:
                        position = position.after(entry.stream, entry.time)
                        yield self._chunk(entry, position)
                if not follow:
                    return

    async def tail(self, lines: int) -> tuple[list[LogChunk], Position]:
        """The last so many lines of what there is now, and the place after them."""
        attempt = 0
        while await self._running(attempt + 1) is not None:
            attempt += 1
        chunks: list[LogChunk] = []
        end = Position(attempt)
        for number in range(attempt, -1, -1):
            place, found = await self._last(number, lines)
            if number == attempt:
                end = place
            chunks[:0] = found
            lines -= _count_lines([chunk.data for chunk in found])
            if lines <= 0:
                break
        return chunks, end

    async def _last(self, attempt: int, lines: int) -> tuple[Position, list[LogChunk]]:
        """An attempt's last lines, and the place after them."""
        if await self._running(attempt) is None:
            return Position(attempt), []
        since = 0
        if self._query.stream is LogStream.BOTH:
            # How far back that is. Docker counts entries of both streams, and parts of long lines.
            last = self._entries(Position(attempt), tail=max(lines, 1))
            async with contextlib.aclosing(last):
                if (first := await anext(last, None)) is not None:
                    since = max(0, first.time // _NANO - OVERLAP_SECONDS)
        place, chunks = await self._collect(attempt, lines, since)
        if since and _count_lines([chunk.data for chunk in chunks]) < lines:
            place, chunks = await self._collect(attempt, lines, 0)
        return place, chunks

    async def _collect(
        self, attempt: int, lines: int, since: int
    ) -> tuple[Position, list[LogChunk]]:
        """Read from a time on; keep the last lines, and the place after them."""
        position = Position(attempt)
        kept: deque[tuple[Entry, Position]] = deque()
        count = 0
        async with contextlib.aclosing(self._entries(position, since=since)) as entries:
            async for entry in entries:
                position = position.after(entry.stream, entry.time)
                kept.append((entry, position))
                count += entry.data.endswith(b"\n")
                while kept and (count > lines or not lines):
                    count -= kept.popleft()[0].data.endswith(b"\n")
        return position, [self._chunk(entry, place) for entry, place in kept]

    async def _entries(self, position: Position, **parameters: object) -> AsyncGenerator[Entry]:
        """The entries of an attempt's log that come after the position.

        When a log that is followed is rotated, dockerd tells some entries again (seen on 20.10):
        what is older than what came before it in its stream, or the same line at the same
        nanosecond, is such a repeat. Podman's times are whole seconds, and say nothing of the kind.
        """
        stream = self._query.stream
        container = self._labels.container(self._intent, (self._query.instance, position.attempt))
        known = {LogStream.STDOUT: position.out, LogStream.STDERR: position.err}
        last: dict[LogStream, tuple[Mark, bytes]] = {}
        frames = self._api.logs(
            container,
            stdout=int(stream is not LogStream.STDERR),
            stderr=int(stream is not LogStream.STDOUT),
            **parameters,
        )
        async with contextlib.aclosing(frames):
            async for frame in frames:
                entry = _parse(frame)
                which = LogStream(entry.stream)
                before, data = last.get(which, (Mark(), b""))
                again = entry.time == before.time
                # Parts of a long line have one time, and may well be the same.
                same = again and data == entry.data and data.endswith(b"\n")
                if entry.time < before.time or (same and self._exact):
                    continue
                if self._exact and _is_part(data) and again and len(entry.data) < PART_BYTES:
                    # The driver `local` forgets the end of line of a long one (seen on 20.10).
                    entry = entry._replace(data=entry.data.removesuffix(b"\n") + b"\n")
                mark = Mark(entry.time, before.entries + 1 if again else 1)
                last[which] = (mark, entry.data)
                if mark > known[which]:
                    yield entry

    def _chunk(self, entry: Entry, position: Position) -> LogChunk:
        return LogChunk(
            entry.data,
            LogStream(entry.stream),
            position.cursor(self._intent.uid),
            write_time=entry.time / _NANO,
            attempt=position.attempt,
        )

    async def _running(self, attempt: int) -> bool | None:
        """Whether an attempt runs; None if it has no container that was started."""
        name = self._labels.container(self._intent, (self._query.instance, attempt))
        found = await self._api.inspect(name)
        if found is None:
            return None
        seen = read_container(found, (self._query.instance, attempt))
        return seen.attempt.end is None if seen.started else None

    def _over(self) -> bool:
        """Whether no further attempt will be made."""
        active = self._controller.active.get(self._intent.uid)
        return active is None or self._query.instance in active.progress.succeeded

    async def _change(self) -> None:
        """Wait until something happens to the job."""
        if self._controller.closed:
            raise EngineUnavailable("Docker went away: read on from the last cursor")
        active = self._controller.active.get(self._intent.uid)
        if active is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_SECONDS):
                    await active.changed.wait()


def _parse(frame: Frame) -> Entry:
    stamp, _, data = frame.data.partition(b" ")
    return Entry(frame.stream, _nanoseconds(stamp.decode(errors="replace")), data)


def _nanoseconds(stamp: str) -> int:
    """Nanoseconds since the epoch of a time as Docker writes it."""
    whole, _, rest = stamp.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    return _seconds(whole + zone) * _NANO + int(digits.ljust(9, "0")[:9])


@lru_cache(16)
def _seconds(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp())


def _is_part(data: bytes) -> bool:
    """Whether that is a part of a long line, and not its last."""
    return len(data) == PART_BYTES and not data.endswith(b"\n")


def _count_lines(pieces: Sequence[bytes]) -> int:
    return sum(piece.endswith(b"\n") for piece in pieces)
