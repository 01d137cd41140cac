"""What an engine raises; the server turns each into one gRPC code in one table."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field of a request: its path (`spec.args[2]`) and what to do about it."""

    field: str
    description: str


class EngineError(Exception):
    """Base of all errors that an engine raises on purpose."""


class JobNotFound(EngineError):
    """There is no job of that name, or it isn't one that this engine made."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no job {name!r}")
        self.name = name


class JobAlreadyExists(EngineError):
    """The name is taken by another job. The caller compares and decides what that means."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a job {name!r} already, of another request: "
            "choose another name, or delete it first"
        )
        self.name = name


class UidMismatch(EngineError):
    """The job of that name isn't the one that the caller meant."""

    def __init__(self, name: str, expected: str, actual: str) -> None:
        super().__init__(
            f"job {name!r} has the uid {actual}, not {expected}: the job that you mean is gone"
        )
        self.name = name


class InvalidSpec(EngineError):
    """The engine can't do what these fields of the spec ask for; nothing was started."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)


class InvalidToken(EngineError):
    """A cursor or page token that this service didn't make; `field` names where it stood."""

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field}: not made by this service; leave it out to begin at the beginning"
        )
        self.field = field


class CapabilityMissing(EngineError):
    """The engine can't do this at all."""

    def __init__(self, engine: str, capability: str) -> None:
        super().__init__(f"the engine {engine!r} has no {capability}")
        self.capability = capability


class EngineUnavailable(EngineError):
    """The engine can't be reached at the moment; trying again later may help."""


class EngineTimeout(EngineError):
    """The engine didn't answer in time; what was asked for may still happen."""


class EngineFailed(EngineError):
    """The engine failed in a way that it should not; the message is its own."""


class LimitReached(EngineError):
    """A limit of the engine is reached; `limit` names it."""

    def __init__(self, limit: str, message: str) -> None:
        super().__init__(message)
        self.limit = limit
