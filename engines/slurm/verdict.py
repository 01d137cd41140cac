"""How an attempt ended: what its script wrote, what Slurm says, and what follows from both."""

from typing import Final

from engines.lifecycle import facts
from engines.lifecycle.facts import End, Stop
from engines.slurm.queue import Ended
from engines.slurm.record import Attempt, Written, exit_of
from engines.slurm.script import TAKEN, UNREACHABLE

_TIMEOUTS: Final = frozenset({"TIMEOUT", "DEADLINE"})
_NODES: Final = frozenset({"NODE_FAIL", "BOOT_FAIL"})
_SIGKILL: Final = 9
_SIGTERM: Final = 15

TAKEN_AWAY_BY: Final = (_SIGKILL, _SIGTERM)
"""The signals by which Slurm ends what it takes away."""


def asks_slurm(written: Written, stop: Stop | None) -> bool:
    """Whether an end that a script wrote may be of Slurm's making, which Slurm has to say."""
    end = written.end
    return stop is None and end.reason == facts.EXITED and end.code != 0


def written_end(written: Written, stop: Stop | None) -> End:
    """An end that a script wrote, where nothing else is known."""
    end = written.end
    if stop is None or end.reason != facts.EXITED or end.code == 0:
        return end
    killed = end.signal in TAKEN_AWAY_BY
    if written.stopped or killed or end.time >= stop.time:
        return end._replace(reason=facts.STOPPED)
    return end


def verdict(attempt: Attempt, said: Ended, written: Written | None, stop: Stop | None) -> End:
    """How an attempt ended that was begun, where Slurm says that it is over."""
    if written is not None and (written.end.code == 0 or written.end.reason != facts.EXITED):
        return written.end
    time = written.end.time if written else max(said.time or 0.0, attempt.start_time)
    end = _by_state(attempt, said, time)
    if end is None and written is not None:
        return written_end(written, stop)
    if end is None:
        end = _by_code(attempt, said, time)
    if stop is not None and end.code != 0 and end.reason != facts.NODE_LOST:
        return end._replace(reason=facts.STOPPED)
    return end


def _by_state(attempt: Attempt, said: Ended, time: float) -> End | None:
    """What the state alone says; None where that is no more than that it ended."""
    where = f" ({said.node})" if said.node else ""
    if said.state == "OUT_OF_MEMORY":
        message = f"instance {attempt.instance} used more memory than it may"
        return End(facts.EXITED, time, signal=_SIGKILL, oom=True, message=message)
    if said.restarts > attempt.restarts:
        return requeued(attempt, time)
    for states, reason, message in (
        (_TIMEOUTS, facts.TIMED_OUT, "its timeout ran out, or the time limit of its partition"),
        (_NODES, facts.NODE_LOST, f"the node{where} under instance {attempt.instance} failed"),
        (
            ("PREEMPTED",),
            facts.EVICTED,
            f"instance {attempt.instance} was preempted by Slurm for another job",
        ),
        (("CANCELLED",), facts.WITHDRAWN, withdrawn(attempt.instance, said)),
    ):
        if said.state in states:
            return End(reason, time, message=message)
    return None


def _by_code(attempt: Attempt, said: Ended, time: float) -> End:
    if said.state == "COMPLETED":
        return End(facts.EXITED, time, code=0)
    if said.state != "FAILED" or said.exit_code is None:
        message = f"instance {attempt.instance} is {said.state or 'unknown'} to Slurm"
        return End(facts.LOST, time, message=message)
    if said.exit_code == TAKEN:
        return requeued(attempt, time)
    if said.signal:
        return End(facts.EXITED, time, signal=said.signal)
    return exit_of(said.exit_code, time)


def requeued(attempt: Attempt, time: float) -> End:
    """Of an attempt whose place Slurm took away to give it another one later."""
    message = f"instance {attempt.instance} was requeued by Slurm, and nothing is run twice"
    return End(facts.EVICTED, time, message=message)


def withdrawn(instance: int, said: Ended) -> str:
    """Of an attempt that somebody else has cancelled."""
    by = f" by user {said.by}" if said.by else ""
    return f"instance {instance} was cancelled in Slurm{by}, not through this service"


def unbegun(instance: int, said: Ended, time: float) -> End:
    """How an attempt ended that never began, where Slurm says that it is over."""
    if said.state == "CANCELLED":
        return End(facts.WITHDRAWN, time, message=withdrawn(instance, said))
    if said.state == "PREEMPTED":
        message = f"instance {instance} was preempted by Slurm before it began"
        return End(facts.EVICTED, time, message=message)
    where = f"the node {said.node}" if said.node else "its node"
    if said.exit_code == UNREACHABLE:
        message = f"{where} can't read or write the engine's directory: is it shared?"
    elif said.state in _TIMEOUTS:
        message = "the time limit of Slurm ran out before it began"
    elif said.state in _NODES:
        message = f"{where} failed before it began"
    else:
        reason = f" ({said.reason})" if said.reason not in ("", "None") else ""
        message = f"Slurm says {said.state}{reason}; see the log of slurmd on {where}"
    return End(facts.START_FAILED, time, message=message)


def gone(attempt: Attempt, time: float) -> End:
    """Of an attempt that began, and that Slurm knows no more of."""
    message = (
        f"instance {attempt.instance} began and is gone from Slurm, and nobody saw how it ended"
    )
    return End(facts.LOST, time, message=message)


def vanished(instance: int, time: float) -> End:
    """Of an attempt that was submitted, never began, and that Slurm knows no more of."""
    message = f"instance {instance} is gone from Slurm before it began"
    return End(facts.LOST, time, message=message)
