"""docs/clients.md: its table has every case, and its commands work."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import NewServer
from tests.clients.stage import load_cases

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "clients.md"
TOOLS = ("grpcurl", "ghz")
DEADLINE_SECONDS = 60


def table() -> list[str]:
    """The rows as they have to be, each cell a test of test_scenarios.py or test_languages.py."""
    head = [
        "| case | Python, sync | Python, async | Go | TypeScript | Java |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return head + [
        f"| {case['name']}: {case['about']} | ✓ | ✓ | ✓ | ✓ | ✓ |" for case in load_cases()
    ]


def test_the_table_has_every_case() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    wanted = table()
    assert rows[-len(wanted) :] == wanted, "\n".join(wanted)


@pytest.mark.engine("local")
@pytest.mark.timeout(DEADLINE_SECONDS + 30)
def test_calls_from_outside(new_server: NewServer) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = sorted(map(str, cache.glob("jobengine/tools-*")))
    path = os.pathsep.join([*found, os.environ["PATH"]])
    buf = ROOT / ".venv-proto" / "bin" / "buf"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    if missing or not buf.exists():
        assert "CI" not in os.environ, f"CI has to have {missing or buf}"
        pytest.skip("no grpcurl, ghz or buf here: tests/clients/install, make check")
    (script,) = re.findall(r"^```sh\n(grpcurl.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        ["bash", "-euc", script.replace("127.0.0.1:50051", new_server("local").address)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr
    answers, report = done.stdout.split("\nSummary:\n")
    messages = read_all(answers)
    assert messages[0]["job"]["name"] == "report"
    ended = next(message for message in messages if message.get("status", {}).get("exit_code"))
    assert ended["status"]["reason"] == "JOB_REASON_NON_ZERO_EXIT"
    assert ended["status"]["exit_code"] == 3
    assert [message["data"] for message in messages if "data" in message] == ["aGVsbG8K"]
    assert messages[-1]["status"]["exitCode"] == 3
    assert re.search(r"\[OK\]\s+2000 responses", report), report


def read_all(text: str) -> list[dict[str, Any]]:
    """JSON objects, one after another."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        message, end = decoder.raw_decode(text)
        found.append(message)
        text = text[end:]
    return found
