"""Options of the whole test run: which engines, and whether the slow tests too."""

import os
from collections import Counter
from collections.abc import Generator

import pytest

from engines.config import known_engines
from tests.cluster import available as cluster_available
from tests.docker import available as docker_available
from tests.slurm import available as slurm_available

pytest.register_assert_rewrite("engines.testing")
pytest_plugins = ["tests.docker.fixtures", "tests.cluster.fixtures", "tests.slurm.fixtures"]

WITHOUT_NAME = {"plain": ""}
"""Engines under test that can't be chosen by name, and why they can't be used (never)."""

_RAN = pytest.StashKey[Counter[str]]()
"""By engine: how many of its tests came to an end."""

_MISSED = pytest.StashKey[Counter[str]]()
"""By engine: how many of its tests were skipped because it isn't there."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines",
        default="",
        help="engines to test, with commas between (default: all that can be used here); "
        "one that is named and can't be used fails the run",
    )
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine(name): runs on this engine; see --engines")
    config.stash[_RAN], config.stash[_MISSED] = Counter(), Counter()
    for name in _names(config.getoption("--engines")) | _required():
        if problem := _problems().get(name, "there is no such engine"):
            raise pytest.UsageError(f"the engine {name!r} can't be tested: {problem}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = _names(config.getoption("--engines"))
    problems = _problems()
    deselected = [item for item in items if not _wanted(item, chosen, config)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if _wanted(item, chosen, config)]
    for item in items:
        if (name := _engine(item)) is not None and problems[name]:
            item.add_marker(pytest.mark.skip(reason=f"engine {name}: {problems[name]}"))
        if name == "kubernetes" and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))  # one of them starts the cluster


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if (name := _engine(item)) is not None:
        ran = report.when == "call" and not report.skipped
        missed = report.skipped and f"engine {name}: " in str(report.longrepr)
        item.config.stash[_RAN][name] += ran
        item.config.stash[_MISSED][name] += missed
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _untested(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for name in _untested(config):
        ran, missed = config.stash[_RAN][name], config.stash[_MISSED][name]
        line = f"the engine {name!r} is required: {ran} of its tests ran, {missed} were skipped"
        terminalreporter.write_line(f"FAILED {line}", red=True)


def _untested(config: pytest.Config) -> list[str]:
    """The required engines of which a run of everything ran no test, or not all."""
    option = config.option
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if not everything or option.keyword or option.markexpr or option.collectonly:
        return []
    wanted = _required() & (_names(config.getoption("--engines")) or _required())
    ran, missed = config.stash[_RAN], config.stash[_MISSED]
    return sorted(name for name in wanted if not ran[name] or missed[name])


def _wanted(item: pytest.Item, chosen: set[str], config: pytest.Config) -> bool:
    if item.get_closest_marker("slow") is not None and not config.getoption("--slow"):
        return False
    name = _engine(item)
    return not chosen or name is None or name in chosen


def _engine(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("engine")
    return None if marker is None else marker.args[0]


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",") if name.strip()}


def _required() -> set[str]:
    return _names(os.environ.get("JOBENGINE_REQUIRE_ENGINES", ""))


def _problems() -> dict[str, str]:
    """By engine: why it can't be tested here, or nothing."""
    return (
        {each.name: each.problem for each in known_engines()}
        | WITHOUT_NAME
        | docker_available.problems()
        | cluster_available.problems()
        | slurm_available.problems()
    )
