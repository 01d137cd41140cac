"""A run of everything in which a required engine wasn't tested fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ONE_OF_FAKE = """
import pytest

@pytest.mark.engine("fake")
def test_on_fake(): pass

@pytest.mark.engine("local")
def test_on_local(): {of_local}

def test_on_none(): pass
"""
SKIPS = "pytest.skip('engine local: it has gone')"


def run_pytest(place: Path, of_local: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests of the engines fake and local, which are both required."""
    (place / "pytest.ini").write_text("[pytest]\ntestpaths = test_it.py\n")
    (place / "test_it.py").write_text(ONE_OF_FAKE.format(of_local=of_local))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "JOBENGINE_REQUIRE_ENGINES": "fake,local"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("of_local", "arguments", "line"),
    [
        ("pass", [], ""),
        (SKIPS, [], "'local' is required: 0 of its tests ran, 1 were skipped"),
        ("pass", ["--deselect=test_it.py::test_on_fake"], "'fake' is required: 0 of its tests ran"),
        (SKIPS, ["test_it.py"], ""),
    ],
)
def test_required_engine(tmp_path: Path, of_local: str, arguments: list[str], line: str) -> None:
    done = run_pytest(tmp_path, of_local, *arguments)
    assert done.returncode == (1 if line else 0), done.stdout + done.stderr
    assert line in done.stdout
    assert ("is required" in done.stdout) == bool(line)
