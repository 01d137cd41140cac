"""Runs the conformance suite on an engine, and counts by ability what came of it."""

import contextlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engines.base import Capability, Engine
from engines.workload import Workload

ALWAYS: Final = "always"
"""The ability that every engine has: the four methods, and their states."""

SUITE: Final = Path(__file__).with_name("suite.py")


class NothingToCheckWith(Exception):
    """The suite can't be run here; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to check, and what the engine is known not to tell. Times in seconds."""

    make_engine: Callable[[], Engine]
    make_workload: Callable[[Path], Workload]
    exit_codes: bool = True
    streams: bool = True
    deadline_seconds: float = 20.0
    test_seconds: float = 120.0
    """How long one test may take."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one test of an ability; `why` has the words of a failure or a skip."""

    ability: str
    test: str
    verdict: str
    """passed, failed or skipped."""
    why: str = ""


@dataclass(slots=True)
class Report:
    """What the suite found."""

    capabilities: frozenset[Capability] = frozenset()
    outcomes: list[Outcome] = field(default_factory=list[Outcome])

    @property
    def failures(self) -> Sequence[Outcome]:
        """The tests that failed."""
        return [each for each in self.outcomes if each.verdict == "failed"]

    def count(self, ability: str, verdict: str) -> int:
        """How many tests of an ability came out so."""
        return sum(each.ability == ability and each.verdict == verdict for each in self.outcomes)


def check(asked: Asked, tell: Callable[[Outcome], None]) -> Report:
    """Run the whole suite; `tell` hears of each test as it ends.

    Raises:
        NothingToCheckWith: pytest isn't installed.
    """
    if any(importlib.util.find_spec(each) is None for each in ("pytest", "pytest_asyncio")):
        raise NothingToCheckWith(
            "it takes pytest, which isn't installed: pip install 'jobengine-server[testing]'"
        )
    import pytest

    from engines.authoring.observer import Observer

    observer = Observer(asked, tell)
    with tempfile.TemporaryDirectory(prefix="jobengine-check-") as directory:
        empty = Path(directory, "pytest.ini")
        empty.write_text("[pytest]\n")  # or what the author's own tests are told would count
        options = (
            f"--config-file={empty}",
            f"--rootdir={directory}",
            f"--basetemp={directory}/tests",
            "--override-ini=asyncio_mode=auto",
            "--override-ini=asyncio_default_fixture_loop_scope=function",
            f"--timeout={asked.test_seconds:g}",
            "--import-mode=importlib",
            "-pno:cacheprovider",
            "-pno:terminal",
        )
        # What the engine prints isn't ours to show in between.
        with contextlib.redirect_stdout(sys.stderr):
            pytest.main([*options, str(SUITE)], plugins=[observer])
    return observer.report
