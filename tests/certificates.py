"""Certificates for tests: authorities, and what they sign for servers and clients."""

import datetime as dt
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY_SECONDS = 24 * 3600.0

LOCALHOST = ("dns:localhost", "ip:127.0.0.1")
"""What a server on loopback is called."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key, as PEM."""

    certificate: x509.Certificate
    cert: bytes
    key: bytes

    @property
    def serial_number(self) -> int:
        return self.certificate.serial_number

    @property
    def not_after(self) -> float:
        return self.certificate.not_valid_after_utc.timestamp()

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Into tls.crt and tls.key, as a Kubernetes secret names them; gives both paths."""
        cert, key = directory / "tls.crt", directory / "tls.key"
        cert.write_bytes(self.cert)
        key.write_bytes(self.key)
        return cert, key


class Authority:
    """A CA that signs whatever it is asked to."""

    def __init__(self, name: str = "tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {name}")])
        builder = _builder(self._name, self._name, self._key, DAY_SECONDS).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def server(
        self, *names: str, common_name: str = "server", seconds: float = DAY_SECONDS
    ) -> Issued:
        """For a server; names as in `LOCALHOST`, which are the default."""
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._issue(names or LOCALHOST, common_name, usage, seconds)

    def client(
        self, *names: str, common_name: str = "client", seconds: float = DAY_SECONDS
    ) -> Issued:
        """For a client; names like uri:spiffe://example.org/ci, dns:ci.example.org, email:a@b."""
        return self._issue(names, common_name, ExtendedKeyUsageOID.CLIENT_AUTH, seconds)

    def _issue(
        self, names: Sequence[str], common_name: str, usage: x509.ObjectIdentifier, seconds: float
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = _builder(subject, self._name, key, seconds).add_extension(
            x509.ExtendedKeyUsage([usage]), critical=False
        )
        if names:
            sans = x509.SubjectAlternativeName([_general_name(name) for name in names])
            builder = builder.add_extension(sans, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Issued(certificate, certificate.public_bytes(Encoding.PEM), pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, seconds: float
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    ends = now + dt.timedelta(seconds=seconds)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - dt.timedelta(hours=1))
        .not_valid_after(ends)
    )


def _general_name(name: str) -> x509.GeneralName:
    kind, _, value = name.partition(":")
    if kind == "ip":
        return x509.IPAddress(ipaddress.ip_address(value))
    kinds: dict[str, Callable[[str], x509.GeneralName]] = {
        "dns": x509.DNSName,
        "uri": x509.UniformResourceIdentifier,
        "email": x509.RFC822Name,
    }
    return kinds[kind](value)
