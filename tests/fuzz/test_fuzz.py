"""A short run of the fuzzer; a long one: `make fuzz`."""

import os
import time

import pytest

from tests.fuzz.run import ENGINES, fuzz

SECONDS = 15.0


@pytest.mark.parametrize("engine", ENGINES)
def test_random_calls(engine: str) -> None:
    """Nothing that is sent makes the server fail, hang, grow, or answer as nobody documented."""
    seed = int(os.environ.get("JOBENGINE_FUZZ_SEED", "") or time.time_ns() % 1_000_000)
    report = fuzz(engine, SECONDS, seed)
    print(f"seed {seed}", report.text(), sep="\n")
    assert report.calls > 200
    for seen in ("CreateJob OK", "CreateJob INVALID_ARGUMENT", "ReadStatus OK", "ListJobs OK"):
        assert report.codes[seen], seen
