"""The proxy tells requests apart, however they come, and counts those of a real client."""

from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.docker_jobs import connect
from benchmarks.proxy import Request, Splitter, counting
from tests.docker.fixtures import Reachable

CONVERSATION = (
    b"GET /v1.41/info HTTP/1.1\r\nHost: docker\r\n\r\n"
    b"POST /v1.41/volumes/create HTTP/1.1\r\nContent-Length: 22\r\n\r\n"
    b"GET /none HTTP/1.1\r\n\r\n"
    b"POST /v1.41/containers/x/start HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
)
REQUESTS = [
    ("GET", "/v1.41/info"),
    ("POST", "/v1.41/volumes/create"),
    ("POST", "/v1.41/containers/x/start"),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_requests_are_told_apart_in_whatever_pieces_they_come(size: int) -> None:
    splitter = Splitter()
    pieces = [CONVERSATION[at : at + size] for at in range(0, len(CONVERSATION), size)]
    assert [request for piece in pieces for request in splitter.feed(piece)] == REQUESTS


def test_a_body_of_unknown_length_is_refused() -> None:
    head = b"POST /v1.41/images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(ValueError, match="unknown length"):
        list(Splitter().feed(head))


def test_an_address_that_cant_be_counted_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="use unix:// or tcp://"),
        counting("ssh://elsewhere", tmp_path),
    ):
        pass


@pytest.mark.engine("docker")
def test_each_request_on_a_connection_is_counted(dockerd: Reachable, tmp_path: Path) -> None:
    with counting(dockerd.host, tmp_path) as proxy:
        with closing(connect(proxy.host)) as client:  # asks for the version
            for _ in range(3):
                client.ping()
            assert client.info()["ID"]
            events = client.events(decode=True)
            events.close()
        assert proxy.count(lambda request: request.target.endswith("/_ping")) == 3
        assert [request.method for request in proxy.requests] == ["GET"] * 6
        answered = [request for request in proxy.requests if "/events" not in request.target]
        assert all(request.began < request.answered for request in answered)
        assert proxy.settle(lambda request: True) == 6


def test_counts_only_what_is_wanted(tmp_path: Path) -> None:
    with counting("unix:///nowhere", tmp_path) as proxy:
        proxy.requests += [Request("GET", "/_ping", 1.0), Request("GET", "/info", 1.0)]
        assert proxy.count(lambda request: request.target == "/info") == 1
