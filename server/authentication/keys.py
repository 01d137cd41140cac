"""The public keys of a JWT issuer, as its JSON Web Key Set has them."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ALGORITHMS: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""How tokens may be signed, and the kind of key and curve that each needs.

Those with a shared secret (HS256) aren't among them: who can verify could sign, and a public key
could be passed off as the secret.
"""

MAX_BYTES: Final = 1024 * 1024
MAX_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8192 + 1)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Key:
    """A key for one algorithm; `id` is the same for the same key in another set."""

    id: bytes
    algorithm: str
    public: PublicKey


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an issuer, by their `kid` and the algorithm that each is for.

    Which key a token needs is looked up by both. One that names an RSA key for ES256 finds none.
    """

    by_name: Mapping[tuple[str | None, str], Key]
    ids: frozenset[bytes]
    ignored: int = 0

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key of that name for the algorithm; without a name, the only one for it."""
        if kid is not None:
            return self.by_name.get((kid, algorithm))
        fitting = {key.id: key for key in self.by_name.values() if key.algorithm == algorithm}
        return next(iter(fitting.values())) if len(fitting) == 1 else None

    def knows(self, kid: str | None) -> bool:
        """Whether there is a key of that name, be it for whichever algorithm."""
        return kid is None or any(name == kid for name, _ in self.by_name)

    @property
    def kids(self) -> list[str]:
        """The names, for people."""
        return sorted({kid or "(without kid)" for kid, _ in self.by_name})


NO_KEYS: Final = Keys({}, frozenset())


def parse(raw: bytes, algorithms: Collection[str]) -> Keys:
    """The keys of a set that tokens signed with one of `algorithms` can need.

    Keys of other kinds are left out, as the standard wants it; so are private ones.

    Raises:
        ValueError: it isn't a set, or has no key that can be used.
    """
    entries = _entries(raw)
    if len(entries) > MAX_KEYS:
        raise ValueError(f"has {len(entries)} keys, more than {MAX_KEYS}")
    by_name: dict[tuple[str | None, str], Key] = {}
    ignored = 0
    for entry in entries:
        keys = tuple(_keys(entry, algorithms))
        ignored += not keys
        for kid, key in keys:
            by_name.setdefault((kid, key.algorithm), key)
    if not by_name:
        raise ValueError(f"has no key for {', '.join(algorithms)} among its {len(entries)}")
    return Keys(by_name, frozenset(key.id for key in by_name.values()), ignored)


def _entries(raw: bytes) -> list[object]:
    try:
        entries: object = json.loads(raw)["keys"]
    except (ValueError, RecursionError, TypeError, KeyError):
        entries = None
    if isinstance(entries, list):
        return cast("list[object]", entries)
    raise ValueError("isn't a JSON Web Key Set: an object with a list of `keys`")


def _keys(entry: object, algorithms: Collection[str]) -> Iterable[tuple[str | None, Key]]:
    """An entry of the set, for each algorithm that it can be used with."""
    if not isinstance(entry, dict):
        return
    jwk = cast("dict[str, Any]", entry)
    kid = jwk.get("kid")
    if not isinstance(kid, str | None) or not _for_signatures(jwk) or "d" in jwk:
        return
    text = json.dumps(jwk, sort_keys=True)
    for algorithm in algorithms:
        kind, curve = ALGORITHMS[algorithm]
        if jwk.get("kty") != kind or (curve and jwk.get("crv") != curve):
            continue
        if jwk.get("alg", algorithm) == algorithm and (public := _public_key(jwk, algorithm)):
            key_id = hashlib.sha256(f"{algorithm} {text}".encode()).digest()
            yield kid, Key(key_id, algorithm, public)


def _for_signatures(jwk: Mapping[str, Any]) -> bool:
    operations: object = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    )


def _public_key(jwk: dict[str, Any], algorithm: str) -> PublicKey | None:
    try:
        key = jwt.PyJWK(jwk, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    if isinstance(key, rsa.RSAPublicKey):
        return key if key.key_size in _RSA_BITS else None
    return key if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) else None
