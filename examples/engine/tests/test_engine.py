"""The conformance suite on this engine."""

from collections.abc import Callable

import pytest
from processes.engine import ProcessesEngine

from engines.testing import Capability, EngineConformance


class TestProcessesEngine(EngineConformance):
    tells_streams = False
    capabilities = frozenset(
        {
            Capability.COMMANDS,
            Capability.LIST,
            Capability.CANCEL,
            Capability.LOGS,
            Capability.RETRIES,
            Capability.MEMORY_LIMIT,
        }
    )

    @pytest.fixture
    def make_engine(self) -> Callable[[], ProcessesEngine]:
        return ProcessesEngine
