"""Options of the whole test run: which engines, and whether the slow tests too."""

import os

import pytest

from engines.config import known_engines

pytest.register_assert_rewrite("engines.testing")

WITHOUT_NAME = {"plain": ""}
"""Engines under test that can't be chosen by name, and why they can't be used (never)."""


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
    required = _names(os.environ.get("JOBENGINE_REQUIRE_ENGINES", ""))
    for name in _names(config.getoption("--engines")) | required:
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


def _problems() -> dict[str, str]:
    """By engine: why it can't be tested here, or nothing."""
    return {each.name: each.problem for each in known_engines()} | WITHOUT_NAME
