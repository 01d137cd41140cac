"""The server killed at random moments, over and over: nothing is lost, nothing runs twice.

Each round prints its seed. JOBENGINE_FAULT_SEED sets that of the first; the others count on.
"""

import os
import random
from pathlib import Path

import pytest

from tests.faults.rounds import KillRound

SEED = int(os.environ.get("JOBENGINE_FAULT_SEED") or random.SystemRandom().randrange(1 << 31))


@pytest.mark.parametrize("number", range(12))
async def test_round(tmp_path: Path, number: int) -> None:
    await play(tmp_path, SEED + number)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", range(100))
async def test_more_rounds(tmp_path: Path, number: int) -> None:
    await play(tmp_path, SEED + 1000 + number)


async def play(directory: Path, seed: int) -> None:
    print(f"JOBENGINE_FAULT_SEED={seed} plays this round as the first one")
    kills = await KillRound(directory, seed).run()
    print("killed at:", ", ".join(kills))
