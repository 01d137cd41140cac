"""A pytest plugin that takes down what came of each test of the suite."""

import textwrap
from collections.abc import Callable, Generator
from typing import Final

import pytest

from engines.authoring.check import ALWAYS, Asked, Outcome, Report
from engines.base import Capability, Engine

pytest.register_assert_rewrite("engines.testing", "engines.workload")


MAX_WORDS: Final = 300
"""Of what a failure says, so many characters are kept."""


class Observer:
    """Gives the suite what is asked, and keeps the report."""

    def __init__(self, asked: Asked, tell: Callable[[Outcome], None]) -> None:
        self.report = Report()
        self._asked = asked
        self._tell = tell

    @pytest.fixture(scope="session")
    def asked(self) -> Asked:
        """What to check."""
        return self._asked

    @pytest.fixture(autouse=True)
    def note_capabilities(self, engine: Engine) -> None:
        """They may become known only when the engine is entered."""
        self.report.capabilities = engine.capabilities

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Each test is heard of once: when it ran, or where setting it up or clearing up failed."""
        report = yield
        if report.when == "call" or not report.passed:
            self._note(item, call, report)
        return report

    def _note(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> None:
        said = "" if call.excinfo is None else call.excinfo.exconly().splitlines()[0]
        error = textwrap.shorten(said, MAX_WORDS, placeholder=" …")
        outcome = Outcome(_ability(item), item.name, report.outcome, error)
        self.report.outcomes.append(outcome)
        self._tell(outcome)


def _ability(item: pytest.Item) -> str:
    """The first capability that the test needs."""
    from engines.testing import needed_by

    needed: tuple[Capability, ...] = tuple(needed_by(getattr(item, "function")))  # noqa: B009
    return needed[0].name if needed else ALWAYS
