"""Streams an instance's output over all its runs, following it where asked."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Final

from engines.base import LogChunk, LogQuery, LogStream
from engines.errors import FieldViolation, InvalidSpec, JobNotFound
from engines.lifecycle import facts
from engines.lifecycle.facts import End
from engines.local import record
from engines.local.controller import Controller
from engines.local.logs import AttemptLog, Piece, make_cursor, parse_cursor
from engines.local.record import Attempt, JobFile
from engines.local.store import Store

_POLL_SECONDS: Final = 0.05


async def read_output(
    store: Store, controller: Controller, name: str, query: LogQuery
) -> AsyncIterator[LogChunk]:
    """Yield an instance's output, see `Engine.read_logs`."""
    job = controller.jobs.get(name)
    if job is None:
        raise JobNotFound(name)
    attempt, position = parse_cursor(query.cursor) if query.cursor else (0, 0)
    try:
        directory = store.job_directory(name)
    except FileNotFoundError:
        raise JobNotFound(name) from None
    try:
        reader = _Reader(controller, name, job.uid, directory, query)
        await reader.check_instance()
        if query.tail_lines is not None and not query.cursor:
            await reader.skip_to_tail(query.tail_lines)
        while await reader.begun(attempt):
            async for chunk in reader.read(attempt, position):
                yield chunk
            attempt, position = attempt + 1, 0
    finally:
        os.close(directory)


class _Reader:
    def __init__(
        self, controller: Controller, name: str, uid: str, directory: int, query: LogQuery
    ) -> None:
        self._controller = controller
        self._name = name
        self._uid = uid
        self._directory = directory
        self._query = query
        self._skip_lines = 0

    async def check_instance(self) -> None:
        data = await asyncio.to_thread(record.read_in, self._directory, record.JOB)
        completions = JobFile(data).intent.completions
        if not 0 <= self._query.instance < completions:
            why = f"the job's instances are numbered from 0 to {completions - 1}"
            raise InvalidSpec([FieldViolation("instance", why)])

    async def begun(self, attempt: int) -> bool:
        """Whether there is such an attempt; with `follow`, whether there will be."""
        while True:
            over = self._over(attempt)
            if self._record(attempt) is not None:
                return True
            if over or not self._query.follow:
                return False
            await self._wait(1.0)

    async def read(self, attempt: int, position: int) -> AsyncIterator[LogChunk]:
        """Yield an attempt's output; with `follow`, until the attempt has ended."""
        log = AttemptLog(self._directory, self._attempt_name(attempt), position)
        try:
            while True:
                end = self._end(attempt)
                while pieces := await asyncio.to_thread(log.read):
                    for piece in pieces:
                        if (chunk := self._chunk(attempt, piece)) is not None:
                            yield chunk
                if end is not None or not self._query.follow or self._gone():
                    break
                await self._wait(_POLL_SECONDS)
            if end is not None and (last := log.rest(end.lost_bytes)) is not None:
                yield LogChunk(
                    b"",
                    LogStream.BOTH,
                    make_cursor(attempt, last.position),
                    end.time,
                    attempt,
                    last.skipped,
                )
        finally:
            log.close()

    async def skip_to_tail(self, lines: int) -> None:
        """Count the lines that there are now, to know how many to leave out."""
        self._skip_lines = max(await asyncio.to_thread(self._count_lines) - lines, 0)

    def _count_lines(self) -> int:
        lines, attempt, open_line = 0, 0, False
        while self._record(attempt) is not None:
            log = AttemptLog(self._directory, self._attempt_name(attempt))
            with contextlib.closing(log):
                while pieces := log.read():
                    for piece in pieces:
                        if self._wanted(piece):
                            lines += piece.data.count(b"\n")
                            open_line = not piece.data.endswith(b"\n")
            attempt += 1
        return lines + open_line

    def _chunk(self, attempt: int, piece: Piece) -> LogChunk | None:
        data, skipped = piece.data, piece.skipped
        if not self._wanted(piece):
            return None
        if self._skip_lines:
            data = self._skip(data)
            skipped = 0
        if not data:
            return None
        cursor = make_cursor(attempt, piece.position)
        return LogChunk(data, LogStream(piece.stream), cursor, piece.time, attempt, skipped)

    def _skip(self, data: bytes) -> bytes:
        lines = data.split(b"\n", self._skip_lines)
        self._skip_lines -= len(lines) - 1
        return lines[-1] if not self._skip_lines else b""

    def _wanted(self, piece: Piece) -> bool:
        return self._query.stream in (LogStream.BOTH, piece.stream)

    def _attempt_name(self, attempt: int) -> str:
        return record.attempt_name(self._query.instance, attempt)

    def _record(self, attempt: int) -> Attempt | None:
        try:
            data = record.read_in(self._directory, self._attempt_name(attempt))
        except FileNotFoundError:
            return None
        return record.parse_attempt(self._query.instance, attempt, data)

    def _end(self, attempt: int) -> End | None:
        found = self._record(attempt)
        return found.end if found else None

    def _over(self, attempt: int) -> bool:
        """Whether no attempt after the one before this will be made."""
        before = self._end(attempt - 1) if attempt else None
        succeeded = before is not None and before.reason == facts.EXITED and before.code == 0
        return succeeded or self._gone()

    def _gone(self) -> bool:
        active = self._controller.active.get(self._name)
        return active is None or active.intent.uid != self._uid

    async def _wait(self, seconds: float) -> None:
        active = self._controller.active.get(self._name)
        if active is not None and active.intent.uid == self._uid:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await active.changed.wait()
