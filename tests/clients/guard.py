"""What a stage's server asks of its callers: TLS, tokens, a policy; and how that changes."""

import functools
import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc

from jobengine.v1.job_engine_pb2 import ReadEngineRequest, WatchJobsRequest, WatchJobsResponse
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub
from tests.certificates import Authority
from tests.faults import processes

_DEADLINE_SECONDS: Final = 15.0


class Guard:
    """The files that a server's options name, and what has to happen when they change."""

    def __init__(self, directory: Path, *, tls: bool, tokens: str, policy: str) -> None:
        self._directory = directory
        self._authority = Authority() if tls else None
        self._tokens = _read(tokens)
        directory.mkdir(parents=True)
        self.options: list[str] = []
        """Of `jobengine serve`."""
        if self._authority is not None:
            cert, key = self._authority.server().write(directory)
            self.options += ["--tls-cert", str(cert), "--tls-key", str(key)]
        if tokens:
            self.options += ["--tokens", str(self._write_tokens())]
        if policy:
            file = directory / "policy.toml"
            file.write_text(policy)
            self.options += ["--policy", str(file)]

    @property
    def authority(self) -> bytes:
        """Whose certificates are to be trusted, as PEM."""
        return b"" if self._authority is None else self._authority.pem

    def exchange_certificate(self, address: str) -> None:
        """Have the server show another certificate to those who connect from now on."""
        assert self._authority is not None, "the case has no TLS"
        issued = self._authority.server()
        issued.write(self._directory)
        host, _, port = address.rpartition(":")
        wanted = ssl.PEM_cert_to_DER_cert(issued.cert.decode())

        def shown() -> bool:
            pem = ssl.get_server_certificate((host, int(port)), timeout=_DEADLINE_SECONDS)
            return ssl.PEM_cert_to_DER_cert(pem) == wanted

        processes.until("the new certificate is shown", shown)

    def exchange_tokens(self, address: str, text: str) -> None:
        """Have the server take just these tokens; it has ended the streams of others then."""
        before, self._tokens = self._tokens, _read(text)
        with self._channel(address) as channel:
            stub = JobEngineStub(channel)
            # Streams are ended in the order in which they were opened: these are the last.
            withdrawn = [_open_watch(stub, token) for token in before.keys() - self._tokens.keys()]
            self._write_tokens()
            for watch in withdrawn:
                _read_until_withdrawn(watch)
            for token in self._tokens:
                taken = functools.partial(_is_taken, stub, token)
                processes.until(f"the token {token!r} is taken", taken)

    def _channel(self, address: str) -> grpc.Channel:
        options = (("grpc.use_local_subchannel_pool", 1),)
        if self._authority is None:
            return grpc.insecure_channel(address, options)
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(self.authority), options)

    def _write_tokens(self) -> Path:
        file = self._directory / "tokens"
        digests = {token: hashlib.sha256(token.encode()).hexdigest() for token in self._tokens}
        lines = (f"{name} sha256:{digests[token]}\n" for token, name in self._tokens.items())
        write(file, "".join(lines), mode=0o600)
        return file


def write(file: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file that others read, all at once."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(file)


def _read(text: str) -> dict[str, str]:
    """By token: whose it is. Of lines with a name and a token."""
    pairs = (line.split() for line in text.splitlines())
    return {token: name for name, token in pairs}


def _authorization(token: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {token}"),)


def _open_watch(stub: JobEngineStub, token: str) -> Iterator[WatchJobsResponse]:
    watch = stub.WatchJobs(
        WatchJobsRequest(), metadata=_authorization(token), timeout=_DEADLINE_SECONDS
    )
    next(watch)
    return watch


def _read_until_withdrawn(watch: Iterator[WatchJobsResponse]) -> None:
    try:
        for _ in watch:
            pass
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error
    else:
        raise AssertionError("a stream ended without a word, though its token was withdrawn")


def _is_taken(stub: JobEngineStub, token: str) -> bool:
    try:
        stub.ReadEngine(
            ReadEngineRequest(), metadata=_authorization(token), timeout=_DEADLINE_SECONDS
        )
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED, error
        return False
    return True
