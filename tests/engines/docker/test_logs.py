"""Cursors, positions and times of logs; what jobs write is read in test_output."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engines.base import LogStream
from engines.docker.api import Frame
from engines.docker.logs import OVERLAP_SECONDS, Entry, Mark, Position, _nanoseconds, _parse
from engines.errors import InvalidToken
from tests.engines.docker.specs import NEW_YEAR, UID

NANO = 1_000_000_000
START = int(NEW_YEAR) * NANO

NUMBERS = st.integers(0, 10**20 - 1)
MARKS = st.builds(Mark, NUMBERS, NUMBERS)
POSITIONS = st.builds(Position, NUMBERS, MARKS, MARKS)
STREAMS = st.sampled_from([LogStream.STDOUT, LogStream.STDERR])


@given(POSITIONS)
@example(Position())
def test_cursors_round_trip(position: Position) -> None:
    cursor = position.cursor(UID)
    assert Position.parse(cursor, UID) == position
    assert len(cursor) < 1024


@given(POSITIONS, st.text("0123456789abcdef", min_size=32, max_size=32))
def test_cursors_of_other_jobs(position: Position, uid: str) -> None:
    if uid[:12] != UID[:12]:
        with pytest.raises(InvalidToken):
            Position.parse(position.cursor(uid), UID)


@given(st.text(max_size=60))
@example("")
@example("d")
@example(Position().cursor(UID) + "\n")
@example(" " + Position().cursor(UID))
@example(Position().cursor(UID)[1:])
@example(Position().cursor(UID).replace("0.0.0.0.0", "0.0.0.0"))
@example(Position().cursor(UID).replace("0.0.0.0.0", "0.0.0.0.0.0"))
@example(Position().cursor(UID).replace("0.0.0.0.0", "-1.0.0.0.0"))
@example(Position().cursor(UID).replace("0.0.0.0.0", "٣.0.0.0.0"))
@example(Position().cursor(UID).replace("0.0.0.0.0", f"{10**20}.0.0.0.0"))
@example(Position().cursor(UID) + "3456")
@example("l0.0.0.0.0." + UID[:12])
def test_garbage_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        Position.parse(text, UID)
    assert caught.value.field == "cursor"


@given(POSITIONS, st.lists(st.tuples(STREAMS, st.integers(0, 3)), max_size=20))
def test_entries_are_counted_for_each_time(
    position: Position, entries: list[tuple[LogStream, int]]
) -> None:
    """Each entry's place is after the one before, and names it alone."""
    times = {LogStream.STDOUT: position.out.time, LogStream.STDERR: position.err.time}
    for stream, step in entries:
        times[stream] += step
        before, position = position, position.after(stream, times[stream])
        moved, kept = (position.err, position.out), (before.err, before.out)
        if stream is LogStream.STDOUT:
            moved, kept = moved[::-1], kept[::-1]
        assert moved[0] > kept[0]
        assert moved[0].time == times[stream]
        assert moved[1] == kept[1]
        assert position.attempt == before.attempt


def test_after() -> None:
    position = Position(3).after(LogStream.STDOUT, 5).after(LogStream.STDOUT, 5)
    assert position == Position(3, Mark(5, 2), Mark())
    position = position.after(LogStream.STDERR, 5).after(LogStream.STDOUT, 6)
    assert position == Position(3, Mark(6, 1), Mark(5, 1))


@pytest.mark.parametrize(
    ("out", "err", "since"),
    [
        (0, 0, 0),
        (NANO, 0, 0),
        (START, 0, START // NANO - OVERLAP_SECONDS),
        (0, START + NANO - 1, START // NANO - OVERLAP_SECONDS),
        (START, START + NANO, START // NANO + 1 - OVERLAP_SECONDS),
    ],
)
def test_since(out: int, err: int, since: int) -> None:
    assert Position(0, Mark(out, 1), Mark(err, 1)).since == since


@pytest.mark.parametrize(
    ("stamp", "nanoseconds"),
    [
        ("2026-01-01T00:00:00.123456789Z", START + 123456789),
        ("2026-01-01T00:00:00.100000000Z", START + 100000000),
        ("2026-01-01T00:00:00.000000001Z", START + 1),
        ("2026-01-01T00:00:00.1Z", START + 100000000),
        ("2026-01-01T00:00:00Z", START),
        # Podman's
        ("2026-01-01T00:00:00.123456789+00:00", START + 123456789),
        ("2026-01-01T01:00:00.123456789+01:00", START + 123456789),
        ("2025-12-31T19:30:00.5-04:30", START + 500000000),
        ("2026-01-01T00:00:00+00:00", START),
    ],
)
def test_times_of_entries(stamp: str, nanoseconds: int) -> None:
    assert _nanoseconds(stamp) == nanoseconds


@given(st.binary(max_size=50))
@example(b"")
@example(b" two blanks ")
@example(b"\xff\x00\r\n")
def test_entries_are_what_was_written(data: bytes) -> None:
    frame = Frame(2, b"2026-01-01T00:00:00.000000001Z " + data)
    assert _parse(frame) == Entry(2, START + 1, data)
