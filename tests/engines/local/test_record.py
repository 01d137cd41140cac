"""The files of a job's directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import InvalidToken
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent
from engines.local import record
from engines.local.log import STDERR, STDOUT, LogWriter
from engines.local.logs import AttemptLog, parse_cursor
from engines.local.record import JobFile, Plan
from engines.local.shim import REQUEST_BYTES, Request

INTENT = Intent("job", "uid", "request", "hash", 1.5, {"a": "b"}, 3, 2, 1, 9.5, None, 0.0)
PLAN = Plan(["a", "ü"], {"K": "v"}, "/tmp", ("u", 1, 2), 0, 0, 1000, None)


def test_a_job_file_keeps_all_three_parts() -> None:
    file = JobFile(record.encode_job(INTENT, PLAN, b"spec\n\0"))
    assert file.intent == INTENT
    assert file.plan == PLAN._replace(user=["u", 1, 2])  # type: ignore[arg-type]
    assert file.spec == b"spec\n\0"


def test_a_torn_job_file_is_refused_wherever_it_ends() -> None:
    whole = record.encode_job(INTENT, PLAN, b"spec")
    for length in range(len(whole)):
        with pytest.raises(ValueError):
            JobFile(whole[:length])


def test_an_attempt_is_read_at_every_stage(tmp_path: Path) -> None:
    path = tmp_path / "0.0"
    path.write_bytes(record.encode_start(12.5, 77))
    fd = os.open(path, os.O_RDWR)
    stages = [record.parse_attempt(4, 2, path.read_bytes())]
    record.write_command(fd, 78)
    stages.append(record.parse_attempt(4, 2, path.read_bytes()))
    end = End(facts.EXITED, 13.5, 3, 0, oom=False, message='"\\ü' * 500, lost_bytes=7)
    record.write_end(fd, end)
    os.close(fd)
    stages.append(record.parse_attempt(4, 2, path.read_bytes()))
    assert [(s.start_time, s.pid, s.command_pid) for s in stages] == [
        (12.5, 77, 0),
        (12.5, 77, 78),
        (12.5, 77, 78),
    ]
    assert [s.end for s in stages] == [None, None, end._replace(message=end.message[:300])]


def test_a_torn_start_reads_as_lost_and_a_torn_end_as_none() -> None:
    start = record.encode_start(12.5, 77)
    torn = record.parse_attempt(0, 0, b"\0" * len(start))
    assert torn.end is not None
    assert torn.end.reason == facts.LOST
    assert record.parse_attempt(0, 0, start[:400] + b"12345678 [1, 2" + start[414:]).end is None


def test_a_request_is_always_as_long() -> None:
    assert len(Request("n" * 63, "u" * 32, 2**31, 2**31, 1e9 / 3).encode()) == REQUEST_BYTES


@pytest.mark.parametrize(
    "cursor", ["x", "1", "1.", ".1", "1.-2", "1.2.3", "\uff11.\uff12", "1.2\n", "9" * 99]
)
def test_a_strange_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidToken):
        parse_cursor(cursor)


WRITES = st.lists(
    st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=3000)), max_size=30
)


@given(writes=WRITES, start=st.integers(0, 40_000), torn=st.binary(max_size=16))
def test_a_log_reads_back_from_any_position(
    tmp_path_factory: pytest.TempPathFactory,
    writes: list[tuple[int, bytes]],
    start: int,
    torn: bytes,
) -> None:
    directory = tmp_path_factory.mktemp("log")
    here = os.open(".", os.O_RDONLY)
    os.chdir(directory)
    try:
        log = LogWriter("0.0", 16_384)
        for stream, data in writes:
            log.write(stream, data)
        log.close()
        for segment in sorted(directory.glob("0.0.log.*"))[-1:]:
            segment.write_bytes(segment.read_bytes() + torn)
    finally:
        os.fchdir(here)
        os.close(here)
    whole = b"".join(data for _, data in writes)
    fd = os.open(directory, os.O_RDONLY)
    reader = AttemptLog(fd, "0.0", start)
    pieces = []
    while batch := reader.read():
        pieces += batch
    reader.close()
    os.close(fd)
    position = start
    for piece in pieces:
        position += piece.skipped + len(piece.data)
        assert position == piece.position
        assert whole[piece.position - len(piece.data) : piece.position] == piece.data
    assert position == max(len(whole), start)
    assert sum(file.stat().st_size for file in directory.iterdir()) <= 16_384 + len(torn)


def test_a_full_disk_costs_output_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = LogWriter("0.0", 1 << 20)
    log.write(STDOUT, b"before ")
    room = os.write
    # As a full disk does it: a part of the frame fits, then nothing more.
    monkeypatch.setattr(os, "write", lambda fd, data: room(fd, data[:5]))
    log.write(STDOUT, b"lost")
    assert log.lost_bytes == 4
    monkeypatch.setattr(os, "write", room)
    log.write(STDERR, b"after")
    log.close()
    fd = os.open(tmp_path, os.O_RDONLY)
    reader = AttemptLog(fd, "0.0")
    pieces = reader.read()
    reader.close()
    os.close(fd)
    assert [(p.data, p.skipped, p.position) for p in pieces] == [
        (b"before ", 0, 7),
        (b"after", 4, 16),
    ]


def test_the_launcher_needs_neither_grpc_nor_protobuf() -> None:
    code = "import sys, engines.local.launcher; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = {name.partition(".")[0] for name in result.stdout.split()}
    assert "engines" in modules
    assert not modules & {"grpc", "google", "jobengine", "asyncio"}
