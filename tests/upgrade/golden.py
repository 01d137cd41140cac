"""The data that a release of format 1 has left."""

import json
import tarfile
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).with_name("format-1")

OLD = "b389941"
"""The last commit whose state directories don't say of which format they are."""


def golden(engine: str) -> dict[str, Any]:
    """What was written on an engine."""
    found: dict[str, Any] = json.loads((DIRECTORY / f"{engine}.json").read_text())
    return found


def unpack_state(directory: Path) -> Path:
    """Put the state directory of that release into this one; return where it is."""
    with tarfile.open(DIRECTORY / "local.tar.gz") as tar:
        tar.extractall(directory, filter="tar")  # `data` would open the jobs to everybody
    return directory / "state"
