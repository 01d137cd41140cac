"""Streams what an instance wrote over all its runs, following it where asked.

The two streams are files that the node writes. What isn't there yet is looked for again and again,
for no file system tells of what another machine writes.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Final, NamedTuple

from engines import (
    FieldViolation,
    InvalidSpec,
    InvalidToken,
    Job,
    JobNotFound,
    LogChunk,
    LogQuery,
    LogStream,
)
from engines.lifecycle.facts import Intent, Key
from engines.slurm import record
from engines.slurm.controller import Controller
from engines.slurm.disk import Disk
from engines.slurm.store import Store

POLL_SECONDS: Final = 0.2
CHUNK_BYTES: Final = 256 * 1024
_CURSOR: Final = re.compile(r"(\d{1,9})\.(\d{1,18})\.(\d{1,18})", re.ASCII)
_FILES: Final = ((LogStream.STDOUT, record.OUT), (LogStream.STDERR, record.ERR))


class Place(NamedTuple):
    """How far a reader has come: in which attempt, and in its two files."""

    attempt: int = 0
    out: int = 0
    err: int = 0

    @property
    def cursor(self) -> str:
        """What resumes here."""
        return f"{self.attempt}.{self.out}.{self.err}"


def parse_cursor(cursor: str) -> Place:
    """The place that a cursor stands for; InvalidToken if it isn't one."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidToken("cursor")
    return Place(*map(int, match.groups()))


async def read_output(
    controller: Controller, job: Job, query: LogQuery
) -> AsyncGenerator[LogChunk]:
    """Yield an instance's output, see `Engine.read_logs`."""
    place = parse_cursor(query.cursor) if query.cursor else Place()
    intent = controller.ledger.intent(job)
    if not 0 <= query.instance < intent.completions:
        why = f"the job's instances are numbered from 0 to {intent.completions - 1}"
        raise InvalidSpec([FieldViolation("instance", why)])
    reader = _Reader(controller, intent, query)
    if query.tail_lines is not None and not query.cursor:
        await reader.skip_to_tail(query.tail_lines)
    async for chunk in reader.read(place):
        yield chunk


class _Reader:
    def __init__(self, controller: Controller, intent: Intent, query: LogQuery) -> None:
        self._controller = controller
        self._store: Store = controller.cluster.store
        self._disk: Disk = controller.cluster.disk
        self._intent = intent
        self._query = query
        self._skip_lines = 0

    async def read(self, place: Place) -> AsyncIterator[LogChunk]:
        while await self._begun(place.attempt):
            while True:
                # Asked first: what is there afterwards is all.
                over = await self._over(place.attempt)
                async for chunk in self._read_there_is(place):
                    place = parse_cursor(chunk.cursor)
                    if chunk.data:
                        yield chunk
                if over or not self._query.follow:
                    break
                await self._wait()
            place = Place(place.attempt + 1)

    async def _read_there_is(self, place: Place) -> AsyncIterator[LogChunk]:
        """Yield what there is from a place on; chunks without data only take the place on."""
        key = (self._query.instance, place.attempt)
        for stream, file in _FILES:
            if self._query.stream not in (LogStream.BOTH, stream):
                continue
            path = self._path(key, file)
            at = place.out if stream is LogStream.STDOUT else place.err
            while data := await self._disk.do("logs", partial(_read, path, at)):
                at += len(data)
                place = (
                    place._replace(out=at) if stream is LogStream.STDOUT else place._replace(err=at)
                )
                yield LogChunk(self._skip(data), stream, place.cursor, None, place.attempt)

    async def skip_to_tail(self, lines: int) -> None:
        """Count the lines that there are now, to know how many to leave out."""
        counted = await self._disk.do("logs", self._count_lines)
        self._skip_lines = max(counted - lines, 0)

    def _count_lines(self) -> int:
        lines, attempt = 0, 0
        while os.path.isdir(self._path((self._query.instance, attempt), "")):  # noqa: PTH112
            for stream, file in _FILES:
                if self._query.stream in (LogStream.BOTH, stream):
                    lines += _lines(self._path((self._query.instance, attempt), file))
            attempt += 1
        return lines

    def _skip(self, data: bytes) -> bytes:
        if not self._skip_lines:
            return data
        lines = data.split(b"\n", self._skip_lines)
        self._skip_lines -= len(lines) - 1
        return lines[-1] if not self._skip_lines else b""

    def _path(self, key: Key, file: str) -> str:
        home = self._store.job_directory(self._intent.name, self._intent.uid)
        return f"{home}/{record.attempt_name(key)}/{file}"

    async def _begun(self, attempt: int) -> bool:
        """Whether there is such an attempt; with `follow`, whether there will be."""
        key = (self._query.instance, attempt)
        while True:
            last = self._had_its_last()
            path = self._path(key, "")
            if await self._disk.do("logs", partial(os.path.isdir, path)):
                return True
            if last or not self._query.follow:
                await self._check_there()
                return False
            await self._wait()

    async def _check_there(self) -> None:
        name, uid = self._intent.name, self._intent.uid
        if not await self._disk.do("logs", lambda: self._store.is_there(name, uid)):
            raise JobNotFound(name)

    async def _over(self, attempt: int) -> bool:
        """Whether nothing more will be written by this attempt."""
        key = (self._query.instance, attempt)
        if not self._goes_on():
            return True
        read = await self._disk.do(
            "logs",
            lambda: (
                self._store.read_attempt(self._intent, key),
                self._store.read_end(self._intent, key),
            ),
        )
        return read[0] is None or read[0].end is not None or read[1] is not None

    def _had_its_last(self) -> bool:
        """Whether the instance has begun all attempts that there will be."""
        active = self._controller.active.get(self._intent.uid)
        return active is None or self._query.instance in active.progress.succeeded

    def _goes_on(self) -> bool:
        return not self._controller.closed and self._intent.uid in self._controller.active

    async def _wait(self) -> None:
        active = self._controller.active.get(self._intent.uid)
        if active is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await active.changed.wait()


def _read(path: str, position: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(position)
            return file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def _lines(path: str) -> int:
    lines, position, last = 0, 0, b"\n"
    while data := _read(path, position):
        lines += data.count(b"\n")
        position += len(data)
        last = data
    return lines + (not last.endswith(b"\n"))
