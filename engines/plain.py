"""Calls the four methods of a plain object, and says in the contract's terms what came of it."""

import inspect
from collections.abc import Callable, Coroutine
from typing import NoReturn, Protocol, cast

from engines.base import Job
from engines.errors import CapabilityMissing, EngineError, EngineFailed, JobNotFound
from engines.threads import Threads
from jobengine.v1.job_pb2 import JobSpec

METHODS = ("create_job", "delete_job", "read_job", "read_status")


class Plain(Protocol):
    """What a plain object has. Any of the methods may be a coroutine function instead."""

    def create_job(self, name: str, spec: JobSpec) -> object: ...  # noqa: D102
    def delete_job(self, name: str) -> object: ...  # noqa: D102
    def read_job(self, name: str) -> object: ...  # noqa: D102
    def read_status(self, job: object) -> object: ...  # noqa: D102


class PlainCalls:
    """The methods of a plain object, awaitable.

    Each raises JobNotFound where the object says that there is no such job: `read_job` and
    `read_status` by returning None, all but `create_job` by raising a LookupError. Errors of
    `engines.errors` pass, NotImplementedError becomes CapabilityMissing, and any other
    exception EngineFailed. TooManyCalls: see `engines.threads`.
    """

    def __init__(self, plain: object) -> None:
        kind = type(plain)
        if missing := [m for m in METHODS if not callable(getattr(plain, m, None))]:
            raise TypeError(f"{kind.__name__} is no engine: it has no {', '.join(missing)}")
        self._plain = cast("Plain", plain)
        self._kind = kind.__name__
        self._inner_job: Callable[[str, None], object] = getattr(plain, "Job", _bare_job)
        exclusive = not getattr(plain, "thread_safe", False)
        self._threads = Threads(exclusive=exclusive)
        self.concurrent = not exclusive or inspect.iscoroutinefunction(self._plain.read_status)
        """Whether the object answers several `read_status` at a time."""

    def label(self, method: str) -> str:
        """How messages call the method."""
        return f"{self._kind}.{method}"

    async def create_job(self, name: str, spec: JobSpec) -> object:
        """Return the Job that the object made, unchecked."""
        return await self._call("create_job", name, lambda: self._plain.create_job(name, spec))

    async def delete_job(self, name: str) -> None:
        """Delete the job."""
        await self._call("delete_job", name, lambda: self._plain.delete_job(name))

    async def read_job(self, name: str) -> object:
        """Return the object's Job."""
        job = await self._call("read_job", name, lambda: self._plain.read_job(name))
        if job is None:
            raise JobNotFound(name)
        return job

    async def read_status(self, name: str) -> object:
        """Return the object's Status."""
        status = await self._call(
            "read_status", name, lambda: self._plain.read_status(self._inner_job(name, None))
        )
        if status is None:
            raise JobNotFound(name)
        return status

    def status_of(self, job: object, method: str) -> object:
        """The status, maybe None, of the Job that the method returned."""
        try:
            return cast("Job", job).status
        except AttributeError:
            raise EngineFailed(
                f"{self.label(method)} returned a {type(job).__name__} without 'status': no Job"
            ) from None

    async def _call(self, method: str, job: str, function: Callable[[], object]) -> object:
        if inspect.iscoroutinefunction(getattr(self._plain, method)):
            try:
                return await cast("Coroutine[object, object, object]", function())
            except Exception as error:  # noqa: BLE001 - what it means is decided there
                self._raise(method, job, error)
        outcome = await self._threads.call(job, function)
        if outcome.error is not None:
            self._raise(method, job, outcome.error)
        return outcome.value

    def _raise(self, method: str, job: str, error: BaseException) -> NoReturn:
        if isinstance(error, EngineError):
            raise error
        if isinstance(error, NotImplementedError):
            raise CapabilityMissing(self._kind, f"working {method}") from error
        if isinstance(error, LookupError) and method != "create_job":
            raise JobNotFound(job) from error
        message = f"{self.label(method)}: {type(error).__name__}: {error}"
        raise EngineFailed(message) from error


def _bare_job(name: str, status: None) -> Job:
    """The Job made from a name alone, for classes without a Job of their own."""
    del status
    return Job(name)
