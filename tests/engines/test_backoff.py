"""The pauses between tries."""

from hypothesis import given
from hypothesis import strategies as st

from engines.backoff import Backoff


@given(st.integers(min_value=1, max_value=10**6))
def test_pauses_double_up_to_the_longest(failures: int) -> None:
    pause = Backoff(first=0.5, longest=30).after(failures)
    whole = min(0.5 * 2 ** min(failures - 1, 10), 30)
    assert whole / 2 <= pause <= whole


def test_pauses_differ() -> None:
    backoff = Backoff(first=1, longest=1)
    assert len({backoff.after(1) for _ in range(20)}) > 1
