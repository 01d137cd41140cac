"""A container as the daemon describes it, and what that says about the attempt that it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from engines.lifecycle import facts
from engines.lifecycle.facts import End, Key, Stop

UNKNOWN_CODE: Final = 255
"""What a daemon says where it doesn't know: believed only of what it has started itself."""

_SIGNAL_BASE: Final = 128
_SIGKILL: Final = 9
_LAST_SIGNAL: Final = 64
_ENDED: Final = frozenset({"exited", "dead"})
_CREATED: Final = frozenset({"created", "initialized", "configured"})


class Attempt(NamedTuple):
    """One run of one instance, as its container has it. Times in seconds since the epoch."""

    instance: int
    attempt: int
    start_time: float
    container: str  # its id
    stop_signal: str = "SIGTERM"
    end: End | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A container of ours, by its inspection."""

    id: str
    key: Key
    started: bool
    attempt: Attempt
    witness_needed: bool = False
    """Whether its exit code is one that the daemon also tells where it doesn't know any."""

    def settled(self, told: int | None, stop: Stop | None) -> Attempt:
        """The attempt that it is, where nothing but what is known here counts.

        `told` is the exit code that a daemon told as it happened. It may have been killed before it
        kept that.
        """
        end = self.attempt.end
        if end is None:
            return self.attempt
        if self.witness_needed and told is not None:
            end = exit_of(told, end.time)
        elif self.witness_needed:
            message = (
                "the Docker daemon didn't see how its container ended "
                "(it or the machine went down meanwhile)"
            )
            end = End(facts.LOST, end.time, message=message)
        if stop is not None and end.reason == facts.EXITED and end.code != 0:
            # What ends after the decision to stop it was stopped.
            end = end._replace(reason=facts.STOPPED) if end.time > stop.time else end
        return self.attempt._replace(end=end)


def read_container(found: Mapping[str, Any], key: Key) -> Container:
    """What the inspection of an attempt's container says.

    Rules, seen on dockerd 20.10 unless a source is named:

    - A command that can't be started leaves the container `created`, with an error or a code of
      126 to 128.
    - A code above 128 is a signal's. Whether the command itself chose it isn't told.
    - OOMKilled counts where the container died of it: it is true as well where only a child of
      the command was killed, and the command exited with 0.
    - 255 is what a daemon says that was killed as its container ended, or that came up after its
      containers had gone with the machine;
      earlier ones say 0 with no time of the end (moby#45800). Either is believed only if the
      daemon told of the end while it happened.
    """
    state: Mapping[str, Any] = found["State"]
    began = read_time(state.get("StartedAt"))
    attempt = Attempt(*key, began, found["Id"], str(found["Config"].get("StopSignal") or "SIGTERM"))
    container = Container(
        id=found["Id"],
        key=key,
        started=state["Status"] not in _CREATED,
        attempt=attempt,
    )
    if state["Status"] in _CREATED:
        if state.get("Error") or state.get("ExitCode"):
            created = read_time(found.get("Created"))
            message = str(state.get("Error") or f"exit code {state['ExitCode']}")
            end = End(facts.START_FAILED, created, message=message)
            return replace(container, attempt=attempt._replace(start_time=0.0, end=end))
        return container
    if state["Status"] not in _ENDED:
        return container
    code = int(state.get("ExitCode") or 0)
    finished = read_time(state.get("FinishedAt"))
    return replace(
        container,
        witness_needed=code == UNKNOWN_CODE or not finished,
        # Its end may be noted a moment before its start where it was over at once.
        attempt=attempt._replace(
            end=exit_of(code, max(finished, began), oom=bool(state.get("OOMKilled")))
        ),
    )


def exit_of(code: int, time: float, *, oom: bool = False) -> End:
    """The end of a container that exited with the code."""
    signal = code - _SIGNAL_BASE
    if 0 < signal <= _LAST_SIGNAL:
        killed = oom and signal == _SIGKILL
        return End(facts.EXITED, time, None, signal, oom=killed)
    return End(facts.EXITED, time, code)


def read_time(text: str | None) -> float:
    """Seconds since the epoch; 0 where Docker has none, which it writes as the year 1."""
    if not text or text.startswith("0001-"):
        return 0.0
    return datetime.fromisoformat(text).timestamp()
