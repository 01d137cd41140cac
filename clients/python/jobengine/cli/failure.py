"""What the command line says and returns when a call failed."""

from grpc import StatusCode

from jobengine import errors
from jobengine._settings import find_address
from jobengine.errors import JobEngineError

NOT_FOUND = 1
USAGE = 2
TIMED_OUT = 124
FAILED = 125
NOT_STARTED = 127
CANCELLED = 130
SIGNAL_BASE = 128


def exit_code(error: JobEngineError) -> int:
    """What a command returns that failed like this."""
    if isinstance(error, errors.InvalidRequest):
        return USAGE
    return NOT_FOUND if isinstance(error, errors.JobNotFound) else FAILED


def explain(error: JobEngineError, address: str | None) -> str:
    """Say what is wrong, which field, and what to do."""
    if error.violations:
        lines = [f"  {v.field}: {v.description}" for v in error.violations]
        return "\n".join(["jobengine: the request is wrong", *lines])
    if isinstance(error, errors.Unavailable) and not error.reason:
        return (
            f"jobengine: no server answers at {find_address(address)} ({error})\n"
            "  Start one with `jobengine serve`, or say where it is with --address or "
            "JOBENGINE_ADDRESS."
        )
    if error.code is StatusCode.DEADLINE_EXCEEDED and not error.reason:
        return f"jobengine: no answer in time from {find_address(address)}; see --timeout"
    if isinstance(error, errors.JobNotFound):
        return f"jobengine: {error}\n  `jobengine ls` lists the jobs."
    return f"jobengine: {error}"
