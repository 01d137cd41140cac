"""From an inspection to the attempt that a container is."""

from typing import Any
from unittest.mock import ANY

import pytest

from engines.docker.container import Container, exit_of, read_container, read_time
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Stop
from tests.engines.docker.specs import LABELS, NEW_YEAR, an_intent

BEGAN = "2026-01-01T00:00:00Z"
FINISHED = "2026-01-01T00:00:05.5Z"
NEVER = "0001-01-01T00:00:00Z"
END = NEW_YEAR + 5.5

CANCEL = Stop(facts.CANCELLED, NEW_YEAR + 1, 1.0)
LATE_CANCEL = Stop(facts.CANCELLED, NEW_YEAR + 9, 1.0)


def inspection(status: str = "exited", **state: Any) -> dict[str, Any]:
    times = {"StartedAt": BEGAN, "FinishedAt": FINISHED}
    if status in {"created", "configured", "initialized"}:
        times = {"StartedAt": NEVER, "FinishedAt": NEVER}
    elif status in {"running", "paused"}:
        times["FinishedAt"] = NEVER
    return {
        "Id": "c1",
        "Name": "/" + LABELS.container(an_intent(), (2, 1)),
        "Created": BEGAN,
        "Config": {"Labels": LABELS.of_run(an_intent(), (2, 1))},
        "State": {"Status": status, "Error": "", "ExitCode": 0, "OOMKilled": False} | times | state,
    }


def container(status: str = "exited", **state: Any) -> Container:
    return read_container(inspection(status, **state), (2, 1))


TABLE = [
    ("success", {}, End(facts.EXITED, END, 0)),
    ("code", {"ExitCode": 7}, End(facts.EXITED, END, 7)),
    ("killed", {"ExitCode": 137}, End(facts.EXITED, END, None, 9)),
    (
        "out of memory",
        {"ExitCode": 137, "OOMKilled": True},
        End(facts.EXITED, END, None, 9, oom=True),
    ),
    ("terminated", {"ExitCode": 143}, End(facts.EXITED, END, None, 15)),
    ("terminated with a child killed", {"ExitCode": 143, "OOMKilled": True}, "no oom 15"),
    ("only a child out of memory", {"OOMKilled": True}, End(facts.EXITED, END, 0)),
    ("child, and failed", {"ExitCode": 7, "OOMKilled": True}, End(facts.EXITED, END, 7)),
    ("128 is no signal", {"ExitCode": 128}, End(facts.EXITED, END, 128)),
    ("the last signal", {"ExitCode": 192}, End(facts.EXITED, END, None, 64)),
    ("beyond it", {"ExitCode": 193}, End(facts.EXITED, END, 193)),
    ("the command itself", {"ExitCode": 127}, End(facts.EXITED, END, 127)),
    ("ended before it began", {"FinishedAt": "2025-12-31T23:59:59Z"}, "at its beginning"),
]


@pytest.mark.parametrize(
    ("state", "end"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_exits(state: dict[str, Any], end: End | str) -> None:
    found = container(**state)
    if end == "no oom 15":
        end = End(facts.EXITED, END, None, 15)
    elif end == "at its beginning":
        end = End(facts.EXITED, NEW_YEAR, 0)
    assert found.settled(None, None).end == end
    assert found.attempt.start_time == NEW_YEAR
    assert (found.started, found.witness_needed) == (True, False)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"Error": "exec: no such file", "ExitCode": 127}, "exec: no such file"),
        ({"Error": "permission denied", "ExitCode": 126}, "permission denied"),
        ({"Error": "", "ExitCode": 128}, "exit code 128"),
        ({"Error": "network not found", "ExitCode": 0}, "network not found"),
    ],
)
def test_what_could_not_be_started(state: dict[str, Any], message: str) -> None:
    found = container("created", **state)
    assert not found.started
    attempt = found.settled(None, None)
    assert attempt.end == End(facts.START_FAILED, NEW_YEAR, message=message)
    assert attempt.start_time == 0.0


@pytest.mark.parametrize("status", ["created", "configured", "initialized"])
def test_not_started_yet(status: str) -> None:
    found = container(status)
    assert (found.started, found.attempt.end, found.attempt.start_time) == (False, None, 0.0)


@pytest.mark.parametrize("status", ["running", "paused", "restarting", "removing", "stopping"])
def test_running(status: str) -> None:
    found = container(status)
    assert (found.started, found.settled(None, CANCEL).end) == (True, None)
    assert found.attempt.start_time == NEW_YEAR


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ({"ExitCode": 255}, End(facts.EXITED, END, 255)),
        ({"ExitCode": 0, "FinishedAt": NEVER}, End(facts.EXITED, NEW_YEAR, 0)),
        ({"ExitCode": 3, "FinishedAt": NEVER}, End(facts.EXITED, NEW_YEAR, 3)),
    ],
    ids=["255", "no time", "no time and a code"],
)
def test_ends_that_need_a_witness(state: dict[str, Any], end: End) -> None:
    found = container(**state)
    assert found.witness_needed
    assert found.settled(end.code, None).end == end
    lost = found.settled(None, None).end
    assert lost is not None
    assert (lost.reason, lost.code, lost.signal) == (facts.LOST, None, 0)
    assert "didn't see" in lost.message


@pytest.mark.parametrize("state", [{"ExitCode": 255}, {"ExitCode": 0, "FinishedAt": NEVER}])
def test_what_was_told_as_it_happened_counts(state: dict[str, Any]) -> None:
    """A daemon that is killed right after an exit has told of it, and doesn't know it any more."""
    assert container(**state).settled(0, None).end == End(facts.EXITED, ANY, 0)
    assert container(**state).settled(42, None).end == End(facts.EXITED, ANY, 42)


def test_what_was_told_was_stopped_after_the_decision() -> None:
    end = container(ExitCode=255).settled(143, CANCEL).end
    assert end == End(facts.STOPPED, END, None, 15)


def test_a_lost_end_stays_lost_when_the_job_is_stopped() -> None:
    end = container(ExitCode=255).settled(None, CANCEL).end
    assert end is not None
    assert end.reason == facts.LOST


@pytest.mark.parametrize(
    ("stop", "state", "reason"),
    [
        (CANCEL, {"ExitCode": 143}, facts.STOPPED),
        (CANCEL, {"ExitCode": 137}, facts.STOPPED),
        (CANCEL, {"ExitCode": 137, "OOMKilled": True}, facts.STOPPED),
        (CANCEL, {"ExitCode": 7}, facts.STOPPED),
        (CANCEL, {"ExitCode": 0}, facts.EXITED),
        (LATE_CANCEL, {"ExitCode": 7}, facts.EXITED),
        (LATE_CANCEL, {"ExitCode": 137}, facts.EXITED),
        (None, {"ExitCode": 7}, facts.EXITED),
    ],
)
def test_what_ends_after_the_stop_was_stopped(
    stop: Stop | None, state: dict[str, Any], reason: str
) -> None:
    end = container(**state).settled(None, stop).end
    assert end is not None
    assert (end.reason, end.time) == (reason, END)


def test_a_failed_start_stays_one_when_the_job_is_stopped() -> None:
    end = container("created", Error="no", ExitCode=127).settled(None, CANCEL).end
    assert end is not None
    assert end.reason == facts.START_FAILED


def test_which_attempt_it_is() -> None:
    found = container()
    assert (found.id, found.key) == ("c1", (2, 1))
    assert found.attempt[:2] == (2, 1)
    assert found.attempt.container == "c1"


@pytest.mark.parametrize(
    ("said", "signal"),
    [({}, "SIGTERM"), ({"StopSignal": ""}, "SIGTERM"), ({"StopSignal": "SIGINT"}, "SIGINT")],
)
def test_stop_signal(said: dict[str, str], signal: str) -> None:
    found = inspection("running")
    found["Config"] |= said
    read = read_container(found, (2, 1))
    assert read.attempt.stop_signal == signal


def test_podmans_shape() -> None:
    """Names without a slash, times with a zone, a pid file's worth of members more."""
    found = inspection(
        StartedAt="2026-01-01T01:00:00.000000001+01:00",
        FinishedAt="2026-01-01T01:00:05.5+01:00",
        ExitCode=143,
        OciVersion="1.0.2-dev",
        Healthcheck={"Status": ""},
    )
    found["Name"] = found["Name"].removeprefix("/")
    read = read_container(found, (2, 1))
    assert read.attempt.end == End(facts.EXITED, END, None, 15)
    assert read.attempt.start_time == pytest.approx(NEW_YEAR)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        (None, 0.0),
        ("", 0.0),
        (NEVER, 0.0),
        ("0001-01-01T00:00:00+00:00", 0.0),
        (BEGAN, NEW_YEAR),
        ("2026-01-01T00:00:00.5Z", NEW_YEAR + 0.5),
        ("2026-01-01T00:00:00.123456789Z", NEW_YEAR + 0.123456),
        ("2026-01-01T02:00:00.1+02:00", NEW_YEAR + 0.1),
        ("2025-12-31T19:00:00-05:00", NEW_YEAR),
    ],
)
def test_times(text: str | None, time: float) -> None:
    assert read_time(text) == pytest.approx(time, abs=1e-6)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (0, End(facts.EXITED, 1.0, 0)),
        (9, End(facts.EXITED, 1.0, 9)),
        (137, End(facts.EXITED, 1.0, None, 9)),
        (255, End(facts.EXITED, 1.0, 255)),
    ],
)
def test_exit_of(code: int, end: End) -> None:
    assert exit_of(code, 1.0) == end
