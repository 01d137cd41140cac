"""The fake engine's knobs: annotations by which a job says how it is to behave."""

import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict, cast

from engines.base import Reason
from engines.errors import FieldViolation

PREFIX = "fake.jobengine.dev/"

METHODS = frozenset(
    {"create_job", "delete_job", "read_job", "read_status", "cancel_job", "read_logs"}
)
"""What `hang` can name."""

REASONS = {
    reason.name: reason
    for reason in (
        Reason.OOM_KILLED,
        Reason.IMAGE_PULL_FAILED,
        Reason.START_FAILED,
        Reason.EVICTED,
        Reason.NODE_LOST,
        Reason.ENGINE_ERROR,
        Reason.UNKNOWN,
    )
}
"""What `reason` can name."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """How a job behaves. Each field is an annotation `fake.jobengine.dev/<field-name>`.

    Spans are in seconds. `output` is the annotation's lines; those that begin with '!' are
    written to stderr, without the '!', and all are spread evenly over `run_for`.
    `$JOB_COMPLETION_INDEX` in them stands for the instance's number.
    """

    pending_for: float = 0.0
    """Before the first instance starts."""

    run_for: float = 0.0
    """Each run of an instance."""

    exit_code: int = 0
    """How each run exits."""

    signal: int = 0
    """The signal that ends each run, in place of an exit code."""

    reason: Reason = Reason.NONE
    """Why the job failed, in place of NON_ZERO_EXIT or SIGNALLED: as other engines would tell."""

    failures: int | None = None
    """Only so many runs of the job end with `exit_code` or `signal`, later ones exit 0."""

    output: tuple[str, ...] = ()
    """What each run writes."""

    start_error: str = ""
    """`create_job` fails with this text."""

    slow: float = 0.0
    """Every method takes this long for this job."""

    hang: frozenset[str] = frozenset()
    """These methods never return for this job (names with commas between)."""

    stop_for: float = 0.0
    """How long instances take to stop; a shorter grace period cuts it short."""

    vanish: float | None = None
    """After so long an unfinished job disappears, as if somebody had removed it."""

    def exit_of(self, failed: int) -> tuple[int | None, int]:
        """The exit code and signal of the job's next run, after that many failed ones."""
        if self.failures is not None and failed >= self.failures:
            return 0, 0
        return (None, self.signal) if self.signal else (self.exit_code, 0)


def read_knobs(annotations: Mapping[str, str]) -> Knobs:
    """The knobs in well-formed annotations; malformed ones are left out."""
    return _parse(annotations)[0]


def knob_violations(annotations: Mapping[str, str]) -> list[FieldViolation]:
    """What is wrong with the knobs in these annotations."""
    return _parse(annotations)[1]


def _parse(annotations: Mapping[str, str]) -> tuple[Knobs, list[FieldViolation]]:
    values: dict[str, object] = {}
    violations: list[FieldViolation] = []
    for key in sorted(key for key in annotations if key.startswith(PREFIX)):
        knob = key.removeprefix(PREFIX)
        parse = _PARSERS.get(knob, _no_such_knob)
        try:
            values[knob.replace("-", "_")] = parse(annotations[key])
        except ValueError as error:
            violations.append(FieldViolation(f"spec.annotations[{key}]", str(error)))
    return Knobs(**cast("_KnobValues", values)), violations


def _no_such_knob(_: str) -> object:
    raise ValueError(f"no such knob: choose one of {', '.join(_PARSERS)}")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e9:
        raise ValueError(f"{text!r} must be a number of seconds, 0 or more")
    return seconds


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"{text!r} must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _methods(text: str) -> frozenset[str]:
    methods = frozenset(name.strip() for name in text.split(","))
    if unknown := methods - METHODS:
        raise ValueError(
            f"{', '.join(sorted(unknown))!r} can't hang: choose from {', '.join(sorted(METHODS))}"
        )
    return methods


def _reason(text: str) -> Reason:
    if text not in REASONS:
        raise ValueError(f"{text!r} is no reason to fail: choose from {', '.join(REASONS)}")
    return REASONS[text]


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines())


_PARSERS: Mapping[str, Callable[[str], object]] = {
    "pending-for": _seconds,
    "run-for": _seconds,
    "exit-code": _whole(0, 255),
    "signal": _whole(1, signal.NSIG - 1),
    "reason": _reason,
    "failures": _whole(0, 1_000_000),
    "output": _lines,
    "start-error": str,
    "slow": _seconds,
    "hang": _methods,
    "stop-for": _seconds,
    "vanish": _seconds,
}


class _KnobValues(TypedDict, total=False):
    """The arguments of Knobs, as `_PARSERS` makes them."""

    pending_for: float
    run_for: float
    exit_code: int
    signal: int
    reason: Reason
    failures: int
    output: tuple[str, ...]
    start_error: str
    slow: float
    hang: frozenset[str]
    stop_for: float
    vanish: float
