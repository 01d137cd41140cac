"""Callers that are known by their TLS certificates."""

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from cryptography import x509

from server.errors import Unauthenticated
from server.identity import Identity

MAX_REMEMBERED: Final = 10_000


class ClientCertificates:
    """Names callers by all SANs of the certificate that their connection was opened with.

    gRPC has verified it by then. The common name isn't used: it says nothing of what it is the
    name of, authorities check it less, and TLS has given it up. What is verified once per
    connection is judged again here with every call, since it may expire while that is open.
    """

    takes = "a TLS client certificate of an authority that is trusted, with a SAN"

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Identity] = OrderedDict()

    def identify(self, auth_context: Mapping[str, Iterable[bytes]]) -> Identity | None:
        """Whose certificate it is; None: there is none.

        Raises:
            Unauthenticated: it names nobody, or has expired.
        """
        pem = next(iter(auth_context.get("x509_pem_cert", ())), None)
        if pem is None:
            return None
        identity = self._known.get(pem)
        if identity is None:
            identity = self._known[pem] = _identity(pem)
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        if identity.expires is not None and identity.expires <= time.time():
            raise Unauthenticated(
                "the client certificate has expired: connect with a new one", "expired"
            )
        return identity


def _identity(pem: bytes) -> Identity:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = _names(certificate)
    except (ValueError, x509.DuplicateExtension):
        raise Unauthenticated("the client certificate is malformed") from None
    if not names or not all(name and name.isprintable() for name in names):
        raise Unauthenticated(
            "the client certificate names nobody: it needs a SAN that is a URI, DNS name or e-mail "
            "address; its common name isn't used"
        )
    return Identity(
        tuple(f"cert:{name}" for name in names), certificate.not_valid_after_utc.timestamp()
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        sans = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    kinds = x509.UniformResourceIdentifier | x509.DNSName | x509.RFC822Name
    return [name.value for name in sans if isinstance(name, kinds)]
