"""Streams an instance's output over all its pods, following it where asked.

How Kubernetes keeps output, and how it tells it (k8s.io/cri-client/pkg/logs/logs.go, seen on 1.34):

- A container's log is a file on its node, of both streams, as a list of entries. Each has a time;
  a line above 16 KiB is several. Streams are told apart only where PodLogsQuerySplitStreams is on
  (KEP-3288, off by default).
- Where times are asked for, an entry's time stands before it if the entry before it ended a line:
  long lines come whole (k8s#77603, mended by #113481), and so does what the streams wrote into one
  another's lines. So a line's time is that of its first entry, and the bytes are those kept.
- `sinceTime` is in whole seconds, and leaves out older entries wherever they stand. The rest of a
  line whose first entry was left out has no time before it.
- Once its file was rotated (at 10 MiB, by default), a log is what was written since. That may
  begin with the rest of a line.
- A stream may end at any time, and that says nothing. What went wrong after an answer has begun
  stands in it, as words with no time before them and no end of line.
"""

import asyncio
import contextlib
import itertools
import re
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple, Self

from engines.backoff import Backoff
from engines.base import Job, LogChunk, LogQuery, LogStream
from engines.errors import (
    EngineTimeout,
    EngineUnavailable,
    FieldViolation,
    InvalidSpec,
    InvalidToken,
    JobNotFound,
)
from engines.kubernetes.api import NOT_FOUND, Api
from engines.kubernetes.cluster import CALL_SECONDS, Refused
from engines.kubernetes.controller import Controller
from engines.kubernetes.pods import CONTAINER, read_attempts
from engines.kubernetes.record import Json, read_intent, read_time
from engines.lifecycle.facts import Intent

OVERLAP_SECONDS: Final = 2
"""How far before the place to go on a log is opened: its two streams are written in almost, but
not quite, the order of their times. More would cost a reader that is in a hurry, before the next
rotation."""

JITTER_SECONDS: Final = 1
"""By how much a line may come before one that is older. Much newer ones tell that the place to go
on is gone."""

CHUNK_BYTES: Final = 64 * 1024
"""How much is handed on at once, at most."""

TOGETHER_SECONDS: Final = 0.1
"""Lines that were written within so long, and came together, make one chunk."""

SILENCE_SECONDS: Final = 5.0
"""After so long without output a stream that is followed is opened anew. It may be dead: a kubelet
that was about to follow when the log was rotated stays at the old file's end until the next
rotation, and a whole file is left out then (k8s 1.34). That is 10 s later at the earliest."""

MAX_SILENCE_SECONDS: Final = 30.0
"""The same where nothing came of the last stream either; each time it is twice as long."""

TRY_AGAIN: Final = Backoff(first=0.1, longest=2.0)
MAX_FAILURES: Final = 6
"""So many failures in a row mean that a node is lost, or a log gone: after 4 s at most."""

_NOT_STARTED: Final = 400
"""What is answered of a container that hasn't started, or never ran."""

_MISSING: Final = (b"unable to retrieve container logs", b"no such file or directory")
"""What a kubelet says of a container or a file that is gone; but also while its container runtime
is away, or just rotates the log."""

_WAIT_SECONDS: Final = 1.0
_NANO: Final = 1_000_000_000
_PREFIX: Final = re.compile(
    rb"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    rb"(Z|[+-][0-9]{2}:[0-9]{2}) "
)
_PREFIX_BYTES: Final = len("2026-01-01T00:00:00.000000000+00:00 ")
_MAX_TIMES: Final = 1024
_CURSOR: Final = re.compile(r"k((?:[0-9]{1,20}\.){6})([0-9A-Za-z-]{1,40})\.([0-9a-f-]{1,12})")


class Mark(NamedTuple):
    """A place in a log: after so many bytes of this one of the lines that have this time.

    Times are in nanoseconds since the epoch. Each line is counted from 1.
    """

    time: int = 0
    line: int = 0
    size: int = 0

    @property
    def since(self) -> int:
        """From when to read so that nothing after this place is missed; seconds."""
        return max(0, self.time // _NANO - OVERLAP_SECONDS)


class Piece(NamedTuple):
    """Output, from when it is, and the place after it."""

    time: int
    data: bytes
    mark: Mark


_START: Final = Mark()


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an instance's output: in that of a pod, which is the attempt of that number.

    `created` is when the pod was made, in seconds: that tells which are later ones, where it is
    gone. `done` says that nothing more comes from it.
    """

    attempt: int = 0
    created: int = 0
    pod: str = ""
    mark: Mark = _START
    done: bool = False

    @classmethod
    def parse(cls, cursor: str, uid: str, instance: int) -> Self:
        """The place that a cursor names; InvalidToken if it is none of this instance."""
        match = _CURSOR.fullmatch(cursor)
        if match is None or match[3] != uid[:12]:
            raise InvalidToken("cursor")
        of, attempt, created, *mark = map(int, match[1].rstrip(".").split("."))
        if of != instance:
            raise InvalidToken("cursor")
        return cls(attempt, created, match[2], Mark(*mark))

    def cursor(self, uid: str, instance: int) -> str:
        """Names the place."""
        numbers = (instance, self.attempt, self.created, *self.mark)
        return f"k{'.'.join(map(str, numbers))}.{self.pod}.{uid[:12]}"


class Run(NamedTuple):
    """A pod of an instance: its name and uid, when it was made, and how far it is.

    `ended` says that its container has ended for good, or never starts.
    """

    attempt: int
    created: int
    uid: str
    pod: str
    started: bool
    ended: bool
    succeeded: bool


class Unreadable(EngineUnavailable):
    """A kubelet says that it can't read a log, which may pass. `missing`: it has none, if not."""

    def __init__(self, pod: str, message: str, *, missing: bool) -> None:
        super().__init__(f"Kubernetes can't read the output of the pod {pod}: {message}")
        self.missing = missing


async def read_output(
    api: Api, controller: Controller, job: Job, query: LogQuery
) -> AsyncGenerator[LogChunk]:
    """Yield an instance's output, see `Engine.read_logs`.

    A run whose pod or container is gone is left out, and so is what was rotated away.
    """
    await _check(api, controller, job, query)
    reader = _Reader(api, controller, job.uid, query)
    place = Place.parse(query.cursor, job.uid, query.instance) if query.cursor else Place()
    if query.tail_lines is not None and not query.cursor:
        chunks, place = await reader.tail(query.tail_lines)
        for chunk in chunks:
            yield chunk
    while (run := await reader.next_run(place)) is not None:
        if run.uid != place.pod:
            place = Place(run.attempt, run.created, run.uid)
        async with contextlib.aclosing(reader.read(run, place)) as found:
            async for chunk in found:
                yield chunk
        place = replace(place, done=True)


async def _check(api: Api, controller: Controller, job: Job, query: LogQuery) -> None:
    """Refuse what the job doesn't have, and what isn't known of it."""
    if query.stream is not LogStream.BOTH:
        why = "Kubernetes doesn't tell a job's two streams apart: leave it out to read both"
        raise InvalidSpec([FieldViolation("stream", why)])
    intent = await _intent(api, controller, job)
    if not 0 <= query.instance < intent.completions:
        why = f"the job's instances are numbered from 0 to {intent.completions - 1}"
        raise InvalidSpec([FieldViolation("instance", why)])


async def _intent(api: Api, controller: Controller, job: Job) -> Intent:
    if (tracked := controller.active.get(job.uid)) is not None:
        return tracked.intent
    found = await api.read_job(job.name)
    intent = None if found is None else read_intent(found)
    if intent is None or intent.uid != job.uid:
        raise JobNotFound(job.name)
    return intent


# -- which pod --------------------------------------------------------------------------------


def runs_of(pods: Sequence[Json], instance: int) -> list[Run]:
    """The runs of an instance, the first one first."""
    by_uid = {str(pod["metadata"]["uid"]): pod for pod in pods}
    return [
        Run(
            attempt.attempt,
            int(read_time(by_uid[attempt.uid]["metadata"]["creationTimestamp"]) or 0),
            attempt.uid,
            attempt.pod,
            started=attempt.start_time > 0,
            ended=attempt.end is not None or _is_terminated(by_uid[attempt.uid]),
            succeeded=attempt.end is not None and attempt.end.code == 0,
        )
        for attempt in read_attempts(pods)
        if attempt.instance == instance
    ]


def run_after(runs: Sequence[Run], place: Place) -> Run | None:
    """The run to read at a place, or next after it; attempts are counted on from there."""
    if not place.pod:
        return runs[0] if runs else None
    for index, run in enumerate(runs):
        if run.uid == place.pod:
            if not place.done:
                return run._replace(attempt=place.attempt)
            later = runs[index + 1 :]
            break
    else:
        later = [run for run in runs if run.created >= place.created]
    return later[0]._replace(attempt=place.attempt + 1) if later else None


def _is_terminated(pod: Json) -> bool:
    """Whether a pod's container has ended; its pod may go on for a while, for others in it."""
    status: Json = pod.get("status") or {}
    containers: Sequence[Json] = status.get("containerStatuses") or ()
    states: list[Json] = [each["state"] for each in containers if each["name"] == CONTAINER]
    return any(state.get("terminated") for state in states)


# -- reading ----------------------------------------------------------------------------------


class _Reader:
    def __init__(self, api: Api, controller: Controller, uid: str, query: LogQuery) -> None:
        self._api = api
        self._controller = controller
        self._uid = uid
        self._query = query

    async def next_run(self, place: Place) -> Run | None:
        """The run at a place or after it, if there is one; with `follow`, once it has started."""
        while True:
            over = self._uid not in self._controller.active or not self._query.follow
            runs = await self._runs()
            run = run_after(runs, place)
            if run is not None and (over or run.started or run.ended):
                return run
            if over or any(each.succeeded for each in runs):
                return None
            await self._news(_WAIT_SECONDS)

    async def read(self, run: Run, place: Place) -> AsyncGenerator[LogChunk]:
        """Yield a run's output from there; with `follow`, until the run has ended.

        The end of a stream says nothing: once the container is known to have ended, the rest is
        read.
        """
        failures = idle = 0
        while True:
            ended = not self._query.follow or await self._has_ended(run)
            begun = place.mark
            try:
                async with contextlib.aclosing(self._round(run, begun, ended=ended)) as pieces:
                    async for piece in pieces:
                        failures = 0
                        place = replace(place, mark=piece.mark)
                        yield self._chunk(piece, place)
            except (EngineUnavailable, EngineTimeout) as error:
                failures += 1
                unread = error if isinstance(error, Unreadable) else None
                if failures > MAX_FAILURES and unread and unread.missing and ended:
                    return
                if failures > MAX_FAILURES or not (self._query.follow or unread):
                    raise
            else:
                failures = 0
                if ended:
                    return
            idle = idle + 1 if place.mark == begun else 0
            await self._news(TRY_AGAIN.after(max(failures, idle, 1)))

    async def _round(self, run: Run, mark: Mark, *, ended: bool) -> AsyncGenerator[Piece]:
        """Yield what there is after the place, or follow a run that hasn't ended.

        A stream that was silent for long is given up, and the log read without following it: that
        answer has an end, which tells whether the place is still in the log.
        """
        silence = SILENCE_SECONDS
        while True:
            begun = mark
            if not ended:
                with contextlib.suppress(EngineTimeout):
                    async with contextlib.aclosing(self._after(run, mark, silence)) as pieces:
                        async for piece in pieces:
                            mark = piece.mark
                            yield piece
                    return
            async with contextlib.aclosing(self._after(run, mark)) as pieces:
                async for piece in pieces:
                    mark = piece.mark
                    yield piece
            if ended:
                return
            silence = min(silence * 2, MAX_SILENCE_SECONDS) if mark == begun else SILENCE_SECONDS

    async def tail(self, lines: int) -> tuple[list[LogChunk], Place]:
        """The last so many lines of what there is now, and the place after them."""
        chunks: list[LogChunk] = []
        end: Place | None = None
        for run in reversed(await self._runs()):
            place = Place(run.attempt, run.created, run.uid)
            mark, found = await self._last(run, lines)
            end = end or replace(place, mark=mark)
            chunks[:0] = [
                self._chunk(piece, replace(place, mark=piece.mark)) for piece in gather(found)
            ]
            lines -= _count_lines(found)
            if lines <= 0:
                break
        return chunks, end or Place()

    async def _last(self, run: Run, lines: int) -> tuple[Mark, list[Piece]]:
        """A run's last lines, and the place after them."""
        for failures in itertools.count(1):
            try:
                return await self._find_last(run, lines)
            except Unreadable as error:
                if failures > MAX_FAILURES and not error.missing:
                    raise
            if failures > MAX_FAILURES:
                break
            await self._news(TRY_AGAIN.after(failures))
        return _START, []

    async def _find_last(self, run: Run, lines: int) -> tuple[Mark, list[Piece]]:
        # How far back that is. Kubernetes counts entries, of which a long line has several.
        async with contextlib.aclosing(self._answer(run, tail=max(lines, 1))) as pieces:
            first = await anext(pieces, None)
        if first is not None and first.mark.since:
            # The rest of a line that began earlier, if there is nothing else, has no time.
            with contextlib.suppress(Unreadable):
                mark, found = await self._collect(run, lines, first.mark.since)
                if mark != _START and _count_lines(found) >= lines:
                    return mark, found
        return await self._collect(run, lines, 0)

    async def _collect(self, run: Run, lines: int, since: int) -> tuple[Mark, list[Piece]]:
        """Read from a time on; keep the last lines, and the place after them."""
        mark = _START
        kept: deque[Piece] = deque()
        count = 0
        async with contextlib.aclosing(self._answer(run, since=since)) as pieces:
            async for piece in pieces:
                mark = piece.mark
                kept.append(piece)
                count += piece.data.endswith(b"\n")
                while kept and (count > lines or not lines):
                    count -= kept.popleft().data.endswith(b"\n")
        return mark, list(kept)

    async def _after(self, run: Run, mark: Mark, follow: float = 0.0) -> AsyncGenerator[Piece]:
        """Yield what a log has after a place, joined as it comes.

        It is followed until it is silent for so many seconds, if `follow` isn't 0.
        """
        resumption = Resumption(mark)
        answer = self._answers(run, follow=follow, since=mark.since)
        async with contextlib.aclosing(answer) as found:
            async for pieces in found:
                for piece in gather(itertools.chain.from_iterable(map(resumption.take, pieces))):
                    yield piece
        if not follow:
            for piece in gather(resumption.rest()):
                yield piece

    async def _answer(self, run: Run, *, since: int = 0, tail: int = 0) -> AsyncGenerator[Piece]:
        """Yield what a log has, from a time or the last so many entries on."""
        async with contextlib.aclosing(self._answers(run, since=since, tail=tail)) as found:
            async for pieces in found:
                for piece in pieces:
                    yield piece

    async def _answers(
        self, run: Run, *, follow: float = 0.0, since: int = 0, tail: int = 0
    ) -> AsyncGenerator[Iterator[Piece]]:
        """Ask for a log; yield what comes at once. Nothing comes where there is no log yet."""
        query = {"container": CONTAINER, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if since:
            query["sinceTime"] = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if tail:
            query["tailLines"] = str(tail)
        parser = Parser()
        try:
            answer = self._api.logs(run.pod, query, follow or CALL_SECONDS)
            async with contextlib.aclosing(answer):
                async for data in answer:
                    yield parser.feed(data)
        except Refused as refusal:
            if refusal.status == NOT_FOUND and refusal.words != f'pods "{run.pod}" not found':
                # The pod is there, but its kubelet doesn't know it: it was just started.
                raise Unreadable(run.pod, refusal.words, missing=True) from None
            if refusal.status not in {NOT_FOUND, _NOT_STARTED}:
                raise
        if message := parser.message:
            missing = any(words in message for words in _MISSING)
            raise Unreadable(run.pod, message.decode(errors="replace"), missing=missing)

    def _chunk(self, piece: Piece, place: Place) -> LogChunk:
        return LogChunk(
            piece.data,
            LogStream.BOTH,
            place.cursor(self._uid, self._query.instance),
            write_time=piece.time / _NANO,
            attempt=place.attempt,
        )

    async def _runs(self) -> list[Run]:
        tracked = self._controller.active.get(self._uid) if self._query.follow else None
        pods = await self._api.pods_of(self._uid) if tracked is None else [*tracked.pods.values()]
        return runs_of(pods, self._query.instance)

    async def _has_ended(self, run: Run) -> bool:
        """Whether a run has ended, or its pod is gone."""
        return all(each.ended for each in await self._runs() if each.uid == run.uid)

    async def _news(self, seconds: float) -> None:
        """Wait until something happens to the job, but not longer."""
        if self._controller.closed:
            raise EngineUnavailable("Kubernetes went away: read on from the last cursor")
        tracked = self._controller.active.get(self._uid)
        if tracked is None:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await tracked.changed.wait()


# -- what an answer says ----------------------------------------------------------------------


class Parser:
    """Takes an answer apart, as it comes."""

    def __init__(self) -> None:
        self._mark: Mark | None = None
        self._head = b""
        self._words: bytes | None = None
        self._lines: dict[int, int] = {}

    @property
    def message(self) -> bytes:
        """What the answer ends with that is no output; it is shown once the answer has ended."""
        return self._head if self._words is None else self._words

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the pieces of lines that come with the next bytes."""
        start = 0
        while start < len(data):
            end = (data.find(b"\n", start, start + CHUNK_BYTES) + 1) or start + CHUNK_BYTES
            if (piece := self._take(data[start:end])) is not None:
                yield piece
            start = end

    def _take(self, text: bytes) -> Piece | None:
        """Some more of a line, or all that is left of it."""
        whole = text.endswith(b"\n")
        if self._words is not None:
            self._words = None if whole else self._words + text[: CHUNK_BYTES - len(self._words)]
            return None
        if self._mark is None:
            head = self._head + text
            match = _PREFIX.match(head)
            if match is None or (time := _nanoseconds(*match.groups())) is None:
                self._keep(head, whole=whole)
                return None
            self._head = b""
            self._mark = self._begin(time)
            text = head[match.end() :]
        if not text:
            return None
        mark = self._mark._replace(size=self._mark.size + len(text))
        self._mark = None if whole else mark
        return Piece(mark.time, text, mark)

    def _keep(self, head: bytes, *, whole: bool) -> None:
        """Note what isn't a time, or none yet."""
        self._head = b""
        if not whole and len(head) < _PREFIX_BYTES:
            self._head = head
        elif not whole:
            self._words = head

    def _begin(self, time: int) -> Mark:
        """The place at the beginning of a line with that time."""
        line = self._lines[time] = self._lines.get(time, 0) + 1
        if len(self._lines) > _MAX_TIMES:
            del self._lines[next(iter(self._lines))]
        return Mark(time, line)


class Resumption:
    """Lets through what comes after a place.

    Lines aren't quite in the order of their times, so the place is looked for itself. Where it is
    gone, because the log was rotated, all that is newer comes after it.
    """

    def __init__(self, place: Mark) -> None:
        self._place = place
        self._found = place == _START
        self._newer: list[Piece] = []

    def take(self, piece: Piece) -> Sequence[Piece]:
        """What to hand on once this has come."""
        if self._found:
            return (piece,)
        place, mark = self._place, piece.mark
        if mark[:2] == place[:2]:
            if (more := mark.size - place.size) < 0:
                return ()
            self._found = True
            self._newer.clear()
            return (piece._replace(data=piece.data[-more:]),) if more else ()
        if mark.time > place.time:
            self._newer.append(piece)
        if mark.time > place.time + JITTER_SECONDS * _NANO:
            self._found = True
            return self.rest()
        return ()

    def rest(self) -> Sequence[Piece]:
        """What is left to be handed on where the answer has ended."""
        newer, self._newer = self._newer, []
        return newer


def gather(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Join what was written at almost the same time."""
    kept: list[Piece] = []
    size = 0
    for piece in pieces:
        size += len(piece.data)
        if kept and (
            size > CHUNK_BYTES or abs(piece.time - kept[0].time) > TOGETHER_SECONDS * _NANO
        ):
            yield _joined(kept)
            kept, size = [], len(piece.data)
        kept.append(piece)
    if kept:
        yield _joined(kept)


def _joined(pieces: Sequence[Piece]) -> Piece:
    data = b"".join([piece.data for piece in pieces])
    return Piece(pieces[0].time, data, pieces[-1].mark)


def _nanoseconds(seconds: bytes, fraction: bytes | None, zone: bytes) -> int | None:
    """Nanoseconds since the epoch, None where it only looks like a time."""
    whole = _seconds(seconds + zone)
    return None if whole is None else whole * _NANO + int((fraction or b"").ljust(9, b"0"))


@lru_cache(16)
def _seconds(stamp: bytes) -> int | None:
    try:
        return int(datetime.fromisoformat(stamp.decode()).timestamp())
    except ValueError:
        return None


def _count_lines(pieces: Sequence[Piece]) -> int:
    return sum(piece.data.endswith(b"\n") for piece in pieces)
