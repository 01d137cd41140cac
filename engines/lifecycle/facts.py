"""What is known of a job: what was asked for, what ran of it, and what was decided.

The local engine's shims share this module with the server, so it imports no protobuf.
"""

from typing import Final, NamedTuple, Protocol

# How an attempt ended.
EXITED: Final = "exited"
TIMED_OUT: Final = "timed-out"
STOPPED: Final = "stopped"
START_FAILED: Final = "start-failed"
NEVER_RAN: Final = "never-ran"
LOST: Final = "lost"
EVICTED: Final = "evicted"  # the orchestrator took its place away
NODE_LOST: Final = "node-lost"
WITHDRAWN: Final = "withdrawn"  # cancelled in the orchestrator, behind the service's back

# Why a job is stopped.
CANCELLED: Final = "cancelled"
DELETED: Final = "deleted"
START_TIMEOUT: Final = "start-timeout"
DEADLINE: Final = "deadline"
SETTLED: Final = "settled"  # one of its instances has decided the outcome already
PULL_FAILED: Final = "pull-failed"

Key = tuple[int, int]
"""Instance and attempt."""


class Intent(NamedTuple):
    """What has to be known to schedule a job. Times in seconds."""

    name: str
    uid: str
    request_id: str
    spec_hash: str
    create_time: float
    labels: dict[str, str]
    completions: int
    parallelism: int
    max_retries: int
    timeout: float | None
    start_timeout: float | None
    ttl: float | None


class Stop(NamedTuple):
    """The decision that a job has to end. `message` is for people, where there is more to say."""

    reason: str
    time: float
    grace: float
    message: str = ""


class End(NamedTuple):
    """How an attempt ended."""

    reason: str
    time: float
    code: int | None = None
    signal: int = 0
    oom: bool = False
    message: str = ""
    lost_bytes: int = 0


class Attempt(Protocol):
    """One run of one instance; engines add what they need to look after it.

    `start_time` is 0 where it never started. The end is None while it runs.
    """

    @property
    def instance(self) -> int:
        """Which instance, from 0."""
        ...

    @property
    def attempt(self) -> int:
        """Which run of it, from 0."""
        ...

    @property
    def start_time(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def end(self) -> End | None:
        """How it ended."""
        ...


def key_of(attempt: Attempt) -> Key:
    """By what an attempt is told apart from others of its job."""
    return attempt.instance, attempt.attempt
