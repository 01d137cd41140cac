"""From what the other server, or the way to it, failed with to the errors of the contract.

Its words are kept as they are, so that they read the same after any number of servers.
"""

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Final, TypeVar

from engines.errors import (
    CapabilityMissing,
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    FieldViolation,
    InvalidSpec,
    InvalidToken,
    JobAlreadyExists,
    JobNotFound,
    LimitReached,
    UidMismatch,
)
from engines.remote.owners import OWNER_LABEL
from jobengine import errors
from jobengine.errors import JobEngineError

_E = TypeVar("_E", bound=EngineError)

_BY_REASON: Final[dict[str, Callable[[JobEngineError, str], EngineError]]] = {
    "INVALID_FIELD": lambda error, _: _saying(error, InvalidSpec(_violations(error))),
    "UNSUPPORTED_FIELD": lambda error, _: _saying(error, InvalidSpec(_violations(error))),
    "INVALID_TOKEN": lambda error, _: _saying(
        error, InvalidToken(next((each.field for each in error.violations), "cursor"))
    ),
    "JOB_NOT_FOUND": lambda _, name: JobNotFound(name),
    "JOB_ALREADY_EXISTS": lambda _, name: JobAlreadyExists(name),
    "UID_MISMATCH": lambda error, name: _saying(error, UidMismatch(name, "", "")),
    "UNSUPPORTED_CAPABILITY": lambda error, _: _saying(
        error, CapabilityMissing("", error.metadata.get("capability", ""))
    ),
    "LIMIT_REACHED": lambda error, _: LimitReached(error.metadata.get("limit", ""), str(error)),
}
"""Errors with more than a message. By reason and the job's name."""


@contextlib.contextmanager
def told_by(address: str, name: str = "") -> Generator[None]:
    """Raise errors of the contract in place of the client's. `name`: the job that it is about."""
    try:
        yield
    except JobEngineError as error:
        raise engine_error(error, address, name) from error
    except TimeoutError:
        raise  # an OSError, too, but a deadline's
    except OSError as error:
        raise EngineUnavailable(f"a file of the connection to {address}: {error}") from error


def engine_error(error: JobEngineError, address: str, name: str = "") -> EngineError:
    """The error of the contract that this one of the server at `address` means."""
    if isinstance(error, errors.Unauthenticated | errors.PermissionDenied):
        return _refused(error, address)
    if (made := _BY_REASON.get(error.reason)) is not None:
        return made(error, name)
    if isinstance(error, errors.Unavailable | errors.ClientClosed):
        return EngineUnavailable(str(error))
    if isinstance(error, errors.DeadlineExceeded):
        return EngineTimeout(str(error))
    if not error.reason:
        # No server of ours said this: it may be another service, or something in between.
        return EngineFailed(f"{address} answers {error.code.name}: {error}")
    return EngineFailed(str(error))


def _refused(error: JobEngineError, address: str) -> EngineError:
    """For who this server is there, which its own callers can do nothing about."""
    if isinstance(error, errors.Unauthenticated):
        return EngineFailed(
            f"the server at {address} doesn't let this one in: {error}; give a credential that it "
            "takes by --remote-token-file, or by --remote-cert and --remote-key"
        )
    fields = _violations(error)
    if any(OWNER_LABEL in violation.field for violation in fields):
        return EngineFailed(
            f"the server at {address} doesn't let this one say whose its jobs are: in its policy, "
            f'give the subject of this server\'s credential allow.keys = ["*.{OWNER_LABEL}"]'
        )
    if fields:
        return InvalidSpec(fields)
    return EngineFailed(
        f"the server at {address} doesn't let this one do that: {error}; its policy says what the "
        "subject of this server's credential may do"
    )


def _violations(error: JobEngineError) -> Sequence[FieldViolation]:
    return [FieldViolation(each.field, each.description) for each in error.violations]


def _saying(error: JobEngineError, made: _E) -> _E:
    """The error with the other server's words: it knows what it compared."""
    made.args = (str(error),)
    return made
