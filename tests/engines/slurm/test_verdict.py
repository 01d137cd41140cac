"""How attempts ended, by what their scripts wrote and what Slurm says."""

import pytest

from engines.lifecycle import facts
from engines.lifecycle.facts import End, Stop
from engines.slurm.queue import Ended
from engines.slurm.record import Attempt, Written
from engines.slurm.script import TAKEN, UNREACHABLE
from engines.slurm.verdict import asks_slurm, unbegun, verdict, written_end

ATTEMPT = Attempt(0, 0, 10.0, "5", 0, "n1")
STOP = Stop(facts.CANCELLED, 15.0, 1.0)


def wrote(
    code: int | None = None, *, signal: int = 0, time: float = 20.0, stopped: bool = False
) -> Written:
    return Written(End(facts.EXITED, time, code=code, signal=signal), stopped)


@pytest.mark.parametrize(
    ("said", "written", "stop", "reason", "code", "signal", "oom"),
    [
        # What the script wrote, where Slurm has nothing to add.
        (Ended("COMPLETED"), wrote(0), None, facts.EXITED, 0, 0, False),
        (Ended("FAILED"), wrote(3), None, facts.EXITED, 3, 0, False),
        (Ended("FAILED"), wrote(signal=9), None, facts.EXITED, None, 9, False),
        # A success is one, whatever became of what it had started.
        (Ended("OUT_OF_MEMORY"), wrote(0), None, facts.EXITED, 0, 0, False),
        (Ended("TIMEOUT"), wrote(0), None, facts.EXITED, 0, 0, False),
        # What Slurm did to it.
        (Ended("OUT_OF_MEMORY"), wrote(1), None, facts.EXITED, None, 9, True),
        (Ended("OUT_OF_MEMORY"), None, None, facts.EXITED, None, 9, True),
        (Ended("TIMEOUT"), wrote(signal=15), None, facts.TIMED_OUT, None, 0, False),
        (Ended("DEADLINE"), None, None, facts.TIMED_OUT, None, 0, False),
        (Ended("NODE_FAIL"), None, None, facts.NODE_LOST, None, 0, False),
        (Ended("BOOT_FAIL"), None, None, facts.NODE_LOST, None, 0, False),
        (Ended("PREEMPTED"), wrote(signal=15), None, facts.EVICTED, None, 0, False),
        (Ended("PREEMPTED"), None, None, facts.EVICTED, None, 0, False),
        (Ended("CANCELLED"), wrote(signal=15), None, facts.WITHDRAWN, None, 0, False),
        (Ended("CANCELLED"), None, None, facts.WITHDRAWN, None, 0, False),
        (Ended("FAILED", 0, restarts=1), None, None, facts.EVICTED, None, 0, False),
        (Ended("FAILED", TAKEN), None, None, facts.EVICTED, None, 0, False),
        # What the script couldn't write, but Slurm saw.
        (Ended("COMPLETED", 0), None, None, facts.EXITED, 0, 0, False),
        (Ended("FAILED", 3), None, None, facts.EXITED, 3, 0, False),
        (Ended("FAILED", 137), None, None, facts.EXITED, None, 9, False),
        (Ended("FAILED", 0, 11), None, None, facts.EXITED, None, 11, False),
        (Ended("REVOKED"), None, None, facts.LOST, None, 0, False),
        (Ended("FAILED", None), None, None, facts.LOST, None, 0, False),
        # What was stopped.
        (Ended("CANCELLED"), wrote(signal=15), STOP, facts.STOPPED, None, 0, False),
        (Ended("CANCELLED"), None, STOP, facts.STOPPED, None, 0, False),
        (Ended("FAILED"), wrote(0), STOP, facts.EXITED, 0, 0, False),
        (Ended("NODE_FAIL"), None, STOP, facts.NODE_LOST, None, 0, False),
    ],
)
def test_verdicts(
    said: Ended,
    written: Written | None,
    stop: Stop | None,
    reason: str,
    code: int | None,
    signal: int,
    oom: bool,
) -> None:
    end = verdict(ATTEMPT, said, written, stop)
    assert (end.reason, end.code, end.signal, end.oom) == (reason, code, signal, oom)
    assert end.time >= ATTEMPT.start_time


def test_slurm_is_asked_of_failures_alone() -> None:
    assert asks_slurm(wrote(1), None)
    assert asks_slurm(wrote(signal=15), None)
    assert not asks_slurm(wrote(0), None)
    assert not asks_slurm(wrote(1), STOP)
    assert not asks_slurm(Written(End(facts.START_FAILED, 20.0), False), None)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (wrote(0), facts.EXITED),
        (wrote(1), facts.STOPPED),
        (wrote(1, time=14.0), facts.EXITED),
        (wrote(1, time=14.0, stopped=True), facts.STOPPED),
        (wrote(signal=15, time=14.0), facts.STOPPED),  # a node's clock may be behind
        (wrote(signal=11, time=14.0), facts.EXITED),
    ],
)
def test_what_is_stopped(written: Written, reason: str) -> None:
    assert written_end(written, STOP).reason == reason


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        (Ended("CANCELLED", by="1000"), facts.WITHDRAWN, "by user 1000"),
        (Ended("PREEMPTED"), facts.EVICTED, "preempted"),
        (Ended("FAILED", UNREACHABLE, node="n1"), facts.START_FAILED, "is it shared"),
        (Ended("NODE_FAIL", node="n1"), facts.START_FAILED, "n1 failed before it began"),
        (Ended("FAILED", 1, reason="JobLaunchFailure"), facts.START_FAILED, "JobLaunchFailure"),
        (Ended("TIMEOUT"), facts.START_FAILED, "time limit"),
    ],
)
def test_what_never_began(said: Ended, reason: str, words: str) -> None:
    end = unbegun(2, said, 20.0)
    assert end.reason == reason
    assert words in end.message
