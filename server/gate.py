"""Lets calls in: who calls, what it may do and how much of it; and ends what it no longer may."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc

from server.authentication import Authenticator
from server.config import Config
from server.errors import Reauthenticate, Unauthenticated
from server.identity import ANONYMOUS, Identity
from server.limits import Account, Places
from server.policy import Limits, Rights
from server.policy.current import PolicyFile

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
        self, config: Config, authenticator: Authenticator | None, policy: PolicyFile
    ) -> None:
        """`authenticator`: None where nobody is asked who they are."""
        self._authenticator = authenticator
        self._policy = policy
        self._max_streams = config.max_streams
        self._caller = functools.lru_cache(MAX_KNOWN_CALLERS)(self._introduce)
        # Of those alone that have limits, so there are no more than the policy has subjects.
        self._accounts: dict[str, Account] = {}
        self._open: dict[asyncio.Task[Any], tuple[Context, Caller]] = {}
        self._ended: set[asyncio.Task[Any]] = set()
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

    @contextlib.contextmanager
    def calling(self, caller: Caller) -> Generator[None]:
        """Make a call with a single answer.

        Raises:
            ServerLimit: too much is under way, of this caller or in all.
        """
        caller.account.take_request()
        with self.calls.take():
            yield

    @contextlib.contextmanager
    def streaming(self, caller: Caller, context: Context) -> Generator[None]:
        """Have a stream open.

        Raises:
            ServerLimit: too much is under way, of this caller or in all.
            Reauthenticate: what the caller may do has ended or changed.
        """
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        caller.account.take_request()
        with self.streams.take(), caller.account.streams.take():
            self._open[task] = context, caller
            try:
                yield
            except asyncio.CancelledError:
                # Unless somebody else has cancelled it, too.
                if task in self._ended and task.uncancel() == 0:
                    raise Reauthenticate from None
                raise
            finally:
                del self._open[task]
                self._ended.discard(task)

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
        for task, (_, caller) in self._open.items():
            if caller.identity.expires is not None and caller.identity.expires <= now:
                yield task

    async def _judge_all(self) -> None:
        for number, (task, (context, caller)) in enumerate(list(self._open.items())):
            if number % BATCH == 0:
                await asyncio.sleep(0)
            if task in self._open and not await self._still(context, caller):
                self._end([task])

    async def _still(self, context: Context, caller: Caller) -> bool:
        try:
            return (await self.admit(context)).rights == caller.rights
        except Unauthenticated:
            return False

    def _end(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        for task in tasks:
            if task not in self._ended:
                self._ended.add(task)
                task.cancel()
