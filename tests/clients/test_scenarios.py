"""The cases of scenarios.json, by both Python clients."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.player import ByAsyncClient, ByClient, Caller, play
from tests.clients.stage import Stage, load_cases, wanted

pytestmark = pytest.mark.engine("local")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", [ByClient, ByAsyncClient], ids=["sync", "async"])
@pytest.mark.parametrize("case", load_cases(), ids=lambda case: case["name"])
async def test_case(case: dict[str, Any], kind: type[Caller], tmp_path: Path) -> None:
    with Stage(tmp_path, **wanted(case)) as stage:
        await play(case, stage, kind)
