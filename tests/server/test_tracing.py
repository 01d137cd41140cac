"""One trace from the caller to the engine, told to a real collector's port."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from engines.memory import MemoryEngine
from jobengine.v1 import job_engine_pb2 as api
from tests.server.conftest import Start
from tests.server.test_service import spec

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLERS_SPAN = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLERS_SPAN}-01"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans as OpenTelemetry's own collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []

    async def Export(self, request: Any, context: Any) -> Any:  # noqa: N802
        del context
        for resource in request.resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            self.resources.append(attributes)
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def one(self, name: str) -> Span:
        (span,) = [span for span in self.spans if span.name == name]
        return span


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    collector = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield collector
    await server.stop(None)


def attributes(span: Span) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


async def test_a_trace_leads_from_the_caller_to_the_engine(
    start: Start, collector: Collector
) -> None:
    metadata = (("traceparent", TRACEPARENT),)
    async with start(MemoryEngine(), tracing=True) as running:
        assert await running.server.in_touch(10)
        await running.stub.CreateJob(api.CreateJobRequest(name="a", spec=spec()), metadata=metadata)
        watch: Any = running.stub.WatchStatus(api.WatchStatusRequest(name="a"), metadata=metadata)
        async for _ in watch:
            pass
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stub.ReadJob(api.ReadJobRequest(name="missing"))
        with pytest.raises(grpc.aio.AioRpcError):
            await running.stub.CreateJob(
                api.CreateJobRequest(name="b", spec=spec(start_error="broken"))
            )
    # The server sends what it has when it stops.
    rpcs = [span for span in collector.spans if span.name == "jobengine.v1.JobEngine/CreateJob"]
    good, bad = sorted(rpcs, key=lambda span: span.start_time_unix_nano)
    assert (good.trace_id.hex(), good.parent_span_id.hex()) == (TRACE, CALLERS_SPAN)
    assert good.kind == Span.SPAN_KIND_SERVER
    assert attributes(good) == {
        "rpc.system": "grpc",
        "rpc.service": "jobengine.v1.JobEngine",
        "rpc.method": "CreateJob",
        "rpc.grpc.status_code": 0,
    }
    engine = next(span for span in collector.spans if span.parent_span_id == good.span_id)
    assert (engine.name, engine.trace_id) == ("fake.create_job", good.trace_id)
    assert attributes(engine) == {"jobengine.engine": "fake", "jobengine.job": "a"}
    assert collector.one("jobengine.v1.JobEngine/WatchStatus").trace_id.hex() == TRACE
    assert attributes(bad)["rpc.grpc.status_code"] == grpc.StatusCode.INTERNAL.value[0]
    assert bad.status.code == 2
    missing = collector.one("jobengine.v1.JobEngine/ReadJob")
    assert attributes(missing)["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert missing.status.code == 0, "that is the caller's fault"
    assert {resource["service.name"] for resource in collector.resources} == {"jobengine"}


async def test_a_collector_that_is_away_holds_nobody_up(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    async with asyncio.timeout(30), start(MemoryEngine(), tracing=True) as running:
        assert await running.server.in_touch(10)
        await running.stub.CreateJob(api.CreateJobRequest(name="a", spec=spec()))
