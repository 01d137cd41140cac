"""The conformance suite on the engine that `check` was asked about; run by pytest, by its path."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engines.adapter import PlainEngine
from engines.authoring.check import Asked
from engines.base import Engine
from engines.testing import EngineConformance
from engines.workload import Workload


class TestEngine(EngineConformance):
    """The engine, as it stands."""

    @pytest.fixture
    def make_engine(self, asked: Asked) -> Callable[[], Engine]:
        """Makes the engine by its name, as a server does."""
        return asked.make_engine

    @pytest.fixture
    def workload(self, asked: Asked, tmp_path: Path) -> Workload:
        """Shell jobs, unless there is a Workload of the author's."""
        return asked.make_workload(tmp_path)

    @pytest.fixture(autouse=True)
    def expect_what_was_said(
        self, asked: Asked, engine: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Plain classes can't tell how instances ended, and others may not."""
        tells = asked.exit_codes and not isinstance(engine, PlainEngine)
        monkeypatch.setattr(type(self), "tells_exit_codes", tells)
        monkeypatch.setattr(type(self), "tells_streams", asked.streams)
        monkeypatch.setattr(type(self), "deadline_seconds", asked.deadline_seconds)
