"""Waiting for what another process does."""

import time
from collections.abc import Callable

DEADLINE_SECONDS = 40.0
POLL_SECONDS = 0.05


def wait_until(
    condition: Callable[[], object],
    what: str,
    otherwise: Callable[[], object] = lambda: "",
    *,
    seconds: float = DEADLINE_SECONDS,
) -> None:
    """Wait until something holds; fail with what there is instead."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{otherwise()}"
        time.sleep(POLL_SECONDS)
