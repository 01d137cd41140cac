"""Lets calls in: who calls, what it may do and how much of it; and ends what it no longer may."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, cast

import grpc

from server.config import Config
from server.errors import Reauthenticate, Unauthenticated
from server.identity import ANONYMOUS, Identity
from server.limits import Account, Places
from server.policy import Limits, Rights
from server.policy.current import PolicyFile

if TYPE_CHECKING:  # takes memory, and not every server needs it
    from server.authentication import Authenticator

MAX_KNOWN_CALLERS: Final = 10_000
"""Callers whose rights are remembered; those that called longest ago are forgotten first."""

LOOK_SECONDS: Final = 1.0
"""How often open streams are held against what their callers may do now."""

BATCH: Final = 256
"""So many streams are judged without letting the event loop run."""

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, what it may do, and what it has under way."""

    identity: Identity
    rights: Rights
    account: Account


class Gate:
    """Knows the callers, and what each has open.

    Calls without a good credential go no further. Streams are looked at again when credentials
    or the policy change, and when a credential expires.
    """

    def __init__(
        self, config: Config, authenticator: "Authenticator | None", policy: PolicyFile
    ) -> None:
        """`authenticator`: None where nobody is asked who they are."""
        self._authenticator = authenticator
        self._policy = policy
        self._max_streams = config.max_streams
        self._caller = functools.lru_cache(MAX_KNOWN_CALLERS)(self._introduce)
        # Of those alone that have limits, so there are no more than the policy has subjects.
        self._accounts: dict[str, Account] = {}
        self.open: dict[asyncio.Task[Any], Stream] = {}
        self.ended: set[asyncio.Task[Any]] = set()
        self.streams = Places(
            "max_streams",
            config.max_streams,
            "streams that this server may have open at once is reached: "
            "try again later, or watch many jobs through one WatchJobs",
        )
        self.calls = Places(
            "max_calls",
            config.max_calls,
            "calls that this server may have under way at once is reached: try again later",
        )

    async def admit(self, context: Context) -> Caller:
        """Whoever makes this call.

        Raises:
            Unauthenticated: its credential is missing, or no good.
        """
        if self._authenticator is None:
            return self._caller(ANONYMOUS)
        # Making the auth context takes a while, and only certificates need it.
        needed = self._authenticator.reads_auth_context
        identity = await self._authenticator.identify(
            context.invocation_metadata() or (), context.auth_context() if needed else {}
        )
        return self._caller(identity)

    def _introduce(self, identity: Identity) -> Caller:
        rights = self._policy.rights(identity)
        account = self._accounts.get(rights.subject)
        if account is None:
            account = Account(self._max_streams)
            if rights.limits != Limits():
                self._accounts[rights.subject] = account
        account.allow(rights.limits)
        return Caller(identity, rights, account)

    def calling(self, caller: Caller) -> Places:
        """A place for a call with a single answer.

        Raises:
            ServerLimit: the caller makes too many; or, on entering, too many are under way.
        """
        caller.account.take_request()
        return self.calls

    def streaming(self, caller: Caller, context: Context) -> "Stream":
        """A place for a stream.

        Raises:
            ServerLimit: the caller makes too many; or, on entering, too many are open.
        """
        caller.account.take_request()
        return Stream(self, caller, context)

    async def follow(self) -> None:
        """Keep up with credentials and policy until cancelled."""
        if self._authenticator is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._authenticator.follow())
            tasks.create_task(self._policy.follow())
            tasks.create_task(self._judge())

    async def _judge(self) -> None:
        version = self._versions()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._end(self._expired(time.time()))
            if version != (version := self._versions()):
                self._caller.cache_clear()
                await self._judge_all()

    def _versions(self) -> tuple[int, int]:
        known = 0 if self._authenticator is None else self._authenticator.version
        return known, self._policy.version

    def _expired(self, now: float) -> Iterator[asyncio.Task[Any]]:
        for task, stream in self.open.items():
            expires = stream.caller.identity.expires
            if expires is not None and expires <= now:
                yield task

    async def _judge_all(self) -> None:
        for number, (task, stream) in enumerate(list(self.open.items())):
            if number % BATCH == 0:
                await asyncio.sleep(0)
            if task in self.open and not await self._still(stream):
                self._end([task])

    async def _still(self, stream: "Stream") -> bool:
        try:
            return (await self.admit(stream.context)).rights == stream.caller.rights
        except Unauthenticated:
            return False

    def _end(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        for task in tasks:
            if task not in self.ended:
                self.ended.add(task)
                task.cancel()


class Stream:
    """A stream's place, by `with`: how long it is open, and what the gate has to know of it."""

    __slots__ = ("_gate", "_task", "caller", "context")

    def __init__(self, gate: Gate, caller: Caller, context: Context) -> None:
        self._gate = gate
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self.caller = caller
        self.context = context

    def __enter__(self) -> None:
        """Open it.

        Raises:
            ServerLimit: as many are open as may be, of this caller or in all.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._gate.streams)
            stack.enter_context(self.caller.account.streams)
            stack.pop_all()
        self._gate.open[self._task] = self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it.

        Raises:
            Reauthenticate: what the caller may do has ended or changed.
        """
        gate, task = self._gate, self._task
        del gate.open[task]
        gate.streams.taken -= 1
        self.caller.account.streams.taken -= 1
        ended = task in gate.ended
        gate.ended.discard(task)
        # Unless somebody else has cancelled it, too.
        if ended and isinstance(exc, asyncio.CancelledError) and task.uncancel() == 0:
            raise Reauthenticate from None
