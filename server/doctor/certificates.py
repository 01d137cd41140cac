"""The server's certificate, and the authorities of its clients'."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from engines.findings import Finding, amiss, fine, many
from server.config import Config
from server.tls import ServerCertificate

DAY_SECONDS: Final = 24 * 3600.0

RENEW_SECONDS: Final = 14 * DAY_SECONDS
"""How long before its end a certificate should have been renewed."""

RENEW_PART: Final = 1 / 3
"""The same for one of a short life, which somebody renews by himself: this part of its life."""


def examine_certificate(config: Config) -> Iterator[Finding]:
    """Whether TLS can be served with it, as whom, and for how long; a ValueError says why not."""
    if config.tls_cert is None or config.tls_key is None:
        return
    ends = ServerCertificate(config.tls_cert, config.tls_key).not_after
    chain = x509.load_pem_x509_certificates(config.tls_cert.read_bytes())
    names = _names(chain[0])
    if not names:
        words = (
            "has no names (SANs), so that no client believes it: have one made with the server's"
        )
        yield amiss("certificate", words)
    yield _dated("certificate", f"for {', '.join(names) or 'nobody'}", chain[0], ends)
    if config.tls_key.stat().st_mode & 0o007:
        yield amiss("private key", f"{config.tls_key} is open to everybody: chmod 600, or 640")


def examine_authorities(config: Config) -> Iterator[Finding]:
    """Whose certificates of clients are taken, and for how long yet."""
    if config.client_ca is None:
        return
    for each in _authorities(config.client_ca):
        name = each.subject.rfc4514_string() or "an authority without a name"
        yield _dated("client authority", name, each, each.not_valid_after_utc.timestamp())


def _authorities(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}: name a PEM file that can be read") from error
    except ValueError as error:
        raise ValueError(f"{path}: holds no certificate, or a broken one: use PEM") from error


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in found.value]


def _dated(what: str, name: str, certificate: x509.Certificate, ends: float) -> Finding:
    """A certificate by its dates; its chain may end before it does."""
    now, began = time.time(), certificate.not_valid_before_utc.timestamp()
    left, day = ends - now, datetime.fromtimestamp(ends, UTC).date()
    if left <= 0:
        return amiss(what, f"{name}: expired on {day}: renew it")
    if began > now:
        return amiss(what, f"{name}: isn't valid yet: is this machine's clock right?")
    words = f"{name}; until {day} ({_days(left)})"
    if left < min(RENEW_SECONDS, RENEW_PART * (ends - began)):
        return amiss(what, f"{words}: renew it")
    return fine(what, words)


def _days(seconds: float) -> str:
    if seconds < 2 * DAY_SECONDS:
        return many(round(seconds / 3600), "hour")
    return many(int(seconds / DAY_SECONDS), "day")
