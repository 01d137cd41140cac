"""How long the delays between attempts are, and when they end."""

import pytest

from jobengine.retry import Backoff, RetryPolicy


def test_delays_grow_to_a_limit_and_are_jittered() -> None:
    backoff = Backoff(1_000)
    delays = [backoff.next_delay() or 0.0 for _ in range(40)]
    assert all(0.05 * 2**n <= delay <= 0.1 * 2**n for n, delay in enumerate(delays[:6]))
    assert all(5 <= delay <= 10 for delay in delays[7:])
    assert len(set(delays)) == len(delays)


def test_server_may_ask_for_a_longer_delay() -> None:
    assert Backoff(100).next_delay(3.0) == 3.0


def test_delay_beyond_the_budget_means_giving_up() -> None:
    assert Backoff(2).next_delay(3.0) is None


def test_success_begins_anew() -> None:
    backoff = Backoff(0)
    assert backoff.next_delay() is None
    backoff.succeeded(100)
    assert backoff.next_delay() is not None


@pytest.mark.parametrize(("heartbeat", "silence"), [(0.1, 3), (10, 21), (1_000, 601)])
def test_silence_is_measured_by_what_the_server_makes_of_the_interval(
    heartbeat: float, silence: float
) -> None:
    assert RetryPolicy(heartbeat_seconds=heartbeat).silence_seconds == silence
