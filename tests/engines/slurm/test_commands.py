"""Commands end by their deadline, and get nothing of the server's environment."""

import asyncio
import time
from pathlib import Path

import pytest

from engines import EngineFailed, EngineTimeout, EngineUnavailable
from engines.slurm.commands import AT_ONCE, Commands, said_by


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_CONF", raising=False)


async def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    commands = Commands()
    began = time.monotonic()
    with pytest.raises(EngineTimeout, match=r"sh didn't end within 0\.2 s"):
        await commands.ask("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60", deadline=0.2)
    assert time.monotonic() - began < 10
    pid = int((tmp_path / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()


async def test_the_environment_is_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JOBENGINE_TOKENS", "secret")
    monkeypatch.setenv("SBATCH_PARTITION", "other")
    conf = tmp_path / "slurm.conf"
    conf.touch()
    answer = await Commands(str(conf)).run(["/usr/bin/env"])
    names = {line.partition("=")[0] for line in answer.out.splitlines()}
    assert names <= {"PATH", "HOME", "USER", "LANG", "TZ", "SLURM_CONF"}
    assert f"SLURM_CONF={conf}" in answer.out


async def test_a_missing_configuration_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="no such file"):
        await Commands(str(tmp_path / "slurm.conf")).ask("true")


async def test_a_missing_command_says_what_to_install() -> None:
    with pytest.raises(EngineFailed, match="slurm-client"):
        await Commands().ask("no-such-command-of-slurm")


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        (
            "echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1",
            EngineUnavailable,
            "can't be reached: Unable to contact",
        ),
        ("echo 'Socket timed out on send/recv operation' >&2; exit 1", EngineTimeout, "answer"),
        ("echo 'sh: error: it is broken' >&2; exit 1", EngineFailed, "Slurm: it is broken"),
        ("exit 3", EngineFailed, "exit code 3"),
        ("kill -9 $$", EngineUnavailable, "signal 9"),
    ],
)
async def test_failures(script: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        await Commands().ask("sh", "-c", script)


async def test_only_so_many_run_at_once(tmp_path: Path) -> None:
    commands = Commands()
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, len(list(tmp_path.iterdir())))
            await asyncio.sleep(0.005)

    watcher = asyncio.create_task(watch())
    script = f"f={tmp_path}/$$; : > $f; sleep 0.1; rm $f"
    await asyncio.gather(*(commands.ask("sh", "-c", script) for _ in range(3 * AT_ONCE)))
    watcher.cancel()
    assert 1 < most <= AT_ONCE
    assert commands.count == 3 * AT_ONCE


def test_words_are_one_line() -> None:
    words = "sbatch: error: one\nsbatch: error: one\n\nsinfo: fatal: two\n***\n"
    assert said_by(words) == "one; two"
