"""Traces by OpenTelemetry: a span for each call, below its caller's, and for what the engine did.

Where to and which part of them is sent, OpenTelemetry's own environment variables say
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, …).
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode

import server
from engines.base import Capability, Engine, Event, Job, Limits, LogChunk, LogQuery, Status
from engines.errors import FieldViolation
from jobengine.v1.job_pb2 import JobSpec

SERVICE_NAME: Final = "jobengine"
"""How the server is called where OTEL_SERVICE_NAME doesn't say."""

Call = Callable[[bytes, Any], Awaitable[Any]]


class Tracing:
    """Makes spans, and sends them in the background."""

    def __init__(self) -> None:
        resource = Resource.create({"service.version": server.__version__})
        if str(resource.attributes.get("service.name")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": SERVICE_NAME}))
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("jobengine", server.__version__)

    def rpc(self, service: str, method: str, call: Call) -> Call:
        """A call that has a span, which belongs to the caller's trace if it brings one."""
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}

        async def traced(raw: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: ANN401
            metadata = {
                key: value
                for key, value in context.invocation_metadata() or ()
                if isinstance(value, str)
            }
            with self._tracer.start_as_current_span(
                f"{service}/{method}",
                context=propagate.extract(metadata),
                kind=SpanKind.SERVER,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    return await call(raw, context)
                finally:
                    _note_code(span, context.code())

        return traced

    def engine(self, engine: Engine) -> Engine:
        """The engine, with a span for each of its methods that callers wait for."""
        return _TracedEngine(engine, self._tracer)

    def close(self) -> None:
        """Send what there is, within a few seconds."""
        self._provider.shutdown()


def _note_code(span: Span, code: grpc.StatusCode | int | None) -> None:
    number: int = code.value[0] if isinstance(code, grpc.StatusCode) else code or 0
    span.set_attribute("rpc.grpc.status_code", number)
    if number in _FAULTS:
        span.set_status(StatusCode.ERROR)


_FAULTS: Final = frozenset(
    code.value[0]
    for code in (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
"""What is the server's fault; by OpenTelemetry's conventions, the rest is its caller's."""


class _TracedEngine(Engine):
    """Another engine, as whose methods these have spans."""

    def __init__(self, engine: Engine, tracer: trace.Tracer) -> None:
        self._engine = engine
        self._tracer = tracer
        self.name = engine.name

    # Asked each time: they may become known after entering.
    @property
    def capabilities(self) -> frozenset[Capability]:  # type: ignore[override]
        return self._engine.capabilities

    @property
    def limits(self) -> Limits:  # type: ignore[override]
        return self._engine.limits

    async def __aenter__(self) -> Self:
        await self._engine.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._engine.__aexit__(exc_type, exc, traceback)

    def check_spec(self, spec: JobSpec) -> Sequence[FieldViolation]:
        return self._engine.check_spec(spec)

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        with self._span("create_job", name):
            return await self._engine.create_job(name, spec, request_id=request_id)

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        with self._span("delete_job", name):
            await self._engine.delete_job(name, uid=uid, grace_seconds=grace_seconds)

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        with self._span("cancel_job", name):
            return await self._engine.cancel_job(name, uid=uid, grace_seconds=grace_seconds)

    async def read_job(self, name: str) -> Job:
        with self._span("read_job", name):
            return await self._engine.read_job(name)

    async def read_status(self, job: Job) -> Status:
        with self._span("read_status", job.name):
            return await self._engine.read_status(job)

    async def read_version(self) -> str:
        return await self._engine.read_version()

    async def list_jobs(self) -> Sequence[Job]:
        return await self._engine.list_jobs()

    def watch(self) -> AsyncIterator[Event]:
        return self._engine.watch()

    def read_logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        return self._engine.read_logs(name, query)

    def _span(self, method: str, job: str) -> contextlib.AbstractContextManager[Span]:
        return self._tracer.start_as_current_span(
            f"{self.name}.{method}",
            kind=SpanKind.CLIENT,
            attributes={"jobengine.engine": self.name, "jobengine.job": job},
        )
