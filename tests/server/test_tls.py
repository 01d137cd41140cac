"""TLS of the server: versions, and certificates that are exchanged while it serves."""

import asyncio
import contextlib
import itertools
import socket
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from server import tls
from server.tls import BadCertificate, ServerCertificate
from tests.certificates import Authority, Issued
from tests.server.secure import serving_methods

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
"""Without it, gRPC hands channels that are alike the same connection."""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@contextlib.asynccontextmanager
async def serving(certificate: ServerCertificate) -> AsyncIterator[int]:
    """A server with a unary call and a stream that echo; gives its port."""

    async def answer(request: bytes, context: Any) -> bytes:
        return request

    async def answers(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Echo": grpc.unary_unary_rpc_method_handler(answer),
        "Echoes": grpc.stream_stream_rpc_method_handler(answers),
    }
    async with serving_methods(certificate, methods) as port:
        yield port


def channel(port: int, authority: Authority, client: Issued | None = None) -> grpc.aio.Channel:
    own = (client.key, client.cert) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.pem, *own)
    return grpc.aio.secure_channel(f"localhost:{port}", credentials, OWN_CONNECTION)


def echo(open_channel: grpc.aio.Channel) -> "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]":
    return open_channel.unary_unary("/test/Echo")


def echoes(
    open_channel: grpc.aio.Channel,
) -> "grpc.aio.StreamStreamMultiCallable[bytes, bytes]":
    return open_channel.stream_stream("/test/Echoes")


async def call(port: int, authority: Authority, client: Issued | None = None) -> bytes:
    async with channel(port, authority, client) as open_channel:
        answer: bytes = await echo(open_channel)(b"hello", timeout=20)
        return answer


async def serial_number(port: int) -> int:
    """Of the certificate that a new connection gets."""
    return await asyncio.to_thread(_serial_number, port)


def _serial_number(port: int) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), 10) as connection,
        context.wrap_socket(connection) as secured,
    ):
        der = secured.getpeercert(binary_form=True)
        assert der is not None
        return x509.load_der_x509_certificate(der).serial_number


async def until_served(port: int, issued: Issued) -> None:
    while await serial_number(port) != issued.serial_number:
        await asyncio.sleep(0.05)


def client_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client of one TLS version that its own library lets do the old ones, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["http/1.1", "h2"])
    return context


def handshake(port: int, context: ssl.SSLContext) -> tuple[str | None, str | None]:
    with (
        socket.create_connection(("127.0.0.1", port), 10) as connection,
        context.wrap_socket(connection) as secured,
    ):
        return secured.version(), secured.selected_alpn_protocol()


@contextlib.contextmanager
def old_server(cert: Path, key: Path) -> Iterator[socket.socket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.load_cert_chain(cert, key)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        context.wrap_socket(listener, server_side=True) as secured,
    ):
        yield secured


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_todays_tls_is_spoken_and_h2_chosen(
    version: ssl.TLSVersion, authority: Authority, tmp_path: Path
) -> None:
    async with serving(ServerCertificate(*authority.server().write(tmp_path))) as port:
        spoken, protocol = await asyncio.to_thread(handshake, port, client_context(version))
    assert spoken == version.name.replace("_", ".")
    assert protocol == "h2"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_tls_is_refused(
    version: ssl.TLSVersion, authority: Authority, tmp_path: Path
) -> None:
    files = authority.server().write(tmp_path)
    context = client_context(version)
    with old_server(*files) as old:
        accepting = asyncio.create_task(asyncio.to_thread(old.accept))
        spoken, _ = await asyncio.to_thread(handshake, old.getsockname()[1], context)
        (await accepting)[0].close()
    assert spoken == version.name.replace("_", "."), "this client can't even speak it"
    async with serving(ServerCertificate(*files)) as port:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.to_thread(handshake, port, context)
        assert await serial_number(port)


async def test_a_new_certificate_is_served_and_no_call_is_dropped(
    authority: Authority, tmp_path: Path
) -> None:
    old, new = authority.server(), authority.server()
    certificate = ServerCertificate(*old.write(tmp_path), look_seconds=0.01)
    async with serving(certificate) as port, channel(port, authority) as open_channel:
        stream, unary = echoes(open_channel)(), echo(open_channel)
        renewed = asyncio.Event()

        async def keep_calling() -> int:
            calls = 0
            while not renewed.is_set():
                assert await unary(b"hello") == b"hello"
                calls += 1
            return calls

        calling = asyncio.create_task(keep_calling())
        await stream.write(b"before")
        assert await stream.read() == b"before"
        assert await serial_number(port) == old.serial_number
        with structlog.testing.capture_logs() as logs:
            new.write(tmp_path)
            await until_served(port, new)
        renewed.set()
        assert await calling > 0
        await stream.write(b"after")
        assert await stream.read() == b"after"
        await stream.done_writing()
        assert await call(port, authority) == b"hello"
    assert [entry["event"] for entry in logs] == ["tls_reloaded"]


async def test_handshakes_survive_an_exchange_before_each_of_them(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC frees what they use: without the pause before an exchange, this can end the process."""
    monkeypatch.setattr(tls, "_STILL_SECONDS", 0.02)
    certificate = ServerCertificate(*authority.server().write(tmp_path))
    others = [ServerCertificate(*authority.server().write(tmp_path))._good for _ in range(20)]
    exchanges = itertools.cycle(others)
    monkeypatch.setattr(
        certificate, "_look", lambda: setattr(certificate, "_good", next(exchanges))
    )
    async with serving(certificate) as port:
        for _ in range(4):
            answers = await asyncio.gather(*(call(port, authority) for _ in range(30)))
            assert answers == [b"hello"] * 30


def test_another_certificate_is_given_to_grpc_once_and_after_a_pause(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = ServerCertificate(*authority.server().write(tmp_path), look_seconds=0.0)
    fetchers: list[Any] = []
    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", lambda *a, **_: fetchers.append(a))
    for _ in range(2):
        certificate.server_credentials()
    authority.server().write(tmp_path)
    for initial, fetch in fetchers:
        began = time.monotonic()
        given = fetch()
        assert given not in (None, initial)
        assert time.monotonic() - began >= tls._STILL_SECONDS
        assert fetch() is None


async def test_links_may_be_moved_as_kubernetes_does(authority: Authority, tmp_path: Path) -> None:
    old, new = authority.server(), authority.server()
    for name, issued in (("1", old), ("2", new)):
        (tmp_path / name).mkdir()
        issued.write(tmp_path / name)
    data = tmp_path / "..data"
    data.symlink_to("1")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    certificate = ServerCertificate(tmp_path / "tls.crt", tmp_path / "tls.key", look_seconds=0.0)
    async with serving(certificate) as port:
        assert await serial_number(port) == old.serial_number
        (tmp_path / "..tmp").symlink_to("2")
        (tmp_path / "..tmp").rename(data)
        assert await serial_number(port) == new.serial_number


@pytest.mark.parametrize("damage", ["cert alone", "half a cert", "empty key", "no key", "expired"])
async def test_the_last_good_pair_is_served_while_the_files_are_bad(
    damage: str, authority: Authority, tmp_path: Path
) -> None:
    old, new = authority.server(), authority.server()
    cert, key = old.write(tmp_path)
    certificate = ServerCertificate(cert, key, look_seconds=0.0)
    async with serving(certificate) as port:
        with structlog.testing.capture_logs() as logs:
            match damage:
                case "cert alone":
                    cert.write_bytes(new.cert)
                case "half a cert":
                    cert.write_bytes(new.cert[: len(new.cert) // 2])
                case "empty key":
                    key.write_bytes(b"")
                case "no key":
                    key.unlink()
                case "expired":
                    authority.server(seconds=-1).write(tmp_path)
            for _ in range(3):
                assert await call(port, authority) == b"hello"
                assert await serial_number(port) == old.serial_number
        (entry,) = logs
        assert entry["event"] == "tls_reload_failed"
        assert str(tmp_path) in entry["error"]
        assert "PRIVATE KEY" not in str(logs)
        new.write(tmp_path)
        assert await serial_number(port) == new.serial_number
        assert certificate.not_after == new.not_after


async def test_only_clients_of_the_authority_are_let_in(
    authority: Authority, tmp_path: Path
) -> None:
    other, ca = Authority("others"), tmp_path / "ca.crt"
    ca.write_bytes(authority.pem)
    certificate = ServerCertificate(*authority.server().write(tmp_path), ca, look_seconds=0.0)
    ours, theirs = authority.client("dns:ours"), other.client("dns:theirs")
    async with serving(certificate) as port:
        assert await call(port, authority, ours) == b"hello"
        for stranger in (theirs, authority.client("dns:ours", seconds=-1), None):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(port, authority, stranger)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        ca.write_bytes(other.pem)
        assert await call(port, authority, theirs) == b"hello"
        with pytest.raises(grpc.aio.AioRpcError):
            await call(port, authority, ours)


def test_not_after_is_that_of_the_first_to_expire(authority: Authority, tmp_path: Path) -> None:
    leaf = authority.server(seconds=2000)
    shorter = Authority("between").server(seconds=1000)
    cert, key = leaf.write(tmp_path)
    cert.write_bytes(leaf.cert + shorter.cert)
    assert ServerCertificate(cert, key).not_after == shorter.not_after


def test_files_are_looked_at_once_a_second(authority: Authority, tmp_path: Path) -> None:
    old = authority.server(seconds=1000)
    certificate = ServerCertificate(*old.write(tmp_path))
    new = authority.server(seconds=2000)
    new.write(tmp_path)
    changed = time.monotonic()
    while certificate.not_after == old.not_after:
        time.sleep(0.01)
    assert certificate.not_after == new.not_after
    assert 0.5 < time.monotonic() - changed < 5


def test_an_expired_certificate_is_warned_of(authority: Authority, tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        ServerCertificate(*authority.server(seconds=-1).write(tmp_path))
    assert [entry["event"] for entry in logs] == ["tls_certificate_expired"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tls.crt", None, "No such file"),
        ("tls.crt", b"", "no certificate"),
        ("tls.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "broken"),
        ("tls.crt", b"x" * (1024 * 1024 + 1), "1 MiB"),
        ("tls.key", None, "No such file"),
        ("tls.key", b"no key", "no private key"),
        ("tls.key", "encrypted", "without a password"),
        ("tls.key", "ed25519", "RSA and ECDSA"),
        ("tls.key", "another", "isn't the key of"),
        ("ca.crt", None, "No such file"),
        ("ca.crt", b"nothing", "no certificate"),
    ],
)
def test_what_is_wrong_at_the_start_is_said_with_the_files_name(
    name: str, content: bytes | str | None, problem: str, authority: Authority, tmp_path: Path
) -> None:
    cert, key = authority.server().write(tmp_path)
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else a_key(content))
    with pytest.raises(BadCertificate, match=problem) as error:
        ServerCertificate(cert, key, tmp_path / "ca.crt")
    assert str(error.value).startswith(f"{tmp_path / name}: ")


def a_key(kind: str) -> bytes:
    pem, pkcs8 = Encoding.PEM, PrivateFormat.PKCS8
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, NoEncryption())
    another = Authority().server().key
    if kind == "another":
        return another
    key = load_pem_private_key(another, None)
    return key.private_bytes(pem, pkcs8, BestAvailableEncryption(b"password"))
