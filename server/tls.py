"""The server's certificate: read again when its files change, while connections go on."""

import datetime as dt
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

LOOK_SECONDS: Final = 1.0
"""How often the files are looked at, at most."""

_STILL_SECONDS: Final = 0.1
"""How long no handshake may begin before gRPC is given another certificate.

gRPC frees what the last one was made into while a handshake that has just begun may still need it,
which ends the process (https://github.com/grpc/grpc/issues/36693). It asks for changes under a
lock that every handshake has to pass first: while the answer waits, those that have passed get
away. Of eight servers that changed their certificate before each of 600 handshakes, 4 to 100 at a
time, five were dead by then; with 20 ms of this, of five none was, and no handshake failed. What
it costs: where many connect in that moment, streams may stand still for so long, too.
"""

_MAX_BYTES: Final = 1024 * 1024

_log = structlog.get_logger()


class BadCertificate(ValueError):
    """A file of the certificate can't be used; the message names it, and says what to do."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class ServerCertificate:
    """The certificate in `cert` (with its chain) and its `key`, both PEM; gRPC serves TLS with it.

    With `client_ca` (PEM, one authority or more), clients must have a certificate of one of these.
    That it is asked for without being demanded, gRPC's Python API can't do.

    New handshakes get what the files hold then; connections keep what they began with. That goes
    for authorities, too: a client whose authority is taken away stays until its connection ends.
    While the files are unreadable, half-written or don't fit together, the last good ones count.
    """

    def __init__(
        self,
        cert: Path,
        key: Path,
        client_ca: Path | None = None,
        *,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Read the files.

        Raises:
            BadCertificate: they can't be used.
        """
        self._paths = (cert, key) if client_ca is None else (cert, key, client_ca)
        self._look_seconds = look_seconds
        self._lock = threading.Lock()
        self._good = self._read()
        self._refused: str | None = None
        self.read_time = time.time()
        self._next_look = time.monotonic() + look_seconds
        if self._good.not_after <= time.time():
            _log.warning("tls_certificate_expired", cert=str(cert), not_after=self._good.ends)

    @property
    def not_after(self) -> float:
        """When it expires, or the first certificate of its chain, in seconds since the epoch."""
        self._look()
        return self._good.not_after

    @property
    def fine(self) -> bool:
        """Whether the files were good when they were last looked at."""
        self._look()
        return self._refused is None

    def server_credentials(self) -> grpc.ServerCredentials:
        """For one port; another port needs another call, as gRPC asks once for both otherwise."""
        given = initial = self._good

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """Called on gRPC's threads before each handshake; None: no change."""
            nonlocal given
            self._look()
            good = self._good
            if good is given:
                return None
            time.sleep(_STILL_SECONDS)
            given = good
            return good.configuration

        return grpc.dynamic_ssl_server_credentials(
            initial.configuration,
            fetch,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            require_client_authentication=len(self._paths) > 2,
        )

    def _look(self) -> None:
        """Take what has changed; never raises, and never waits for another thread."""
        if time.monotonic() < self._next_look or not self._lock.acquire(blocking=False):
            return
        try:
            self._reload()
        except Exception as error:  # noqa: BLE001
            self._refuse(f"{type(error).__name__}: {error}")
        finally:
            self._next_look = time.monotonic() + self._look_seconds
            self._lock.release()

    def _reload(self) -> None:
        # The files are small, and a handshake costs a thousand times what reading them does.
        # Comparing their contents leaves nothing to what a file system says of changes.
        try:
            if self._contents() == self._good.contents:
                self._refused = None
                return
            good = self._read()
        except BadCertificate as error:
            self._refuse(str(error))
            return
        if good.not_after <= time.time():
            self._refuse(f"{self._paths[0]}: expired {good.ends}: renew it")
            return
        self._good, self._refused = good, None
        self.read_time = time.time()
        _log.info("tls_reloaded", cert=str(self._paths[0]), not_after=good.ends)

    def _refuse(self, problem: str) -> None:
        if problem != self._refused:
            _log.error("tls_reload_failed", error=problem, still_used_until=self._good.ends)
        self._refused = problem

    def _read(self) -> "_Good":
        """What the files hold.

        They may be exchanged between two reads; what doesn't fit together is therefore bad only
        if it is still the same when it is read again.
        """
        contents = self._contents()
        while True:
            try:
                return _check(self._paths, contents)
            except BadCertificate:
                if contents == (contents := self._contents()):
                    raise

    def _contents(self) -> tuple[bytes, ...]:
        return tuple(_read_bytes(path) for path in self._paths)


@dataclass(frozen=True, slots=True)
class _Good:
    """A certificate that fits its key, as gRPC takes them."""

    contents: tuple[bytes, ...] = field(repr=False)
    configuration: grpc.ServerCertificateConfiguration
    not_after: float

    @property
    def ends(self) -> str:
        """When it expires, for people."""
        return dt.datetime.fromtimestamp(self.not_after, dt.UTC).isoformat()


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadCertificate(
            path, f"{error.strerror or error}: name a PEM file that this user may read"
        ) from error
    if len(content) > _MAX_BYTES:
        raise BadCertificate(path, "more than 1 MiB: name a PEM file")
    return content


def _check(paths: tuple[Path, ...], contents: tuple[bytes, ...]) -> _Good:
    chain = _certificates(paths[0], contents[0])
    key = _private_key(paths[1], contents[1])
    if _public_bytes(key.public_key()) != _public_bytes(chain[0].public_key()):
        raise BadCertificate(
            paths[1],
            f"isn't the key of the first certificate in {paths[0]}: "
            "name the two that were made together, with the chain after the server's own",
        )
    roots = None
    if len(paths) > 2:
        _certificates(paths[2], contents[2])
        roots = contents[2]
    configuration = grpc.ssl_server_certificate_configuration([(contents[1], contents[0])], roots)
    ends = min(certificate.not_valid_after_utc for certificate in chain)
    return _Good(contents, configuration, ends.timestamp())


def _certificates(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(content)
        for certificate in certificates:
            certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(
            path, "holds no certificate, or a broken one: it has to be PEM, as CERTIFICATE blocks"
        ) from error
    return certificates


def _private_key(path: Path, content: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError as error:
        raise BadCertificate(path, "is encrypted: gRPC takes keys without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(
            path, "holds no private key, or a broken one: it has to be PEM, without a password"
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise BadCertificate(path, "gRPC serves with RSA and ECDSA keys alone: make one of these")
    return key


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
