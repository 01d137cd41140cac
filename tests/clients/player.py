"""Plays the cases of scenarios.json by the Python client; SCENARIOS.md says what steps mean."""

import asyncio
import functools
import json
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from jobengine import (
    TLS,
    AsyncClient,
    Client,
    JobEngineError,
    JobSpec,
    JobState,
    LogStream,
    RetryPolicy,
    WatchEvent,
    WatchStatusResponse,
)
from tests.clients.stage import Stage

STEP_SECONDS: Final = 30.0
STREAMS: Final = {"watch": "watch_status", "watchAll": "watch_jobs", "logs": "logs"}
CALLS: Final = {
    "create": "create_job",
    "cancel": "cancel_job",
    "delete": "delete_job",
    "readJob": "read_job",
    "readStatus": "read_status",
    "readEngine": "read_engine",
    "run": "run",
    "wait": "wait",
}
_END: Final = object()

Step = Mapping[str, Any]


class ByAsyncClient:
    """Calls by the asynchronous client."""

    def __init__(self, address: str, **settings: Any) -> None:
        self._client = AsyncClient(address, **settings)

    async def call(self, method: str, **arguments: Any) -> Any:
        return await getattr(self._client, method)(**arguments)

    async def stream(self, method: str, **arguments: Any) -> AsyncGenerator[Any]:
        async with aclosing(getattr(self._client, method)(**arguments)) as messages:
            async for message in messages:
                yield message

    async def close(self) -> None:
        await self._client.close()


class ByClient:
    """Calls by the synchronous client, in threads."""

    def __init__(self, address: str, **settings: Any) -> None:
        self._new = functools.partial(Client, address, **settings)
        self._client = self._new()

    async def call(self, method: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(getattr(self._client, method), **arguments)

    async def stream(self, method: str, **arguments: Any) -> AsyncGenerator[Any]:
        # By a client of its own: closing that is how a thread leaves a stream that another reads.
        with self._new() as client:
            messages = getattr(client, method)(**arguments)
            while (message := await asyncio.to_thread(next, messages, _END)) is not _END:
                yield message

    async def close(self) -> None:
        self._client.close()


Caller = ByAsyncClient | ByClient


class Stream:
    """A stream that is read beside the steps."""

    def __init__(self, messages: AsyncGenerator[Any]) -> None:
        self._changed = asyncio.Condition()
        self._passed = 0
        self._messages: list[Any] = []
        self._reading = asyncio.create_task(self._read(messages))

    async def _read(self, messages: AsyncGenerator[Any]) -> None:
        try:
            async with aclosing(messages):
                async for message in messages:
                    async with self._changed:
                        self._messages.append(message)
                        self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def until(self, example: Any) -> Any:
        """The next message that is like the example."""
        async with self._changed:
            while True:
                while self._passed < len(self._messages):
                    self._passed += 1
                    if not difference(example, as_json(self._messages[self._passed - 1])):
                        return self._messages[self._passed - 1]
                await self._wait(f"no message like {example}")

    async def text(self, step: Step) -> None:
        """Wait until the logs are just that, or have it in them."""
        async with self._changed:
            while True:
                text = b"".join(message.data for message in self._messages).decode()
                if text == step.get("expect", None) or step.get("contains", "\0") in text:
                    return
                await self._wait(f"only {text!r} for {step}")

    async def end(self) -> None:
        """Wait for the end; raises what it ended with."""
        try:
            await self._reading
        finally:
            self.check()

    async def close(self) -> None:
        """Leave the stream."""
        self._reading.cancel()
        await asyncio.wait((self._reading,))
        if not self._reading.cancelled():
            self._reading.result()
        self.check()

    async def drop(self) -> None:
        """Leave it, however it ends, and check what it told."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self.check()

    async def _wait(self, problem: str) -> None:
        told = [as_json(message) for message in self._messages]
        assert not self._reading.done(), f"{problem}: {told} {self._reading}"
        await self._changed.wait()

    def check(self) -> None:
        """Each piece of news once, in order, and no heartbeats."""
        by_uid: dict[str, list[Any]] = defaultdict(list)
        for message in self._messages:
            event = getattr(message, "event", None)
            assert event != WatchEvent.WATCH_EVENT_HEARTBEAT
            if event in {WatchEvent.WATCH_EVENT_STATUS, WatchEvent.WATCH_EVENT_DELETED}:
                job = getattr(message, "job", message)
                by_uid[job.uid].append((event, job.status))
        of_one_job = all(isinstance(message, WatchStatusResponse) for message in self._messages)
        assert not of_one_job or len(by_uid) <= 1, f"a watch of one job told of {set(by_uid)}"
        for told in by_uid.values():
            for (event, status), (next_event, next_status) in pairwise(told):
                assert (event, status) != (next_event, next_status), f"told twice: {status}"
                assert event != WatchEvent.WATCH_EVENT_DELETED, f"after its deletion: {next_status}"
                assert next_status.state >= status.state, f"{status}, then {next_status}"
                ended = status.state > JobState.JOB_STATE_RUNNING
                assert not ended or next_status == status, f"{status}, then {next_status}"


async def play(case: Mapping[str, Any], stage: Stage, kind: type[Caller]) -> None:
    """Play one case."""
    case = json.loads(json.dumps(case).replace("${directory}", str(stage.directory)))
    async with AsyncExitStack() as stack:
        callers: list[Caller] = []
        for address in (stage.address, stage.direct):
            callers.append(kind(address, **settings(case.get("client", {}))))
            stack.push_async_callback(callers[-1].close)
        player = _Player(stage, *callers)
        stack.push_async_callback(player.drop_streams)
        for step in case["steps"]:
            async with asyncio.timeout(STEP_SECONDS):
                await player.take(step)


class _Player:
    def __init__(self, stage: Stage, caller: Caller, direct: Caller) -> None:
        self._stage = stage
        self._caller = caller
        self._direct = direct
        self._streams: dict[str, Stream] = {}
        self._kept: dict[str, str] = {}

    async def take(self, step: Step) -> None:
        """Take a step, which has to fail if it says so."""
        step = self._fill_in(step)
        try:
            result = await self._do(step)
        except JobEngineError as error:
            assert "error" in step, f"{step}: {error!r}"
            problem = difference(step["error"], _error(error))
            assert not problem, f"{step}: {problem} of {error!r}"
            return
        assert "error" not in step, f"{step} didn't fail: {result}"
        if "expect" in step and step["do"] not in {"until", "text"}:
            problem = difference(step["expect"], as_json(result))
            assert not problem, f"{step}: {problem} of {result}"
        if "as" in step:
            self._kept[step["as"]] = result.cursor if step["do"] == "until" else result.uid

    async def drop_streams(self) -> None:
        for stream in self._streams.values():
            await stream.drop()

    async def _do(self, step: Step) -> Any:
        caller = self._direct if step.get("direct") else self._caller
        match step["do"]:
            case "stage":
                given = {key: step[key] for key in ("file", "text") if key in step}
                return await asyncio.to_thread(self._stage.do, step["action"], **given)
            case "watch" | "watchAll" | "logs" as what:
                messages = caller.stream(STREAMS[what], **_arguments(step))
                self._streams[step["stream"]] = Stream(messages)
            case "until":
                return await self._streams[step["stream"]].until(step["expect"])
            case "text":
                await self._streams[step["stream"]].text(step)
            case "end":
                await self._streams.pop(step["stream"]).end()
            case "close":
                await self._streams.pop(step["stream"]).close()
            case "list":
                jobs = caller.stream("list_jobs", **_arguments(step))
                return [job.name async for job in jobs]
            case what:
                return await caller.call(CALLS[what], **_arguments(step))
        return None

    def _fill_in(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._fill_in(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._fill_in(inner) for inner in value]
        if isinstance(value, str) and value.startswith("$"):
            return self._kept[value.removeprefix("$")]
        return value


def settings(client: Mapping[str, Any]) -> dict[str, Any]:
    """A case's settings, as the client takes them."""
    by_name = {_snake(key): value for key, value in client.items()}
    given = {key: by_name.pop(key) for key in ("timeout_seconds",) if key in by_name}
    if (ca := by_name.pop("ca", None)) is not None:
        given["tls"] = TLS(ca_file=ca)
    if (token := by_name.pop("token", None)) is not None:
        given["token"] = Path(token).read_text
    return {**given, "retry": RetryPolicy(**by_name)}


def _arguments(step: Step) -> dict[str, Any]:
    """What a step says, as the client takes it."""
    arguments = {
        _snake(key): value
        for key, value in step.items()
        if key not in {"do", "as", "expect", "error", "direct", "stream"}
    }
    if "spec" in arguments:
        arguments["spec"] = ParseDict(arguments["spec"], JobSpec())
    if "states" in arguments:
        arguments["states"] = [JobState.Value(name) for name in arguments["states"]]
    if "selector" in arguments:
        arguments["label_selector"] = arguments.pop("selector")
    if "log_stream" in arguments:
        arguments["stream"] = LogStream.Value(arguments.pop("log_stream"))
    return arguments


def _snake(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()


def _error(error: JobEngineError) -> dict[str, Any]:
    return {
        "kind": type(error).__name__,
        "code": error.code.name if error.code else "",
        "reason": error.reason,
        "fields": sorted(violation.field for violation in error.violations),
        "metadata": error.metadata,
    }


def as_json(result: Any) -> Any:
    """What came back, as examples have it."""
    return MessageToDict(result) if isinstance(result, Message) else result


def difference(example: Any, actual: Any) -> str:
    """Where something isn't like the example; empty if it is."""
    if isinstance(example, dict):
        found = actual if isinstance(actual, dict) else {}
        problems = (
            f".{key}{problem}"
            for key, value in example.items()
            if (problem := difference(value, found.get(key)))
        )
        return next(problems, "")
    if isinstance(example, list):
        listed = actual or []
        if len(listed) != len(example):
            return f": {listed} isn't {example}"
        problems = (difference(one, other) for one, other in zip(example, listed, strict=True))
        return next(filter(None, problems), "")
    return "" if actual == example or not (actual or example) else f": {actual!r} isn't {example!r}"
