"""Runs Slurm's commands: each with a deadline, without a shell, and not too many at once."""

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

from engines import EngineFailed, EngineTimeout, EngineUnavailable
from engines.threads import Threads

DEADLINE_SECONDS: Final = 15.0
"""A command gives up by itself after MessageTimeout, which is 10 s unless the cluster says more."""

AT_ONCE: Final = 8
"""So many commands run at once, beside the one that lists the queue."""

_WORDS_CHARACTERS: Final = 500

_PASSED_ON: Final = ("PATH", "HOME", "USER", "LANG", "TZ")
"""Of the server's environment; jobs get these as well, and nothing else of it."""

_AWAY: Final = re.compile(
    r"Unable to contact slurm controller|Connection refused|Connection timed out|"
    r"Communication connection failure|Zero Bytes were transmitted|slurmctld.*not responding|"
    r"No route to host|Network is unreachable|Protocol authentication error|"
    r"Unable to process configuration file|Unable to establish configuration source|"
    r"in standby mode|Munge|munge",
    re.IGNORECASE,
)
_NO_ANSWER: Final = re.compile(r"timed out on send/recv|Message receive failure", re.IGNORECASE)


class Answer(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    words: str


class Commands:
    """Runs programs of Slurm's as `conf` (SLURM_CONF) says, else as the environment does."""

    def __init__(self, conf: str = "") -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._threads = Threads(exclusive=False)
        self.count = 0
        self._conf = conf = conf or os.environ.get("SLURM_CONF", "")
        self._environment = {
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **({"SLURM_CONF": conf} if conf else {}),
        }
        self._environment.setdefault("PATH", os.defpath)

    async def ask(
        self, *command: str, deadline: float = DEADLINE_SECONDS, queued: bool = True
    ) -> str:
        """What a command says that changes nothing. Times are seconds since the epoch.

        Raises:
            EngineUnavailable: the controller can't be reached.
            EngineTimeout: it didn't answer.
            EngineFailed: it refused, or the command isn't there.
        """
        # SLURM_BITSTR_LEN: all of an array's task numbers, however many.
        variables = {"SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}
        answer = await self.run(command, variables, deadline=deadline, queued=queued)
        if answer.code:
            raise failure(command[0], answer)
        return answer.out

    async def run(
        self,
        command: Sequence[str],
        variables: Mapping[str, str] | None = None,
        *,
        deadline: float = DEADLINE_SECONDS,
        queued: bool = True,
    ) -> Answer:
        """Run a command to its end.

        Raises:
            EngineTimeout: it didn't end within its deadline; it was killed.
            EngineFailed: it isn't there.
        """
        async with self._places if queued else contextlib.nullcontext():
            self.count += 1
            return await self._run(command, variables or {}, deadline)

    async def _run(
        self, command: Sequence[str], variables: Mapping[str, str], deadline: float
    ) -> Answer:
        if self._conf and not os.path.exists(self._conf):  # noqa: PTH110
            # Any of them would wait a minute for it.
            raise EngineFailed(f"SLURM_CONF is {self._conf}, and there is no such file: mend it")
        environment = {**self._environment, **variables}
        outcome = await self._threads.call(
            command[0], lambda: _call(command, environment, deadline)
        )
        if isinstance(outcome.error, FileNotFoundError):
            raise EngineFailed(
                f"{command[0]} isn't installed here: install Slurm's commands (Debian: "
                "slurm-client), or have them in PATH"
            )
        if isinstance(outcome.error, OSError):
            raise EngineFailed(f"{command[0]} can't be run: {outcome.error}") from outcome.error
        if isinstance(outcome.error, subprocess.TimeoutExpired):
            raise EngineTimeout(f"{command[0]} didn't end within {deadline:g} s")
        if outcome.error is not None:
            raise outcome.error
        return cast("Answer", outcome.value)


def _call(command: Sequence[str], environment: Mapping[str, str], deadline: float) -> Answer:
    """Run a command on this thread; it is killed at its deadline.

    By subprocess, which starts it by vfork: uvloop forks, and gRPC's handlers of that crash some of
    what is started so (seen: 8 of 450) before it is the command.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        cwd="/",
        start_new_session=True,
        timeout=deadline,
        check=False,
    )
    out, words = (said.decode(errors="replace") for said in (done.stdout, done.stderr))
    return Answer(done.returncode, out, words)


def failure(command: str, answer: Answer) -> EngineUnavailable | EngineTimeout | EngineFailed:
    """The error for what a command says as it fails.

    One that was killed says nothing, and the next may do better.
    """
    words = answer.words
    if answer.code < 0:
        return EngineUnavailable(f"{command} was ended by signal {-answer.code}")
    said = said_by(words) or f"{command} failed without a word, with exit code {answer.code}"
    if _AWAY.search(words):
        return EngineUnavailable(f"Slurm can't be reached: {said}")
    if _NO_ANSWER.search(words):
        return EngineTimeout(f"Slurm didn't answer: {said}")
    return EngineFailed(f"Slurm: {said}")


def said_by(words: str) -> str:
    """A command's words on one line, without its name before each."""
    lines = [re.sub(r"^\w+: (error: |fatal: )?", "", line) for line in words.splitlines()]
    lines = [line.strip() for line in lines if line.strip(" *")]
    return "; ".join(dict.fromkeys(lines))[:_WORDS_CHARACTERS]
