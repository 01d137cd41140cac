"""Runs Slurm's commands: each with a deadline, without a shell, and not too many at once."""

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from engines import EngineFailed, EngineTimeout, EngineUnavailable

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
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**self._environment, **variables},
                cwd="/",
                start_new_session=True,
            )
        except FileNotFoundError:
            raise EngineFailed(
                f"{command[0]} isn't installed here: install Slurm's commands (Debian: "
                "slurm-client), or have them in PATH"
            ) from None
        except OSError as error:
            raise EngineFailed(f"{command[0]} can't be run: {error}") from error
        try:
            async with asyncio.timeout(deadline):
                out, words = await process.communicate()
        except TimeoutError:
            raise EngineTimeout(f"{command[0]} didn't end within {deadline:g} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())
        return Answer(
            process.returncode or 0, out.decode(errors="replace"), words.decode(errors="replace")
        )


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
