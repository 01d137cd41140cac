"""The programs that check what is in deploy/, and what happens where one is missing."""

import os
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def helm() -> Path:
    """The helm that tests/deploy/install-helm builds."""
    script = Path(__file__).with_name("install-helm").read_text()
    (version,) = re.findall(r"^helm=(\S+)$", script, re.MULTILINE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return _there(cache / "jobengine" / f"tools-helm-{version}" / "helm")


def program(name: str) -> Path:
    """A program of the system."""
    return _there(Path(shutil.which(name) or name))


def _there(path: Path) -> Path:
    """The path itself; a run that has to test everything fails without it, another skips aloud."""
    if path.exists():
        return path
    problem = f"{path.name} isn't there: run tests/deploy/install"
    if os.environ.get("JOBENGINE_REQUIRE_ENGINES"):
        pytest.fail(problem)
    pytest.skip(problem)
