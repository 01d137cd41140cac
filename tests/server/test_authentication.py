"""Who callers are, by tokens, JWTs and client certificates; and who is refused, without a leak."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server import files
from server.authentication import (
    AuthenticationConfig,
    Authenticator,
    BadTokenFile,
    JwtIssuer,
    jwks,
    jwts,
    keys,
    make_token,
)
from server.errors import IssuerUnavailable, Unauthenticated
from server.files import Changes
from server.identity import ANONYMOUS, Identity
from server.tls import ServerCertificate
from tests.certificates import Authority, Issued
from tests.server.secure import serving_methods

ISSUER = "https://issuer.example.org"
AUDIENCE = "jobengine"

RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
NEW_KEY = ec.generate_private_key(ec.SECP256R1())

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def jwk(key: PrivateKey, kid: str | None, **members: object) -> dict[str, object]:
    algorithm: Any = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }[next(kind for kind in PrivateKey.__args__ if isinstance(key, kind))]
    named = {} if kid is None else {"kid": kid}
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **named, **members}


def key_set(*entries: dict[str, object]) -> bytes:
    return json.dumps({"keys": entries}).encode()


ALL_KEYS = key_set(jwk(RSA_KEY, "rsa"), jwk(EC_KEY, "ec"), jwk(ED_KEY, "ed"))


def token(
    key: PrivateKey = EC_KEY,
    algorithm: str = "ES256",
    kid: str | None = "ec",
    *,
    without: str = "",
    **claims: object,
) -> str:
    now = time.time()
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 600, "iat": now}
    payload = {name: value for name, value in {**good, **claims}.items() if name != without}
    headers = {} if kid is None else {"kid": kid}
    return jwt.api_jws.encode(json.dumps(payload).encode(), key, algorithm, headers)


async def identify(authenticator: Authenticator, credential: str | None) -> Identity:
    header = () if credential is None else (("authorization", f"Bearer {credential}"),)
    return await authenticator.identify((("user-agent", "tests"), *header), {})


async def refusal(authenticator: Authenticator, credential: str | None) -> str:
    with pytest.raises(Unauthenticated) as refused:
        await identify(authenticator, credential)
    if credential:
        parts = [part for part in credential.split(".") if len(part) > 3]
        assert not any(part in str(refused.value) for part in parts)
    return str(refused.value)


@contextlib.asynccontextmanager
async def following(authenticator: Authenticator) -> AsyncIterator[None]:
    task = asyncio.create_task(authenticator.follow())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_newer(authenticator: Authenticator, version: int) -> None:
    while authenticator.version == version:
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOOK_SECONDS", 0.03)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What is logged meanwhile; no token is ever in it."""
    with structlog.testing.capture_logs() as entries:
        yield entries
    assert "eyJ" not in str(entries), "a JWT, or a part of one"
    assert "jobengine_" not in str(entries), "a token of a file"
    assert SECRET not in str(entries)


SECRET = "secret-of-a-file"


def events(entries: list[Any]) -> list[str]:
    return [entry["event"] for entry in entries]


class TokenFileOf:
    """A token file under test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens: dict[str, str] = {}

    def add(self, name: str) -> str:
        secret, digest = make_token()
        with self.path.open("a") as file:
            file.write(f"{name} {digest}\n")
        self.path.chmod(0o600)
        return secret


@pytest.fixture
def token_file(tmp_path: Path) -> TokenFileOf:
    return TokenFileOf(tmp_path / "tokens")


async def test_tokens_of_the_file(token_file: TokenFileOf, logs: list[Any]) -> None:
    first, other, second = (token_file.add(name) for name in ("ci", "ops.2", "ci"))
    with token_file.path.open("a") as file:
        file.write("\n  # a comment\nupper sha256:" + "AB" * 32 + " # another\n")
    authenticator = Authenticator(AuthenticationConfig(token_file=token_file.path))
    assert await identify(authenticator, first) == Identity(("token:ci",))
    assert await identify(authenticator, second) == Identity(("token:ci",))
    assert await identify(authenticator, other) == Identity(("token:ops.2",))
    assert "isn't known here" in await refusal(authenticator, make_token()[0])
    assert "isn't known here" in await refusal(authenticator, first[:-1])
    assert "brings no credential: send metadata" in await refusal(authenticator, None)
    assert not logs


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("Basic YWxpY2U6c2VjcmV0", "isn't `Bearer TOKEN`: send metadata `authorization: Bearer"),
        ("Bearer", "with one token"),
        ("Bearer ", "with one token"),
        ("Bearer a b", "with one token"),
        ("", "isn't `Bearer TOKEN`"),
        (b"Bearer x", "isn't ASCII"),
        ("Bearer \xe4", "isn't ASCII"),
        ("Bearer " + "x" * (16 * 1024 + 1), "longer than 16384"),
    ],
)
async def test_headers_that_are_refused(
    header: str | bytes, problem: str, token_file: TokenFileOf
) -> None:
    token_file.add("ci")
    authenticator = Authenticator(AuthenticationConfig(token_file=token_file.path, anonymous=True))
    with pytest.raises(Unauthenticated) as refused:
        await authenticator.identify((("authorization", header),), {})
    assert problem in str(refused.value)
    assert "YWxp" not in str(refused.value)


async def test_the_scheme_may_be_written_anyhow_and_stands_once(token_file: TokenFileOf) -> None:
    secret = token_file.add("ci")
    authenticator = Authenticator(AuthenticationConfig(token_file=token_file.path))
    header = ("authorization", f"bEARER  {secret}")
    assert (await authenticator.identify((header,), {})).name == "token:ci"
    with pytest.raises(Unauthenticated, match="more than one"):
        await authenticator.identify((header, header), {})


async def test_a_changed_token_file_is_read_again(token_file: TokenFileOf, logs: list[Any]) -> None:
    old = token_file.add("ci")
    authenticator = Authenticator(AuthenticationConfig(token_file=token_file.path))
    async with following(authenticator):
        version = authenticator.version
        new = token_file.add("ci")
        await until_newer(authenticator, version)
        assert (await identify(authenticator, old)).name == "token:ci"
        assert (await identify(authenticator, new)).name == "token:ci"

        version = authenticator.version
        lines = token_file.path.read_text().splitlines(keepends=True)
        token_file.path.write_text(lines[1])
        await until_newer(authenticator, version)
        await refusal(authenticator, old)
        assert (await identify(authenticator, new)).name == "token:ci"
    assert events(logs) == ["token_file_reloaded"] * 2


@pytest.mark.parametrize("damage", [f"ci {SECRET}\n", "sha256:" + "0" * 64, b"\xff", None])
async def test_the_last_good_tokens_count_while_the_file_is_malformed(
    damage: str | bytes | None, token_file: TokenFileOf, logs: list[Any]
) -> None:
    good = token_file.add("ci")
    authenticator = Authenticator(AuthenticationConfig(token_file=token_file.path))
    async with following(authenticator):
        whole = token_file.path.read_bytes()
        if damage is None:
            token_file.path.unlink()
        else:
            added = damage if isinstance(damage, bytes) else damage.encode()
            token_file.path.write_bytes(whole + added)
        while not logs:
            await asyncio.sleep(0.01)
        assert (await identify(authenticator, good)).name == "token:ci"
        (entry,) = logs
        assert entry["event"] == "token_file_refused"
        assert str(token_file.path) in entry["error"]
        assert isinstance(damage, bytes | None) or "line 2" in entry["error"]
        token_file.path.write_bytes(whole)
        token_file.path.chmod(0o600)
        version = authenticator.version
        token_file.add("more")
        await until_newer(authenticator, version)
    assert events(logs) == ["token_file_refused", "token_file_reloaded"]


def test_a_file_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    changes = Changes(path)
    assert [changes.there() for _ in range(3)] == [False, True, False]
    path.write_text("12")
    assert not changes.there()
    path.write_text("123")
    assert [changes.there() for _ in range(3)] == [False, True, False]
    replacement = tmp_path / "replacement"
    replacement.write_text("456")
    replacement.rename(path)
    assert [changes.there() for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        ("ci\n", "line 1 isn't NAME sha256:HEX"),
        ("# tokens\nci " + SECRET, "line 2 isn't NAME sha256:HEX"),
        ("ci sha256:abc", "line 1 isn't NAME"),
        ("c/i sha256:" + "0" * 64, "line 1: the name"),
        ("-ci sha256:" + "0" * 64, "line 1: the name"),
        ("x" * 64 + " sha256:" + "0" * 64, "line 1: the name"),
        ("a sha256:" + "0" * 64 + "\nb sha256:" + "0" * 64, "line 2 has the token of another"),
        (b"\xff\xfe", "isn't text"),
    ],
)
def test_what_is_wrong_with_a_token_file_is_said_at_the_start(
    content: str | bytes | None, problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "tokens"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadTokenFile, match=problem) as error:
        Authenticator(AuthenticationConfig(token_file=path))
    assert str(error.value).startswith(f"{path}: ")
    assert SECRET not in str(error.value)


def test_a_token_file_that_is_open_to_others_is_warned_of(
    token_file: TokenFileOf, logs: list[Any]
) -> None:
    token_file.add("ci")
    token_file.path.chmod(0o644)
    Authenticator(AuthenticationConfig(token_file=token_file.path))
    assert events(logs) == ["token_file_open_to_others"]


def test_made_tokens_are_random_and_can_be_known() -> None:
    secret, digest = make_token()
    assert secret.startswith("jobengine_")
    assert len(secret) >= 50
    assert digest == f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"
    assert make_token()[0] != secret


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_bytes(ALL_KEYS)
    return path


def of_file(path: Path, **settings: Any) -> Authenticator:
    issuer = JwtIssuer(issuer=ISSUER, audiences=(AUDIENCE, "other"), jwks=str(path), **settings)
    return Authenticator(AuthenticationConfig(jwt_issuers=(issuer,)))


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (RSA_KEY, "RS256", "rsa"),
        (RSA_KEY, "PS512", "rsa"),
        (EC_KEY, "ES256", "ec"),
        (ED_KEY, "EdDSA", "ed"),
        (EC_KEY, "ES256", None),
    ],
)
async def test_a_good_jwt_names_its_subject_and_groups(
    key: PrivateKey, algorithm: str, kid: str | None, key_file: Path
) -> None:
    authenticator = of_file(key_file)
    expires = int(time.time()) + 600
    credential = token(key, algorithm, kid, groups=["dev", "ops"], exp=expires)
    for _ in range(2):
        identity = await identify(authenticator, credential)
        assert identity.names == ("jwt:alice", "jwt-group:dev", "jwt-group:ops")
        assert identity.expires == expires + 30


async def test_a_service_account_of_kubernetes(key_file: Path) -> None:
    """The claims of a projected token; its key has no `alg`, its header no `typ`."""
    key_file.write_bytes(key_set(jwk(RSA_KEY, "rsa", use="sig", alg="RS256")))
    now = int(time.time())
    claims = {
        "aud": [AUDIENCE, "https://kubernetes.default.svc"],
        "exp": now + 3607,
        "iat": now,
        "iss": ISSUER,
        "jti": "6c8b3c66-7a1e-4dc1-ae43-a5ee8e6c6a9f",
        "kubernetes.io": {
            "namespace": "ci",
            "node": {"name": "node-1", "uid": "1b2f1a2e-8d3c-4bb5-9d0a-6f8a2d3c4e5f"},
            "pod": {"name": "runner-0", "uid": "2b2f1a2e-8d3c-4bb5-9d0a-6f8a2d3c4e5f"},
            "serviceaccount": {"name": "runner", "uid": "3b2f1a2e-8d3c-4bb5-9d0a-6f8a2d3c4e5f"},
            "warnafter": now + 3600,
        },
        "nbf": now,
        "sub": "system:serviceaccount:ci:runner",
    }
    credential = jwt.encode(claims, RSA_KEY, "RS256", {"kid": "rsa", "typ": ""})
    identity = await identify(of_file(key_file), credential)
    assert identity.names == ("jwt:system:serviceaccount:ci:runner",)


def by_hand(header: dict[str, object], secret: bytes = b"") -> str:
    """A token as no library would make it: unsigned, or with a shared secret."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 600}
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, claims)
    ]
    signature = hmac.digest(secret, b".".join(parts), "sha256") if secret else b""
    return b".".join((*parts, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


RSA_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def bad_tokens() -> list[tuple[str, str]]:
    """Tokens, and what is said of each. Made when they are needed: they are good for minutes."""
    now = time.time()
    return [
        (token(exp=now - 31), "has expired"),
        (token(nbf=now + 600), "isn't valid yet"),
        (token(iat=now + 600), "isn't valid yet"),
        (token(iss="https://elsewhere.example.org"), f"get a JWT of {ISSUER} for"),
        (token(iss=[ISSUER]), "isn't of an issuer that is trusted"),
        (token(aud="somebody"), f"for somebody else: get a JWT of {ISSUER}"),
        (token(aud=["a", "b"]), "for somebody else"),
        *((token(without=claim), "lacks one of the claims") for claim in ("exp", "aud", "sub")),
        (token(without="iss"), "isn't of an issuer that is trusted"),
        (token(exp="soon"), "malformed"),
        (token(exp=float("inf")), "malformed"),
        (token(sub=""), "printable"),
        (token(sub="ali\nce"), "printable"),
        (token(sub="x" * 513), "printable"),
        (token(groups={"a": 1}), "aren't a list"),
        (token(groups=["a", 1]), "printable"),
        (token(NEW_KEY), "signature is wrong"),
        (token(NEW_KEY, kid="new"), "published"),
        (token(kid="rsa"), "published"),
        (token(RSA_KEY, "RS256", "ec"), "published"),
        (by_hand({"alg": "none"}), "isn't signed in a way that is taken"),
        (by_hand({"alg": "none", "kid": "rsa"}), "isn't signed in a way that is taken"),
        (by_hand({"alg": "HS256", "kid": "rsa"}, RSA_PEM), "isn't signed in a way that is taken"),
        (by_hand({"alg": "RS256", "kid": "rsa"}, RSA_PEM), "signature is wrong"),
        (by_hand({"alg": ["RS256"], "kid": "rsa"}), "isn't signed in a way that is taken"),
        (by_hand({"alg": "RS256", "kid": ["rsa"]}), "malformed"),
        (by_hand({"kid": "rsa"}), "isn't signed in a way that is taken"),
        (f"{token().rpartition('.')[0]}.{token().rpartition('.')[2]}", "signature is wrong"),
        ("aaaa.bbbb.cccc", "malformed"),
        ("a.b", "isn't known here"),
        (f"{base64.b64encode(b'[' * 9000).decode()}.AAAA.AAAA", "malformed"),
    ]


PROBLEMS = [problem for _, problem in bad_tokens()]


@pytest.mark.parametrize("number", range(len(PROBLEMS)), ids=PROBLEMS)
async def test_a_jwt_that_is_not_good_is_refused(number: int, key_file: Path) -> None:
    credential, problem = bad_tokens()[number]
    assert problem in await refusal(of_file(key_file), credential)


async def test_clocks_may_differ_by_half_a_minute(key_file: Path) -> None:
    now = time.time()
    for credential in (token(exp=now - 20), token(nbf=now + 20), token(iat=now + 20)):
        identity = await identify(of_file(key_file), credential)
        assert identity.expires is not None
        assert identity.expires > now


async def test_an_issuer_may_be_narrowed_to_algorithms_and_have_another_groups_claim(
    key_file: Path,
) -> None:
    authenticator = of_file(key_file, algorithms=("ES256",), groups_claim="roles", label="corp")
    identity = await identify(authenticator, token(roles="dev", groups=["ops"], aud="other"))
    assert identity.names == ("jwt:corp:alice", "jwt-group:corp:dev")
    assert "use ES256" in await refusal(authenticator, token(RSA_KEY, "RS256", "rsa"))


@pytest.mark.parametrize(
    "entry",
    [
        jwk(EC_KEY, "ec", use="enc"),
        jwk(EC_KEY, "ec", key_ops=["sign"]),
        jwk(EC_KEY, "ec", alg="ES384"),
        jwk(EC_KEY, "ec", d="AAAA"),
        jwk(EC_KEY, "ec", x="AAAA"),
        {**jwk(EC_KEY, "ec"), "kid": 1},
        jwk(rsa.generate_private_key(65537, 1024), "weak"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "RSA", "kid": "empty"},
    ],
)
def test_keys_that_cannot_be_used_are_left_out(entry: dict[str, object]) -> None:
    found = keys.parse(key_set(entry, jwk(ED_KEY, "ed")), tuple(keys.ALGORITHMS))
    assert (found.kids, found.ignored) == (["ed"], 1)
    with pytest.raises(ValueError, match="no key"):
        keys.parse(key_set(entry), tuple(keys.ALGORITHMS))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 100_000])
def test_what_is_no_key_set_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="isn't a JSON Web Key Set"):
        keys.parse(raw, tuple(keys.ALGORITHMS))
    with pytest.raises(ValueError, match="more than 100"):
        keys.parse(key_set(*[jwk(EC_KEY, "ec")] * 101), tuple(keys.ALGORITHMS))


async def test_a_changed_key_file_is_read_again(key_file: Path, logs: list[Any]) -> None:
    authenticator = of_file(key_file)
    old, stays = token(), token(ED_KEY, "EdDSA", "ed")
    assert (await identify(authenticator, old)).name == "jwt:alice"
    async with following(authenticator):
        key_file.write_bytes(b'{"keys": [')
        while not logs:
            await asyncio.sleep(0.01)
        assert (await identify(authenticator, old)).name == "jwt:alice"
        version = authenticator.version
        key_file.write_bytes(key_set(jwk(NEW_KEY, "new"), jwk(ED_KEY, "ed")))
        await until_newer(authenticator, version)
        assert (await identify(authenticator, token(NEW_KEY, kid="new"))).name == "jwt:alice"
        assert (await identify(authenticator, stays)).name == "jwt:alice"
        assert "published" in await refusal(authenticator, old)
    assert events(logs) == ["jwks_refused", "jwks_reloaded"]


async def test_bad_tokens_make_no_good_one_forgotten(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwts, "MAX_REMEMBERED", 2)
    authenticator = of_file(key_file)
    (source,) = authenticator._tokens
    assert isinstance(source, jwts.Jwts)
    first, second, third = (token(sub=name) for name in ("a", "b", "c"))
    await identify(authenticator, first)
    await identify(authenticator, second)
    for _ in range(5):
        await refusal(authenticator, token(NEW_KEY))
    assert len(source._verified) == 2
    await identify(authenticator, first)
    await identify(authenticator, third)
    names = [entry.identity.name for entry in source._verified.values()]
    assert names == ["jwt:a", "jwt:c"], "the one least used is forgotten"


async def test_a_remembered_token_expires(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = of_file(key_file)
    credential = token(exp=time.time() - 28.5)
    ends = (await identify(authenticator, credential)).expires
    assert ends is not None
    while time.time() < ends:
        await asyncio.sleep(0.05)
    assert "has expired" in await refusal(authenticator, credential)


class KeyServer:
    """A real HTTP server with a key set; counts how often it is asked."""

    def __init__(self, authority: Authority | None = None, directory: Path | None = None) -> None:
        self.content = ALL_KEYS
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.authorization: str | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                assert self.path == "/keys", "redirects aren't followed"
                outer.authorization = self.headers["authorization"]
                outer.may_answer.wait(10)
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):  # who asked may have left
                    self.wfile.write(outer.content)

            def log_message(self, *args: object) -> None:
                del args

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        scheme = "http"
        if authority is not None and directory is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.server().write(directory))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://localhost:{self._server.server_address[1]}/keys"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with contextlib.closing(KeyServer()) as server:
        yield server


def of_url(url: str, **settings: Any) -> Authenticator:
    issuer = JwtIssuer(issuer=ISSUER, audiences=(AUDIENCE,), jwks=url, **settings)
    return Authenticator(AuthenticationConfig(jwt_issuers=(issuer,)))


async def test_a_flood_of_unknown_keys_is_no_flood_of_questions(key_server: KeyServer) -> None:
    authenticator = of_url(key_server.url)
    assert (await identify(authenticator, token())).name == "jwt:alice"
    flood = [token(NEW_KEY, kid=f"unknown-{number}") for number in range(300)]
    refusals = await asyncio.gather(*(refusal(authenticator, each) for each in flood))
    assert all("published" in each for each in refusals)
    assert key_server.asked <= 2


async def test_those_who_come_meanwhile_wait_for_one_answer(key_server: KeyServer) -> None:
    authenticator = of_url(key_server.url)
    key_server.may_answer.clear()
    calls = [asyncio.create_task(identify(authenticator, token())) for _ in range(50)]
    while not key_server.asked:
        await asyncio.sleep(0.01)
    calls[0].cancel()
    key_server.may_answer.set()
    names = [identity.name for identity in await asyncio.gather(*calls[1:])]
    assert names == ["jwt:alice"] * 49
    assert key_server.asked == 1


async def test_keys_come_and_go_at_the_url(
    key_server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "AT_MOST_EVERY_SECONDS", 0.0)
    authenticator = of_url(key_server.url)
    old, new = token(), token(NEW_KEY, kid="new")
    assert (await identify(authenticator, old)).name == "jwt:alice"
    version = authenticator.version
    await refusal(authenticator, new)
    key_server.content = key_set(jwk(EC_KEY, "ec"), jwk(NEW_KEY, "new"))
    assert (await identify(authenticator, new)).name == "jwt:alice"
    assert authenticator.version > version
    assert (await identify(authenticator, old)).name == "jwt:alice"

    monkeypatch.setattr(jwks, "REFRESH_SECONDS", 0.05)
    key_server.content = key_set(jwk(NEW_KEY, "new"))
    async with following(authenticator):
        await until_newer(authenticator, authenticator.version)
    assert "published" in await refusal(authenticator, old)
    assert (await identify(authenticator, new)).name == "jwt:alice"


@pytest.mark.parametrize("way", ["error", "no keys", "redirect", "too long", "closed"])
async def test_keys_stay_good_for_a_day_while_the_url_is_away(
    way: str, key_server: KeyServer, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "AT_MOST_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(jwks, "REFRESH_SECONDS", 0.05)
    authenticator = of_url(key_server.url)
    assert (await identify(authenticator, token())).name == "jwt:alice"
    key_server.asked = 0
    match way:
        case "error":
            key_server.status = 500
        case "no keys":
            key_server.content = b'{"keys": []}'
        case "redirect":
            key_server.status, key_server.headers = 302, {"Location": f"{key_server.url}/moved"}
        case "too long":
            key_server.content = ALL_KEYS + b" " * keys.MAX_BYTES
        case "closed":
            key_server.close()
    async with following(authenticator):
        while "jwks_fetch_failed" not in events(logs):
            await asyncio.sleep(0.01)
        assert (await identify(authenticator, token(sub="bob"))).name == "jwt:bob"
        version = authenticator.version
        monkeypatch.setattr(jwks, "KEEP_SECONDS", 0.0)
        await until_newer(authenticator, version)
        with pytest.raises(IssuerUnavailable, match="try again"):
            await identify(authenticator, token(sub="bob"))
    assert events(logs)[:3] == ["jwks_loaded", "jwks_fetch_failed", "jwks_dropped"]


async def test_https_with_an_authority_and_a_bearer_token(tmp_path: Path, logs: list[Any]) -> None:
    """As Kubernetes' API server wants it for /openid/v1/jwks."""
    authority, ca, bearer = Authority(), tmp_path / "ca.crt", tmp_path / "token"
    ca.write_bytes(authority.pem)
    bearer.write_text(f"{SECRET}\n")
    with contextlib.closing(KeyServer(authority, tmp_path)) as server:
        authenticator = of_url(server.url, jwks_ca=ca, jwks_token=bearer)
        assert (await identify(authenticator, token())).name == "jwt:alice"
        assert server.authorization == f"Bearer {SECRET}"
        ca.write_bytes(Authority("others").pem)
        with pytest.raises(IssuerUnavailable):
            await identify(of_url(server.url, jwks_ca=ca, jwks_token=bearer), token())
        assert "CERTIFICATE_VERIFY_FAILED" in logs[-1]["error"]
        ca.unlink()
        with pytest.raises(IssuerUnavailable):
            await identify(of_url(server.url, jwks_ca=ca), token())
        assert str(ca) in logs[-1]["error"]
        bearer.write_text(f"{SECRET}\n{SECRET}")
        with pytest.raises(IssuerUnavailable):
            await identify(of_url(server.url, jwks_token=bearer), token())
        assert str(bearer) in logs[-1]["error"]


async def test_several_issuers_have_labels(key_file: Path, tmp_path: Path) -> None:
    other_keys = tmp_path / "other.json"
    other_keys.write_bytes(key_set(jwk(NEW_KEY, "ec")))
    other = "https://other.example.org"
    authenticator = Authenticator(
        AuthenticationConfig(
            jwt_issuers=(
                JwtIssuer(issuer=ISSUER, audiences=(AUDIENCE,), jwks=str(key_file), label="a"),
                JwtIssuer(issuer=other, audiences=(AUDIENCE,), jwks=str(other_keys), label="b"),
            )
        )
    )
    assert (await identify(authenticator, token())).name == "jwt:a:alice"
    assert (await identify(authenticator, token(NEW_KEY, iss=other))).name == "jwt:b:alice"
    assert "signature is wrong" in await refusal(authenticator, token(NEW_KEY))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"issuer": ""}, "no `issuer`"),
        ({"audiences": ()}, "`audiences` is empty"),
        ({"jwks": "http://issuer.example.org/keys"}, "use https"),
        ({"jwks": "ftp://issuer.example.org/keys"}, "use https"),
        ({"jwks": "https://user:pass@issuer.example.org/keys"}, "https://HOST/PATH"),
        ({"algorithms": ("HS256",)}, "`algorithms`"),
        ({"algorithms": ("none",)}, "`algorithms`"),
        ({"algorithms": ()}, "`algorithms`"),
        ({"label": "a:b"}, "`label`"),
    ],
)
def test_an_issuer_that_cannot_work_is_refused(settings: dict[str, Any], problem: str) -> None:
    good = {"issuer": ISSUER, "audiences": (AUDIENCE,), "jwks": "https://issuer.example.org/keys"}
    with pytest.raises(ValueError, match=problem):
        JwtIssuer(**{**good, **settings})


def test_a_configuration_that_cannot_work_is_refused(tmp_path: Path) -> None:
    one = JwtIssuer(issuer=ISSUER, audiences=(AUDIENCE,), jwks="https://a.example.org")
    two = JwtIssuer(issuer="https://b", audiences=(AUDIENCE,), jwks="https://b.example.org")
    with pytest.raises(ValueError, match="nobody could call"):
        AuthenticationConfig()
    with pytest.raises(ValueError, match="need a `label` each"):
        AuthenticationConfig(jwt_issuers=(one, two))
    with pytest.raises(ValueError, match="there twice"):
        AuthenticationConfig(jwt_issuers=(one, one))
    with pytest.raises(ValueError, match=r"missing\.json: No such file"):
        of_file(tmp_path / "missing.json")


async def test_everybody_is_let_in_where_that_is_configured() -> None:
    authenticator = Authenticator(AuthenticationConfig(anonymous=True))
    assert await identify(authenticator, None) == ANONYMOUS
    assert "send no authorization header" in await refusal(authenticator, token())
    async with following(authenticator):
        assert authenticator.version == 0


@contextlib.asynccontextmanager
async def serving(
    authenticator: Authenticator, certificate: ServerCertificate
) -> AsyncIterator[int]:
    """A server whose only call answers with the caller's names."""

    async def who(request: bytes, context: Any) -> bytes:
        try:
            identity = await authenticator.identify(
                context.invocation_metadata(), context.auth_context()
            )
        except Unauthenticated as error:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        return json.dumps([*identity.names, identity.expires]).encode()

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Who": grpc.unary_unary_rpc_method_handler(who)
    }
    async with serving_methods(certificate, methods) as port:
        yield port


async def who_am_i(
    port: int, authority: Authority, client: Issued, *metadata: tuple[str, str]
) -> list[Any]:
    credentials = grpc.ssl_channel_credentials(authority.pem, client.key, client.cert)
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials, own) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test/Who")
        names: list[Any] = json.loads(await call(b"", metadata=metadata, timeout=20))
        return names


async def test_callers_are_known_by_their_certificates(
    tmp_path: Path, token_file: TokenFileOf
) -> None:
    authority, ca = Authority(), tmp_path / "ca.crt"
    ca.write_bytes(authority.pem)
    certificate = ServerCertificate(*authority.server().write(tmp_path), ca)
    secret = token_file.add("ci")
    authenticator = Authenticator(
        AuthenticationConfig(token_file=token_file.path, client_certificates=True)
    )
    client = authority.client(
        "uri:spiffe://example.org/ci", "dns:ci.example.org", "email:ci@example.org", "ip:10.0.0.1"
    )
    nameless = authority.client(common_name="root")
    bearer = ("authorization", f"Bearer {secret}")
    async with serving(authenticator, certificate) as port:
        assert await who_am_i(port, authority, client) == [
            "cert:spiffe://example.org/ci",
            "cert:ci.example.org",
            "cert:ci@example.org",
            client.not_after,
        ]
        assert (await who_am_i(port, authority, client, bearer))[0] == "token:ci"
        assert (await who_am_i(port, authority, nameless, bearer))[0] == "token:ci"
        for caller, metadata, problem in (
            (client, (("authorization", "Bearer bad"),), "isn't known here"),
            (client, (bearer, bearer), "more than one"),
            (nameless, (), "names nobody"),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match=problem) as refused:
                await who_am_i(port, authority, caller, *metadata)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_certificate_that_expires_while_connected_is_refused() -> None:
    authenticator = Authenticator(AuthenticationConfig(client_certificates=True))
    expired = {"x509_pem_cert": [Authority().client("dns:ci", seconds=-1).cert]}
    for context, problem in (
        (expired, "has expired"),
        ({"x509_pem_cert": [b"no certificate"]}, "malformed"),
        ({}, "call with a TLS client certificate"),
    ):
        with pytest.raises(Unauthenticated, match=problem):
            await authenticator.identify((), context)
