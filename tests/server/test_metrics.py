"""What is counted, that it stays countable, and the HTTP port that tells it."""

import asyncio
import gzip
import http.client
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from grpc import StatusCode
from prometheus_client import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from engines.base import Reason, State, Status
from server import errors
from server.metrics import Endpoint, JobTally, Metrics, endpoint
from server.metrics.catalogue import CATALOGUE, FILES, REFUSALS, USUAL, Family
from server.metrics.histogram import Histogram

REASONS_PAGE = Path(__file__).resolve().parents[2] / "docs" / "reasons.md"
OPEN_METRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("fake", streams_limit=20)


def told(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def of(method: str, kind: str = "unary") -> dict[str, str]:
    return {
        "grpc_type": kind,
        "grpc_service": "jobengine.v1.JobEngine",
        "grpc_method": method,
    }


# -- calls ------------------------------------------------------------------------------------


def test_calls_by_how_they_end(metrics: Metrics) -> None:
    rpc = metrics.rpcs["ReadStatus"]
    with rpc.call():
        assert told(metrics, "grpc_server_started_total", **of("ReadStatus")) == 1
    with rpc.call() as call:
        call.code = StatusCode.NOT_FOUND
    with pytest.raises(ValueError), rpc.call() as call:  # noqa: PT012
        call.code = StatusCode.UNAVAILABLE
        raise ValueError
    with pytest.raises(asyncio.CancelledError), rpc.call():
        raise asyncio.CancelledError
    with pytest.raises(ValueError), rpc.call():
        raise ValueError
    assert told(metrics, "grpc_server_started_total", **of("ReadStatus")) == 5
    ends = {
        code: told(metrics, "grpc_server_handled_total", **of("ReadStatus"), grpc_code=code)
        for code in ("OK", "NotFound", "Unavailable", "Canceled", "Unknown", "Internal")
    }
    wanted = {"OK": 1, "NotFound": 1, "Unavailable": 1, "Canceled": 1, "Unknown": 1, "Internal": 0}
    assert ends == wanted
    assert told(metrics, "grpc_server_handling_seconds_count", **of("ReadStatus")) == 5
    assert told(metrics, "grpc_server_handling_seconds_count", **of("ReadJob")) == 0


def test_streams_are_open_until_they_end(metrics: Metrics) -> None:
    watch = metrics.rpcs["WatchJobs"]
    with watch.call(), watch.call():
        assert told(metrics, "jobengine_streams_open", rpc="WatchJobs") == 2
        assert told(metrics, "jobengine_streams_open", rpc="ReadLogs") == 0
    assert told(metrics, "jobengine_streams_open", rpc="WatchJobs") == 0
    handled = of("WatchJobs", "server_stream")
    assert told(metrics, "grpc_server_handled_total", **handled, grpc_code="OK") == 2
    # A stream's time says nothing: it has no histogram.
    assert told(metrics, "grpc_server_handling_seconds_count", **handled) is None


def test_a_histogram_counts_up_to_its_bounds() -> None:
    histogram = Histogram((1, 2.5))
    for value in (0.0, 1.0, 1.1, 2.5, 100.0):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2.0), ("2.5", 4.0), ("+Inf", 5.0)]
    assert histogram.sum == pytest.approx(104.6)


# -- jobs -------------------------------------------------------------------------------------


def status(state: State, reason: Reason = Reason.NONE, **times: float) -> Status:
    return Status(state=state, reason=reason, **times)  # type: ignore[arg-type]


def test_a_job_from_its_creation_to_its_removal(metrics: Metrics) -> None:
    now = time.time()
    waiting = status(State.PENDING, create_time=now)
    running = status(State.RUNNING, create_time=now, start_time=now + 2)
    done = status(
        State.SUCCEEDED, Reason.COMPLETED, create_time=now, start_time=now + 2, end_time=now + 30
    )

    def jobs(state: str, reason: str) -> float | None:
        return told(metrics, "jobengine_jobs", state=state, reason=reason)

    metrics.jobs.found(waiting)
    assert jobs("PENDING", "NONE") == 1
    metrics.jobs.moved(waiting, running)
    assert (jobs("PENDING", "NONE"), jobs("RUNNING", "NONE")) == (0, 1)
    assert told(metrics, "jobengine_job_start_seconds_sum") == pytest.approx(2)
    metrics.jobs.moved(running, done)
    assert jobs("SUCCEEDED", "COMPLETED") == 1
    metrics.jobs.removed(done, done)
    assert jobs("SUCCEEDED", "COMPLETED") == 0
    ended = told(metrics, "jobengine_jobs_ended_total", state="SUCCEEDED", reason="COMPLETED")
    assert ended == 1
    assert told(metrics, "jobengine_job_run_seconds_sum") == pytest.approx(28)
    assert told(metrics, "jobengine_job_start_seconds_count") == 1


def test_a_removal_may_be_the_end() -> None:
    tally = JobTally()
    running = status(State.RUNNING, create_time=1.0, start_time=2.0)
    tally.found(running)
    tally.removed(running, status(State.LOST, Reason.DELETED, start_time=2.0, end_time=9.0))
    assert tally.ended()[State.LOST, Reason.DELETED] == 1
    assert not any(tally.counts().values())


def test_what_was_over_before_is_not_counted_again() -> None:
    tally = JobTally()
    before, after = time.time() - 100, time.time() + 1
    tally.found(status(State.FAILED, Reason.SIGNALLED, start_time=before, end_time=before))
    tally.found(status(State.FAILED, Reason.SIGNALLED))
    tally.found(status(State.RUNNING, create_time=before, start_time=before))
    assert not any(tally.ended().values())
    assert tally.start_seconds.buckets()[-1] == ("+Inf", 0.0)
    # Created and ended while the engine was away, and seen only now.
    new = status(State.FAILED, Reason.SIGNALLED, create_time=after, start_time=after)
    tally.found(Status(**{**vars_of(new), "end_time": after + 1}))  # type: ignore[arg-type]
    assert tally.ended()[State.FAILED, Reason.SIGNALLED] == 1
    assert tally.start_seconds.buckets()[-1] == ("+Inf", 1.0)
    assert tally.counts()[State.FAILED, Reason.SIGNALLED] == 3


def vars_of(value: Status) -> dict[str, object]:
    return {name: getattr(value, name) for name in Status.__dataclass_fields__}


def test_clocks_that_differ() -> None:
    tally = JobTally()
    waiting = status(State.PENDING, create_time=10.0)
    tally.found(waiting)
    tally.moved(waiting, status(State.RUNNING, create_time=10.0, start_time=9.5))
    assert tally.start_seconds.sum == 0.0
    assert tally.start_seconds.buckets()[-1] == ("+Inf", 1.0)


def test_a_place_that_is_unusual_is_counted_too(metrics: Metrics) -> None:
    place = {"state": "FAILED", "reason": "NODE_LOST"}
    assert told(metrics, "jobengine_jobs", **place) is None
    metrics.jobs.found(status(State.FAILED, Reason.NODE_LOST))
    assert told(metrics, "jobengine_jobs", **place) == 1


def test_the_usual_places_are_those_of_the_page() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| ([A-Z]+) \|", REASONS_PAGE.read_text(), re.MULTILINE)
    listed = {(State[state], Reason[reason]) for reason, state in rows}
    assert set(USUAL) == listed | {(State.PENDING, Reason.NONE), (State.RUNNING, Reason.NONE)}


# -- the rest of the service ------------------------------------------------------------------


def test_contact_with_the_engine(metrics: Metrics) -> None:
    assert told(metrics, "jobengine_engine_in_touch") == 0
    assert told(metrics, "jobengine_engine_contact_age_seconds") is None
    in_touch = asyncio.Event()
    contact = SimpleNamespace(in_touch=in_touch, contact_time=None)
    metrics.follow(contact)
    assert told(metrics, "jobengine_engine_contact_age_seconds") is None
    in_touch.set()
    contact.contact_time = time.time() - 5
    assert told(metrics, "jobengine_engine_in_touch") == 1
    age = told(metrics, "jobengine_engine_contact_age_seconds")
    assert age is not None
    assert 5 <= age < 60


def test_files_that_are_read_again(metrics: Metrics) -> None:
    assert told(metrics, "jobengine_last_reload_successful", file="policy") is None
    policy = SimpleNamespace(fine=True, read_time=1000.0)
    metrics.watch_file("policy", policy)
    assert told(metrics, "jobengine_last_reload_successful", file="policy") == 1
    policy.fine = False
    assert told(metrics, "jobengine_last_reload_successful", file="policy") == 0
    read = told(metrics, "jobengine_last_reload_success_timestamp_seconds", file="policy")
    assert read == 1000
    with pytest.raises(ValueError, match="gossip"):
        metrics.watch_file("gossip", policy)


def test_refusals(metrics: Metrics) -> None:
    for error in (
        errors.PermissionDenied("create", "you may not create jobs"),
        errors.Reauthenticate(),
        errors.SlowReader(60),
        errors.ServerLimit("subject.requests_per_second", "too many", 0.5),
        # What is wrong with the request itself is seen in the codes.
        errors.InvalidRequest([]),
        errors.ServerStopping(),
    ):
        metrics.refused(error)
    counted = {
        reason: told(metrics, "jobengine_requests_refused_total", reason=reason)
        for reason in REFUSALS
    }
    seen = {"permission", "reauthenticate", "slow_reader_timeout", "subject.requests_per_second"}
    assert counted == {reason: float(reason in seen) for reason in REFUSALS}


def test_what_callers_do_makes_no_new_series(metrics: Metrics) -> None:
    before = len(generate_latest(metrics.registry).splitlines())
    metrics.refused(errors.Unauthenticated("the token of alice isn't known here"))
    metrics.refused(errors.PermissionDenied("create", "job my-secret-project"))
    metrics.refused(errors.ServerLimit("of a kind that nobody has thought of", "job my-secret"))
    assert len(generate_latest(metrics.registry).splitlines()) == before
    assert told(metrics, "jobengine_authentication_failures_total", reason="invalid") == 1
    assert told(metrics, "jobengine_requests_refused_total", reason="permission") == 1
    assert told(metrics, "jobengine_requests_refused_total", reason="other") == 1
    assert not re.search(b"secret|alice", generate_latest(metrics.registry))


def filled() -> Metrics:
    """Metrics of a server that has everything to tell."""
    metrics = Metrics("fake", streams_limit=20)
    for rpc in metrics.rpcs.values():
        for code in StatusCode:
            with rpc.call() as call:
                call.code = code
    for state in State:
        for reason in Reason:
            metrics.jobs.found(status(state, reason, end_time=time.time() + 1))
    for file in FILES:
        metrics.watch_file(file, SimpleNamespace(fine=True, read_time=time.time()))
    metrics.certificate_expires = lambda: time.time() + 86_400
    metrics.jobs_created = metrics.connections_lost = metrics.audit_lines = 3
    metrics.follow(SimpleNamespace(in_touch=asyncio.Event(), contact_time=time.time()))
    return metrics


@pytest.mark.parametrize("family", CATALOGUE, ids=lambda family: family.name)
def test_all_is_told_as_the_catalogue_says(family: Family) -> None:
    found = {metric.name: metric for metric in filled().registry.collect()}
    metric = found[family.name.removesuffix("_total")]
    assert metric.type == family.kind
    assert metric.documentation == family.meaning
    assert metric.unit == family.unit
    assert metric.samples
    for sample in metric.samples:
        labels = {key: value for key, value in sample.labels.items() if key != "le"}
        assert labels.keys() == family.labels.keys()
        for key, value in labels.items():
            assert not family.labels[key] or value in family.labels[key]


def test_the_number_of_series_is_bounded() -> None:
    assert sum(len(metric.samples) for metric in filled().registry.collect()) < 700


def test_servers_of_one_process_count_apart(metrics: Metrics) -> None:
    other = Metrics("fake", streams_limit=20)
    metrics.jobs_created += 1
    assert told(metrics, "jobengine_jobs_created_total") == 1
    assert told(other, "jobengine_jobs_created_total") == 0


# -- the HTTP port ----------------------------------------------------------------------------


class Port:
    """A served port. Its client blocks the event loop, which the port doesn't need."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.address = endpoint.address
        host, _, port = endpoint.address.rpartition(":")
        self._place = host.strip("[]"), int(port)

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(*self._place, timeout=10)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    def status(self, path: str, method: str = "GET") -> int:
        return self.ask(path, method)[0].status

    def connect(self) -> socket.socket:
        return socket.create_connection(self._place, timeout=10)

    def send(self, request: bytes) -> bytes:
        """Send bytes as they are; all that comes until the server ends the connection."""
        with self.connect() as client:
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture
async def readiness() -> SimpleNamespace:
    return SimpleNamespace(value=True)


@pytest.fixture
async def port(metrics: Metrics, readiness: SimpleNamespace) -> AsyncIterator[Port]:
    async with Endpoint("127.0.0.1:0", metrics, lambda: readiness.value) as endpoint:
        yield Port(endpoint)


async def test_plain_text(port: Port, metrics: Metrics) -> None:
    metrics.jobs_created = 7
    response, body = port.ask("/metrics?now")
    assert response.status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert int(response.headers["Content-Length"]) == len(body)
    families = {family.name: family for family in plain_text(body.decode())}
    assert families["jobengine_jobs_created"].samples[0].value == 7
    assert {"python_info", "process_cpu_seconds", "python_gc_collections"} <= families.keys()


async def test_open_metrics(port: Port) -> None:
    response, body = port.ask("/metrics", headers=OPEN_METRICS)
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    families = {family.name for family in open_metrics(body.decode())}  # type: ignore[no-untyped-call]
    assert {family.name.removesuffix("_total") for family in CATALOGUE} - families == {
        # What isn't known yet, or isn't used.
        "jobengine_engine_contact_age_seconds",
        "jobengine_tls_certificate_expiry_timestamp_seconds",
        "jobengine_last_reload_successful",
        "jobengine_last_reload_success_timestamp_seconds",
    } - families


async def test_compressed(port: Port) -> None:
    response, body = port.ask("/metrics", headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert b"jobengine_build_info" in gzip.decompress(body)


async def test_probes(port: Port, readiness: SimpleNamespace) -> None:
    assert port.status("/healthz") == port.status("/readyz") == 200
    readiness.value = False
    assert port.status("/healthz") == 200
    response, body = port.ask("/readyz")
    assert (response.status, body) == (503, b"Service Unavailable\n")


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_head_is_get_without_the_body(port: Port, path: str) -> None:
    response, body = port.ask(path, "HEAD")
    assert response.status == 200
    assert int(response.headers["Content-Length"]) > 0
    assert body == b""
    assert port.send(f"HEAD {path} HTTP/1.1\r\n\r\n".encode()).endswith(b"\r\n\r\n")


async def test_what_there_is_not(port: Port) -> None:
    for path in ("/", "/metrics/", "/Metrics", "/favicon.ico"):
        assert port.status(path) == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert port.status("/metrics", method) == 501


async def test_a_request_in_pieces(port: Port) -> None:
    with port.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"GET /heal", b"thz HTTP/1.1\r\nHost: a\r", b"\n\r", b"\n"):
            client.sendall(piece)
        assert client.recv(15) == b"HTTP/1.0 200 OK"


async def test_who_asks_without_a_pause_waits(
    port: Port, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long that the second page isn't made by itself within this test.
    monkeypatch.setattr(endpoint, "RESTS", 1e3)
    with port.connect() as first:
        first.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    with port.connect() as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert port.status("/healthz") == port.status("/readyz") == 200
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)


async def test_pages_after_one_another_are_all_new(port: Port, metrics: Metrics) -> None:
    for number in range(5):
        metrics.jobs_created = number
        assert f"jobengine_jobs_created_total {number}.0" in port.ask("/metrics")[1].decode()


async def test_a_client_that_has_said_all(port: Port) -> None:
    port.status("/metrics")  # so that the next one has to wait
    for path in ("metrics", "healthz"):
        with port.connect() as client:
            client.sendall(f"GET /{path} HTTP/1.1\r\n\r\n".encode())
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.0 200 OK")


async def test_one_request_on_each_connection(port: Port) -> None:
    request = b"GET /healthz HTTP/1.1\r\n\r\n"
    assert port.send(request * 2).count(b"HTTP/1.0 200") == 1


async def test_many_silent_clients_shut_nobody_out(port: Port) -> None:
    silent = [port.connect() for _ in range(endpoint.MAX_CONNECTIONS + 10)]
    try:
        for client in silent:
            client.sendall(b"GET /metr")
        assert port.status("/metrics") == 200
        # The oldest has made room, the newest may still ask.
        assert gone(silent[0])
        silent[-1].sendall(b"ics HTTP/1.1\r\n\r\n")
        assert silent[-1].recv(15) == b"HTTP/1.0 200 OK"
    finally:
        for client in silent:
            client.close()


def gone(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


async def test_a_client_that_takes_too_long(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "EXCHANGE_SECONDS", 0.2)
    async with Endpoint("127.0.0.1:0", metrics, lambda: True) as served:
        with Port(served).connect() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
            assert gone(client)


async def test_stopping_waits_for_nobody(metrics: Metrics) -> None:
    async with Endpoint("127.0.0.1:0", metrics, lambda: True) as served:
        client = Port(served).connect()
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert Port(served).status("/healthz") == 200
    with client:
        assert gone(client)
    with pytest.raises(ConnectionRefusedError):
        Port(served).connect()


async def test_a_failure_is_an_answer(metrics: Metrics) -> None:
    async with Endpoint("127.0.0.1:0", metrics, lambda: bool(1 / 0)) as served:
        assert Port(served).status("/readyz") == 500
        assert Port(served).status("/healthz") == 200


async def test_the_address_is_told(metrics: Metrics) -> None:
    for listen in ("127.0.0.1:0", "[::1]:0", "localhost:0"):
        async with Endpoint(listen, metrics, lambda: True) as served:
            host, _, port = served.address.rpartition(":")
            assert host == listen.rpartition(":")[0]
            assert int(port) > 0
            assert Port(served).status("/healthz") == 200


async def test_a_port_in_use(port: Port, metrics: Metrics) -> None:
    with pytest.raises(OSError, match=rf"--metrics-listen {port.address}.*in use.*port 0"):
        async with Endpoint(port.address, metrics, lambda: True):
            pass


@pytest.mark.parametrize("listen", ["", "9464", ":9464", "a:x", "a:70000", "a:²", "unix:/tmp/x"])
async def test_malformed_addresses(metrics: Metrics, listen: str) -> None:
    with pytest.raises(ValueError, match=r"--metrics-listen .* isn't host:port"):
        async with Endpoint(listen, metrics, lambda: True):
            pass
