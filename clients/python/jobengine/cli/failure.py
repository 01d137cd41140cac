"""What the command line says and returns when a call failed."""

from typing import TYPE_CHECKING

from grpc import StatusCode

from jobengine import errors
from jobengine._settings import find_address
from jobengine.errors import JobEngineError

if TYPE_CHECKING:
    from jobengine.cli.session import Session

NOT_FOUND = 1
USAGE = 2
TIMED_OUT = 124
FAILED = 125
NOT_STARTED = 127
CANCELLED = 130
SIGNAL_BASE = 128

_START_ONE = (
    "Start one with `jobengine serve`, or say where it is with --address or JOBENGINE_ADDRESS."
)
_WANTS_TLS = (
    "If it wants TLS: say --tls, and with --ca or JOBENGINE_CA whose certificates to trust."
)
_NOT_TRUSTED = "Its certificate isn't trusted: say with --ca or JOBENGINE_CA whose are."
_WANTS_CERTIFICATE = "If it asks for a client's certificate: see --cert and --key."
_ANOTHERS = "Its certificate is for another name: use that in --address, or say --server-name."
_NO_GOOD = "A file of --ca, --cert or --key isn't PEM, or the key is of another certificate."

# What most often is behind what gRPC says; some of its versions say it in other words.
_HINTS_IN_PLAINTEXT = {"Socket closed": _WANTS_TLS, "Connection reset": _WANTS_TLS}
_HINTS_BY_TLS = {
    "WRONG_VERSION_NUMBER": "It serves without TLS, it seems: say --no-tls.",
    "CERTIFICATE_VERIFY_FAILED": _NOT_TRUSTED,
    "BAD_SIGNATURE": _NOT_TRUSTED,  # by an authority of the same name
    "Hostname Verification": _ANOTHERS,
    "not in peer certificate": _ANOTHERS,
    "security handshaker": _NO_GOOD,
    "empty address list": _NO_GOOD,
    "Socket closed": _WANTS_CERTIFICATE,
    "Connection reset": _WANTS_CERTIFICATE,
}


def exit_code(error: JobEngineError) -> int:
    """What a command returns that failed like this."""
    if isinstance(error, errors.InvalidRequest):
        return USAGE
    return NOT_FOUND if isinstance(error, errors.JobNotFound) else FAILED


def explain(error: JobEngineError, session: "Session") -> str:
    """Say what is wrong, which field, and what to do."""
    if error.violations:
        lines = [f"  {v.field}: {v.description}" for v in error.violations]
        denied = isinstance(error, errors.PermissionDenied)
        head = "you may not ask for this" if denied else "the request is wrong"
        return "\n".join([f"jobengine: {head}", *lines])
    address = find_address(session.address)
    if isinstance(error, errors.Unavailable) and not error.reason:
        hints = _HINTS_BY_TLS if session.encrypted else _HINTS_IN_PLAINTEXT
        hint = next((hint for sign, hint in hints.items() if sign in str(error)), _START_ONE)
        return f"jobengine: no server answers at {address} ({error})\n  {hint}"
    if error.code is StatusCode.DEADLINE_EXCEEDED and not error.reason:
        return f"jobengine: no answer in time from {address}; see --timeout"
    if isinstance(error, errors.JobNotFound):
        return f"jobengine: {error}\n  `jobengine ls` lists the jobs."
    if isinstance(error, errors.Unauthenticated):
        return f"jobengine: {error}\n  See --token-file, JOBENGINE_TOKEN, --cert and --key."
    return f"jobengine: {error}"
