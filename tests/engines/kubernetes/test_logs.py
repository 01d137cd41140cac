"""What is read of a pod's output, and from where, by the rules of Kubernetes' own log reader."""

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engines.backoff import Backoff
from engines.base import Job, LogChunk, LogQuery, LogStream
from engines.errors import (
    EngineError,
    EngineTimeout,
    EngineUnavailable,
    InvalidSpec,
    InvalidToken,
    JobNotFound,
)
from engines.kubernetes import logs, record
from engines.kubernetes.cluster import Refused
from engines.kubernetes.engine import KubernetesEngine
from engines.kubernetes.logs import (
    CHUNK_BYTES,
    MAX_FAILURES,
    OVERLAP_SECONDS,
    Mark,
    Parser,
    Piece,
    Place,
    Resumption,
    gather,
    read_output,
    run_after,
    runs_of,
)
from engines.workload import Watched, watching
from tests.cluster.fixtures import Reachable
from tests.engines.kubernetes.objects import a_pod, ended, running, waits
from tests.engines.kubernetes.specs import NEW_YEAR, UID, an_intent, shell

DEADLINE_SECONDS = 40.0
NANO = 1_000_000_000
START = int(NEW_YEAR) * NANO

NUMBERS = st.integers(0, 10**20 - 1)
MARKS = st.builds(Mark, NUMBERS, NUMBERS, NUMBERS)
PLACES = st.builds(Place, NUMBERS, NUMBERS, st.uuids().map(str), MARKS)


class Entry(NamedTuple):
    """An entry of a log's file: a line with its end, or without it a part of a line."""

    time: int
    data: bytes


def line(time: int, text: str = "") -> Entry:
    return Entry(time, text.encode() + b"\n")


def stamp(time: int) -> bytes:
    seconds = datetime.fromtimestamp(time // NANO, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{seconds}.{time % NANO:09}Z ".encode()


def told(entries: Sequence[Entry], since: int = 0, tail: int = 0) -> bytes:
    """What a kubelet answers (ReadLogs in k8s.io/cri-client/pkg/logs/logs.go)."""
    answer = b""
    new_line = True
    for entry in entries[-tail:] if tail else entries:
        if entry.time >= since * NANO:
            answer += (stamp(entry.time) if new_line else b"") + entry.data
        new_line = entry.data.endswith(b"\n") or not entry.data
    return answer


def joined(parts: Iterable[Entry | Piece | LogChunk]) -> bytes:
    return b"".join(part.data for part in parts)


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The data in pieces of these sizes, and then what is left."""
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def parsed(*answer: bytes) -> list[Piece]:
    parser = Parser()
    return [piece for data in answer for piece in parser.feed(data)]


def resumed(answer: Sequence[bytes], mark: Mark) -> list[Piece]:
    resumption = Resumption(mark)
    found = [each for piece in parsed(*answer) for each in resumption.take(piece)]
    return [*found, *resumption.rest()]


# -- cursors ----------------------------------------------------------------------------------


@given(PLACES, st.integers(0, 99_999))
def test_cursors_round_trip(place: Place, instance: int) -> None:
    cursor = place.cursor(UID, instance)
    assert Place.parse(cursor, UID, instance) == place
    assert len(cursor) < 1024


A_PLACE = Place(1, int(NEW_YEAR), "89abcdef-0123-4567-89ab-cdef01234567", Mark(START, 1, 5))


@pytest.mark.parametrize(
    ("uid", "instance"), [("11234567-89ab-cdef-0123-456789abcdef", 0), (UID, 1), ("", 0)]
)
def test_cursors_of_other_jobs_and_instances(uid: str, instance: int) -> None:
    with pytest.raises(InvalidToken):
        Place.parse(A_PLACE.cursor(UID, 0), uid, instance)


@given(st.text(max_size=60))
@example("")
@example("k")
@example(A_PLACE.cursor(UID, 0) + "\n")
@example(" " + A_PLACE.cursor(UID, 0))
@example(A_PLACE.cursor(UID, 0)[1:])
@example(A_PLACE.cursor(UID, 0).replace("k0.", "k0.0."))
@example(A_PLACE.cursor(UID, 0).replace("k0.", "k"))
@example(A_PLACE.cursor(UID, 0).replace("k0.", "k-0."))
@example(A_PLACE.cursor(UID, 0).replace("k0.", "k٣."))
@example(A_PLACE.cursor(UID, 0).replace("k0.", f"k{10**20}."))
@example(A_PLACE.cursor(UID, 0) + "a")
@example("d0.0.0.0.0." + UID[:12])
def test_garbage_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        Place.parse(text, UID, 0)
    assert caught.value.field == "cursor"


# -- what an answer says ----------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from([b"", b" ", b"\r", b"\xff\x00", stamp(START), stamp(START) * 2, b"x" * 50]),
    st.binary(max_size=8).map(lambda data: data.replace(b"\n", b"")),
)
STEPS = st.sampled_from([0, 0, 1, 1_000_000, NANO, OVERLAP_SECONDS * NANO + 1])


@st.composite
def files(draw: st.DrawFn) -> list[Entry]:
    """Logs with lines in parts, at one time, long after one another, and a bit out of order."""
    entries: list[Entry] = []
    time = START
    for _ in range(draw(st.integers(1, 12))):
        time += draw(STEPS)
        text = draw(TEXTS)
        between = not entries or entries[-1].data.endswith(b"\n")
        if draw(st.booleans()):
            entries.append(Entry(time - between * draw(st.sampled_from([0, 1000])), text + b"\n"))
        elif text:  # no container runtime writes parts of nothing
            entries.append(Entry(time, text))
    return entries


SIZES = st.lists(st.integers(0, 40), max_size=10)


@given(files(), SIZES)
def test_output_is_what_was_written(entries: list[Entry], sizes: list[int]) -> None:
    """However the answer is cut on its way, and whatever the lines look like."""
    pieces = parsed(*cut(told(entries), sizes))
    assert joined(pieces) == joined(entries)
    assert [piece.mark for piece in pieces] == sorted(
        {piece.mark for piece in pieces}, key=[piece.mark for piece in pieces].index
    )


@given(files(), SIZES, SIZES)
def test_reading_on_from_each_place(
    entries: list[Entry], sizes: list[int], others: list[int]
) -> None:
    """Without gap or repeat."""
    pieces = parsed(*cut(told(entries), sizes))
    for index, piece in enumerate(pieces):
        answer = told(entries, piece.mark.since)
        rest = joined(pieces[index + 1 :])
        assert joined(resumed(cut(answer, others), piece.mark)) == rest


@given(files(), st.integers(0, 12))
def test_reading_on_after_a_rotation(entries: list[Entry], rotated: int) -> None:
    """What the log has lost is lost, and all the rest comes."""
    entries = sorted(entries)
    whole = [index for index, each in enumerate(entries) if each.data.endswith(b"\n")]
    starts = [0, *(index + 1 for index in whole)]
    start = starts[rotated % len(starts)]
    left = entries[start:]
    if not left or (start and left[0].time <= entries[start - 1].time):
        return
    for piece in parsed(told(entries[:start])):
        assert joined(resumed([told(left, piece.mark.since)], piece.mark)) == joined(left)


@pytest.mark.parametrize(
    ("mark", "rest"),
    [
        (Mark(), b"aabbccdd\n"),
        (Mark(START, 1, 1), b"abbccdd\n"),
        (Mark(START, 1, 4), b"ccdd\n"),
        (Mark(START, 1, 9), b""),
        (Mark(START - 1, 1, 9), b"aabbccdd\n"),
        (Mark(START, 2, 1), b""),
    ],
)
def test_reading_on_within_a_long_line(mark: Mark, rest: bytes) -> None:
    entries = [Entry(START + i, data) for i, data in enumerate([b"aa", b"bb", b"cc", b"dd\n"])]
    assert joined(resumed([told(entries)], mark)) == rest


def test_lines_of_one_stream_within_those_of_the_other() -> None:
    """Only a line's beginning has a time; the bytes come as they were written all the same."""
    entries = [Entry(START, b"long"), line(START + 5, "err"), line(START + 6, "er"), line(START)]
    answer = told(entries)
    assert answer == stamp(START) + b"longerr\n" + stamp(START + 6) + b"er\n" + stamp(START) + b"\n"
    marks = [(START, 1, 8), (START + 6, 1, 3), (START, 2, 1)]
    assert [piece.mark for piece in parsed(answer)] == marks


def test_the_rest_of_a_line_that_began_before() -> None:
    entries = [Entry(START - 1, b"long "), line(START, "rest"), line(START, "next")]
    answer = told(entries, int(NEW_YEAR))
    assert answer == b"rest\n" + stamp(START) + b"next\n"
    assert parsed(answer) == [Piece(START, b"next\n", Mark(START, 1, 5))]


@pytest.mark.parametrize(
    "words",
    [
        b"unable to retrieve container logs for containerd://0123",
        b"failed to create fsnotify watcher: too many open files",
        b"short",
        b"2026-13-01T00:00:00.000000000Z is no time",
        b"x" * 10_000,
    ],
)
@given(sizes=SIZES)
def test_words_of_the_kubelet(words: bytes, sizes: list[int]) -> None:
    for before in (b"", told([line(START, "a")])):
        parser = Parser()
        pieces = [each for data in cut(before + words, sizes) for each in parser.feed(data)]
        assert joined(pieces) == before[len(stamp(START)) :]
        assert parser.message == words[:CHUNK_BYTES]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-01T00:00:00.123456789Z", START + 123456789),
        ("2026-01-01T00:00:00.1Z", START + 100000000),
        ("2026-01-01T00:00:00Z", START),
        ("2026-01-01T01:00:00.000000001+01:00", START + 1),
        ("2025-12-31T19:30:00.5-04:30", START + 500000000),
    ],
)
def test_times(text: str, time: int) -> None:
    assert parsed(f"{text} x\n".encode()) == [Piece(time, b"x\n", Mark(time, 1, 2))]


@given(files())
@example([line(START, "x" * 40_000), line(START, "y" * 40_000)])
@example([line(START, "x" * 200_000), line(START)])
def test_what_comes_together_makes_chunks(entries: list[Entry]) -> None:
    pieces = parsed(told(entries))
    chunks = list(gather(pieces))
    assert joined(chunks) == joined(pieces)
    assert [chunk.mark for chunk in chunks[-1:]] == [piece.mark for piece in pieces[-1:]]
    assert all(len(chunk.data) <= CHUNK_BYTES for chunk in chunks)
    for chunk in chunks:
        assert abs(chunk.time - chunk.mark.time) <= 0.1 * NANO


# -- which pod --------------------------------------------------------------------------------


def test_runs_of_an_instance() -> None:
    pods = [
        ended(0, instance=1, number=3),
        a_pod("Pending", waits(), instance=0, number=4),
        ended(1, instance=0, number=1),
        a_pod("Running", running(), instance=0, number=2),
    ]
    found = [(run.attempt, run.started, run.ended, run.succeeded) for run in runs_of(pods, 0)]
    assert found == [(0, True, True, False), (1, True, False, False), (2, False, False, False)]
    assert [run.succeeded for run in runs_of(pods, 1)] == [True]
    assert runs_of(pods, 2) == []


def test_a_container_ends_before_its_pod() -> None:
    pod = a_pod("Running", ended(3)["status"]["containerStatuses"][1]["state"])
    assert [run.ended for run in runs_of([pod], 0)] == [True]


PODS = [ended(1, number=number) for number in range(4)]


@pytest.mark.parametrize(
    ("there", "place", "done", "expected"),
    [
        ([], None, False, None),
        ([0, 1], None, False, (0, 0)),
        ([1, 2], None, False, (1, 0)),  # what is gone isn't counted
        ([0, 1, 2], (1, 1), False, (1, 1)),
        ([0, 1, 2], (1, 1), True, (2, 2)),
        ([1, 2], (1, 1), True, (2, 2)),  # but what this read has seen is
        ([1, 2], (1, 1), False, (1, 1)),
        ([2, 3], (1, 1), False, (2, 2)),
        ([3], (1, 1), True, (3, 2)),
        ([0], (1, 1), False, None),
        ([0, 1], (1, 1), True, None),
        ([], (1, 1), True, None),
    ],
)
def test_the_run_after_a_place(
    there: list[int],
    place: tuple[int, int] | None,
    done: bool,
    expected: tuple[int, int] | None,
) -> None:
    """Each is a pod and its number."""
    at = Place()
    if place is not None:
        pod, attempt = place
        metadata = PODS[pod]["metadata"]
        created = record.read_time(metadata["creationTimestamp"]) or 0
        at = Place(attempt, int(created), metadata["uid"], Mark(START, 1, 1), done)
    run = run_after(runs_of([PODS[pod] for pod in there], 0), at)
    names = [pod["metadata"]["name"] for pod in PODS]
    assert (run and (names.index(run.pod), run.attempt)) == expected


# -- reading ----------------------------------------------------------------------------------

MISSING = b"unable to retrieve container logs for containerd://0123"

Step = bytes | EngineError | Callable[[], None]


class FakeApi:
    """Answers from the logs' files, or what is scripted instead: pieces, ends, and what happens."""

    def __init__(self, *pods: Mapping[str, Any]) -> None:
        self.pods = list(pods)
        self.files: dict[str, list[Entry]] = {}
        self.streams: list[list[Step]] = []
        self.reads: list[list[Step]] = []
        self.missing = Counter[str]()
        self.asked: list[dict[str, str]] = []
        self.job: Mapping[str, Any] | None = None

    async def read_job(self, name: str) -> Mapping[str, Any] | None:
        return self.job

    async def pods_of(self, uid: str) -> list[Mapping[str, Any]]:
        return list(self.pods)

    async def logs(self, pod: str, query: dict[str, str], silence: float) -> AsyncGenerator[bytes]:
        self.asked.append({"pod": pod, **query})
        await asyncio.sleep(0)
        if self.missing[pod] > 0:
            self.missing[pod] -= 1
            yield MISSING
            return
        scripted = self.streams if "follow" in query else self.reads
        since = int(datetime.fromisoformat(query.get("sinceTime", "1970-01-01T00:00Z")).timestamp())
        tail = int(query.get("tailLines", 0))
        steps = scripted.pop(0) if scripted else [told(self.files.get(pod, []), since, tail)]
        for step in steps:
            if isinstance(step, EngineError):
                raise step
            if isinstance(step, bytes):
                yield step
            else:
                step()


class Reading:
    """A job that isn't over, with what its reader has to do with."""

    def __init__(self, *pods: Mapping[str, Any], **fields: Any) -> None:
        self.api = FakeApi(*pods)
        self.intent = an_intent(shell("true", **fields))
        self.tracked = SimpleNamespace(intent=self.intent, changed=asyncio.Event(), pods={})
        self.controller = SimpleNamespace(active={UID: self.tracked}, closed=False)
        self.set_pods(*pods)

    def set_pods(self, *pods: Mapping[str, Any]) -> None:
        self.api.pods = list(pods)
        self.tracked.pods = {pod["metadata"]["uid"]: pod for pod in pods}
        self.tracked.changed.set()
        self.tracked.changed = asyncio.Event()

    def over(self) -> None:
        self.controller.active.clear()
        self.tracked.changed.set()
        made = record.annotations_of(self.intent, shell("true"))
        self.api.job = {
            "metadata": {
                "name": "job",
                "uid": UID,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": record.labels_of(self.intent),
                "annotations": made,
            }
        }

    def read(self, **query: Any) -> AsyncGenerator[LogChunk]:
        job = Job("job", uid=UID)
        return read_output(self.api, self.controller, job, LogQuery(**query))  # type: ignore[arg-type]

    async def chunks(self, **query: Any) -> list[LogChunk]:
        async with asyncio.timeout(10):
            return [chunk async for chunk in self.read(**query)]

    async def output(self, **query: Any) -> bytes:
        return joined(await self.chunks(**query))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "TRY_AGAIN", Backoff(first=0.001, longest=0.001))
    monkeypatch.setattr(logs, "_WAIT_SECONDS", 0.01)


RUNS = a_pod("Running", running())
POD = RUNS["metadata"]["name"]


async def test_nothing() -> None:
    assert await Reading().chunks() == []
    reading = Reading()
    reading.over()
    assert await reading.chunks(follow=True) == []
    assert await reading.chunks(tail_lines=3) == []


async def test_chunks() -> None:
    reading = Reading(ended(1), ended(0, number=1))
    lines = [line(START + number * NANO // 20, str(number)) for number in range(5)]
    reading.api.files = {"job-p0": lines[:3], "job-p1": lines[3:]}
    reading.over()
    for follow in (False, True):
        chunks = await reading.chunks(follow=follow)
        found = [(chunk.attempt, chunk.data, chunk.write_time) for chunk in chunks]
        assert found == [(0, b"0\n1\n2\n", NEW_YEAR), (1, b"3\n4\n", NEW_YEAR + 0.15)]
        assert {chunk.stream for chunk in chunks} == {LogStream.BOTH}
        assert await reading.output(cursor=chunks[0].cursor, follow=follow) == b"3\n4\n"
        assert await reading.output(cursor=chunks[1].cursor, follow=follow) == b""
    asked = reading.api.asked[0]
    assert asked == {"pod": "job-p0", "container": "job", "timestamps": "true"}


async def test_reading_on_asks_for_a_whole_second() -> None:
    reading = Reading(ended(0))
    reading.api.files = {"job-p0": [line(START + NANO * 3 // 2, "a"), line(START + 5 * NANO, "b")]}
    chunks = await reading.chunks()
    assert await reading.output(cursor=chunks[0].cursor) == b"b\n"
    since = datetime.fromtimestamp(NEW_YEAR + 1 - OVERLAP_SECONDS, UTC)
    assert reading.api.asked[-1]["sinceTime"] == since.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("instance", [-1, 2])
async def test_instances_that_a_job_does_not_have(instance: int) -> None:
    reading = Reading(completions=2, parallelism=2)
    for _ in range(2):
        with pytest.raises(InvalidSpec) as caught:
            await reading.chunks(instance=instance)
        assert caught.value.violations[0].field == "instance"
        reading.over()


@pytest.mark.parametrize("stream", [LogStream.STDOUT, LogStream.STDERR])
async def test_streams_are_not_told_apart(stream: LogStream) -> None:
    with pytest.raises(InvalidSpec) as caught:
        await Reading().chunks(stream=stream)
    assert caught.value.violations[0].field == "stream"


async def test_jobs_that_are_gone() -> None:
    reading = Reading()
    reading.controller.active.clear()
    with pytest.raises(JobNotFound):
        await reading.chunks()
    reading.over()
    assert reading.api.job is not None
    reading.api.job["metadata"]["uid"] = "another"
    with pytest.raises(JobNotFound):
        await reading.chunks()


async def test_cursors_of_others() -> None:
    with pytest.raises(InvalidToken):
        await Reading().chunks(cursor=A_PLACE.cursor(UID, 1))


async def test_a_stream_that_ends_is_taken_up_again() -> None:
    """Whatever ended it, and with what is written meanwhile."""
    reading = Reading(RUNS)
    lines = [line(START + number * NANO, str(number)) for number in range(8)]
    file = reading.api.files[POD] = lines[:1]

    def write(count: int) -> Callable[[], None]:
        return lambda: file.extend(lines[len(file) : len(file) + count])

    def end() -> None:
        write(1)()
        reading.set_pods(ended(0))
        reading.over()

    reading.api.streams = [
        [told(file), write(1)],
        [told(lines[:2]), EngineTimeout("silence"), write(1)],
        [write(2), told(lines[:4]), EngineUnavailable("connection lost")],
        [told(lines)[:50], EngineUnavailable("within a line")],
        [write(1), EngineUnavailable("kubelet gone")],
        [end],
    ]
    chunks = await reading.chunks(follow=True)
    assert joined(chunks) == joined(file)
    assert len(file) == 6
    for index, chunk in enumerate(chunks):
        assert await reading.output(cursor=chunk.cursor) == joined(chunks[index + 1 :])


async def test_what_is_there_is_not_held_back() -> None:
    """Not even to the end of its line."""
    reading = Reading(RUNS)
    answer = told([line(START, "first half, second half")])
    reading.api.streams = [[answer[:43], lambda: None, answer[43:]]]
    async with asyncio.timeout(5), contextlib.aclosing(reading.read(follow=True)) as chunks:
        assert [(await anext(chunks)).data for _ in range(2)] == [b"first half, ", b"second half\n"]


async def test_a_follower_waits_for_the_start() -> None:
    reading = Reading()
    reading.api.files[POD] = [line(START, "a")]

    async def happens() -> None:
        await asyncio.sleep(0.03)
        assert not reading.api.asked
        reading.set_pods(a_pod("Pending", waits()))
        await asyncio.sleep(0.03)
        assert not reading.api.asked
        reading.set_pods(RUNS)
        await asyncio.sleep(0.03)
        reading.set_pods(ended(0))

    read, _ = await asyncio.gather(reading.output(follow=True), happens())
    assert read == b"a\n"


async def test_a_container_that_has_not_started() -> None:
    reading = Reading(a_pod("Pending", waits()))
    reading.api.reads = [[Refused(400, {"message": 'container "job" is waiting to start'})]]
    assert await reading.chunks() == []


async def test_the_next_attempt_is_followed() -> None:
    reading = Reading(ended(1))
    reading.api.files = {POD: [line(START, "a")], "job-p1": [line(START + NANO, "b")]}

    async def happens() -> None:
        await asyncio.sleep(0.03)
        reading.set_pods(ended(0, number=1))  # the first one was removed

    chunks, _ = await asyncio.gather(reading.chunks(follow=True), happens())
    assert [(chunk.attempt, chunk.data) for chunk in chunks] == [(0, b"a\n"), (1, b"b\n")]
    # After a success there is no other.
    assert await reading.output(follow=True, cursor=chunks[0].cursor) == b"b\n"


async def test_a_pod_that_is_gone() -> None:
    reading = Reading(RUNS)
    reading.api.files[POD] = [line(START, "a")]

    def delete() -> None:
        reading.set_pods()
        reading.over()

    reading.api.streams = [[told(reading.api.files[POD]), delete]]
    reading.api.reads = [[Refused(404, {"message": f'pods "{POD}" not found'})]]
    assert await reading.output(follow=True) == b"a\n"


async def test_the_server_lost_its_connection() -> None:
    reading = Reading(RUNS)

    def lose() -> None:
        reading.controller.closed = True

    reading.api.streams = [[lose, EngineUnavailable("lost")]]
    with pytest.raises(EngineUnavailable, match="cursor"):
        await reading.chunks(follow=True)


async def test_a_node_that_does_not_answer() -> None:
    reading = Reading(ended(0))
    reading.api.reads = [[EngineUnavailable("dial tcp")] for _ in range(MAX_FAILURES + 2)]
    with pytest.raises(EngineUnavailable, match="dial tcp"):
        await reading.chunks()
    assert len(reading.api.asked) == 1
    with pytest.raises(EngineUnavailable, match="dial tcp"):
        await reading.chunks(follow=True)
    assert len(reading.api.asked) == MAX_FAILURES + 2


async def test_a_container_that_is_gone() -> None:
    """A kubelet says the same of one whose container runtime is away, so it is asked again."""
    reading = Reading(ended(1), ended(0, number=1))
    reading.api.files = {"job-p0": [line(START, "a")], "job-p1": [line(START, "b")]}
    reading.over()
    for query in ({"follow": False}, {"follow": True}, {"tail_lines": 9}):
        reading.api.missing["job-p0"] = MAX_FAILURES
        assert await reading.output(**query) == b"a\nb\n"
        reading.api.missing["job-p0"] = 99
        assert await reading.output(**query) == b"b\n"
    reading.api.missing["job-p1"] = 99
    assert await reading.output(tail_lines=1) == b""
    reading.api.missing["job-p0"] = 0
    assert await reading.output(tail_lines=1) == b"a\n"


@pytest.mark.parametrize("follow", [False, True])
async def test_what_else_a_kubelet_says(follow: bool) -> None:
    """It may pass, so it is asked again, and what came before that isn't repeated."""
    reading = Reading(ended(0))
    reading.api.files[POD] = [line(START, "a"), line(START + 1, "b")]
    words = b"failed to create fsnotify watcher: too many open files"
    before: list[list[Step]] = [[told([line(START, "a")]), words]]
    reading.api.reads = before + [[words]] * (MAX_FAILURES - 1)
    assert await reading.output(follow=follow) == b"a\nb\n"
    reading.api.reads = before + [[words]] * MAX_FAILURES
    chunks = reading.read(follow=follow)
    assert (await anext(chunks)).data == b"a\n"
    with pytest.raises(EngineUnavailable, match="too many open files"):
        await anext(chunks)


@pytest.mark.parametrize("query", [{"follow": False}, {"follow": True}, {"tail_lines": 3}])
async def test_a_kubelet_that_has_just_started(query: dict[str, Any]) -> None:
    """It doesn't know its pods yet, which isn't to be taken for their being gone."""
    reading = Reading(ended(0))
    reading.api.files[POD] = [line(START, "a")]
    words = f"the server could not find the requested resource (pods/log {POD})"
    reading.api.reads = [[Refused(404, {"message": words})] for _ in range(3)]
    assert await reading.output(**query) == b"a\n"
    reading.api.reads = [[Refused(404, {"message": f'pods "{POD}" not found'})] for _ in range(3)]
    assert await reading.output(**query) == b""


async def test_a_missing_permission() -> None:
    reading = Reading(RUNS)
    reading.api.streams = [[Refused(403, {"message": "cannot get pods/log"})]]
    with pytest.raises(Refused, match="cannot get"):
        await reading.chunks(follow=True)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, ""), (1, "9"), (3, "789"), (6, "456789"), (10, "0123456789"), (99, "0123456789")],
)
async def test_tail(lines: int, expected: str) -> None:
    """Over runs, and with lines in parts."""
    reading = Reading(ended(1), ended(1, number=1), ended(0, number=2))
    entries = [line(START + number * 3 * NANO, str(number)) for number in range(10)]
    reading.api.files = {"job-p0": entries[:4], "job-p1": [], "job-p2": entries[4:]}
    for parts in range(2):
        for follow in (False, True):
            chunks = await reading.chunks(tail_lines=lines, follow=follow)
            assert joined(chunks).decode().replace("\n", "").replace("x", "") == expected
            for index, chunk in enumerate(chunks):
                rest = joined(chunks[index + 1 :])
                assert await reading.output(cursor=chunk.cursor) == rest
        if not parts:
            long = [
                part
                for each in entries
                for part in (Entry(each.time - 20 * NANO, b"x"), Entry(each.time - 1, b"x"), each)
            ]
            reading.api.files = {"job-p0": long[:12], "job-p1": [], "job-p2": long[12:]}


async def test_a_tail_of_a_long_line_without_end() -> None:
    reading = Reading(ended(0))
    reading.api.files[POD] = [
        line(START, "a"),
        Entry(START + 1, b"b"),
        Entry(START + 60 * NANO, b"c"),
    ]
    assert await reading.output(tail_lines=0) == b""
    assert await reading.output(tail_lines=1) == b"a\nbc"
    assert await reading.output(tail_lines=0, follow=True) == b""


async def test_a_tail_that_is_followed() -> None:
    reading = Reading(RUNS)
    lines = [line(START + number, str(number)) for number in range(5)]
    reading.api.files[POD] = lines[:3]

    def end() -> None:
        reading.set_pods(ended(0))
        reading.api.files[POD] = lines

    reading.api.streams = [[told(lines[:4]), end]]
    assert await reading.output(tail_lines=1, follow=True) == b"2\n3\n4\n"


# -- on a cluster -----------------------------------------------------------------------------


class Serving(NamedTuple):
    """An engine in a namespace of the tests' cluster, and what its watch tells."""

    engine: KubernetesEngine
    watched: Watched

    async def runs(self, script: str, **fields: Any) -> None:
        """Run a job to its end."""
        await self.watched.end_of(await self.engine.create_job("job", shell(script, **fields)))

    async def chunks(self, **query: Any) -> list[LogChunk]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return [chunk async for chunk in self.engine.read_logs("job", LogQuery(**query))]

    async def output(self, **query: Any) -> bytes:
        return joined(await self.chunks(**query))


@pytest.fixture
async def serving(cluster: Reachable, kubernetes_namespace: str) -> AsyncGenerator[Serving]:
    async with (
        KubernetesEngine(kubeconfig=cluster.kubeconfig, namespace=kubernetes_namespace) as engine,
        watching(engine, DEADLINE_SECONDS) as watched,
    ):
        yield Serving(engine, watched)


@pytest.mark.engine("kubernetes")
async def test_what_jobs_write(serving: Serving) -> None:
    """Bytes of every kind, empty lines, and no end of line at the end."""
    await serving.runs(
        r"printf ' a \n\n b\r\n\t\r.\000\377\n2026-01-01T00:00:00.000000000Z x\nno end'"
    )
    # containerd takes a carriage return for part of the line's end.
    expected = b" a \n\n b\n\t\r.\0\xff\n2026-01-01T00:00:00.000000000Z x\nno end"
    assert await serving.output() == expected
    assert await serving.output(follow=True) == expected
    tail = b"2026-01-01T00:00:00.000000000Z x\nno end"
    assert await serving.output(tail_lines=1) == tail


@pytest.mark.engine("kubernetes")
async def test_long_lines(serving: Serving) -> None:
    """Also of bytes that are no text, and read on from the midst of them."""
    binary = "head -c 150000 /dev/urandom | tr '\\r' x"
    script = f"({binary}; head -c 100000 /dev/zero | tr '\\0' y) >/tmp/x"
    await serving.runs(f"{script}; cat /tmp/x; echo; md5sum </tmp/x")
    chunks = await serving.chunks()
    whole = joined(chunks)
    assert hashlib.md5(whole[:250_000]).hexdigest().encode() == whole[250_001:].split()[0]
    assert len(chunks) > 2
    for index, chunk in enumerate(chunks[:9]):
        assert await serving.output(cursor=chunk.cursor) == joined(chunks[index + 1 :])


@pytest.mark.engine("kubernetes")
async def test_a_follower_goes_on_elsewhere(serving: Serving) -> None:
    """Again and again, with two streams that are written at once."""
    script = "i=0; while [ $i -lt 1000 ]; do echo out-$i; echo err-$i >&2; i=$((i+1)); done"
    script += (
        "; while [ $i -lt 1060 ]; do echo out-$i; echo err-$i >&2; i=$((i+1)); sleep 0.1; done"
    )
    await serving.engine.create_job("job", shell(script))
    found: list[LogChunk] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            count = len(found)
            cursor = found[-1].cursor if found else ""
            logs = serving.engine.read_logs("job", LogQuery(follow=True, cursor=cursor))
            async for chunk in logs:
                found.append(chunk)
                if len(found) == count + 7:
                    break
            else:
                break
            await logs.aclose()  # type: ignore[attr-defined]  # it is a generator
    lines = joined(found).decode().splitlines()
    for stream in ("out", "err"):
        numbers = [line for line in lines if line.startswith(stream)]
        assert numbers == [f"{stream}-{number}" for number in range(1060)]
    assert joined(found) == await serving.output()


@pytest.mark.engine("kubernetes")
async def test_output_comes_while_the_job_runs(serving: Serving) -> None:
    await serving.engine.create_job("job", shell("echo first; exec sleep 300"))
    async with asyncio.timeout(DEADLINE_SECONDS):
        logs = serving.engine.read_logs("job", LogQuery(follow=True))
        assert (await anext(logs)).data == b"first\n"
        await serving.engine.delete_job("job", grace_seconds=1)
        assert [chunk async for chunk in logs] == []


@pytest.mark.engine("kubernetes")
async def test_an_image_that_cannot_be_had(serving: Serving) -> None:
    spec = shell("true")
    spec.image = "jobengine.test/none:1"
    job = await serving.engine.create_job("job", spec)
    await serving.watched.until(
        lambda: any("can't be had" in each.message for each in serving.watched.statuses(job.uid)),
        "it waits",
    )
    assert await serving.output() == b""
    follower = asyncio.create_task(serving.output(follow=True))
    await asyncio.sleep(1)
    assert not follower.done()
    await serving.engine.cancel_job("job")
    assert await follower == b""


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.engine("kubernetes")
async def test_a_follower_over_rotations(serving: Serving) -> None:
    """One that keeps up misses nothing, though the log has only its end in the end."""
    script = f"i=0; while [ $i -lt 120000 ]; do echo $i {'x' * 200}; i=$((i+1)); "
    script += "[ $((i % 500)) = 0 ] && sleep 0.1; done; sleep 1"
    await serving.engine.create_job("job", shell(script))
    found = b""
    async with asyncio.timeout(150):
        async for chunk in serving.engine.read_logs("job", LogQuery(follow=True)):
            found += chunk.data
    assert [int(line.split()[0]) for line in found.splitlines()] == list(range(120_000))
    left = await serving.output()
    assert found.endswith(left)
    assert len(left) < len(found) / 2
