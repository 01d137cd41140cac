"""Policies: what each rule lets through, what it doesn't, and that no trick gets around it."""

import dataclasses
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engines.base import Job, Status
from engines.errors import FieldViolation
from jobengine.v1 import job_pb2
from jobengine.v1.job_pb2 import JobSpec
from server.errors import InvalidRequest, PermissionDenied, to_status
from server.identity import ANONYMOUS, Identity
from server.index import Index
from server.ownership import OWNER_LABEL
from server.policy import (
    EVERYTHING,
    VERBS,
    Allow,
    Grant,
    InvalidPolicy,
    LimitExceeded,
    Limits,
    Policy,
    Rights,
    Verb,
    owner_label,
    read_policy,
)
from server.policy.patterns import any_matches, is_below, pattern_problem
from server.selector import matches, parse_selector
from server.validation import MAX_INSTANCES, check_name

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)

MINIMAL = '[[subjects]]\nname = "a"\nidentities = ["token:a"]\ngrants = []\n'

READ: frozenset[Verb] = frozenset({"read"})
CREATE: frozenset[Verb] = frozenset({"create"})
ALL: frozenset[Verb] = frozenset(VERBS)

Read = Callable[[str], Policy]

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine, how long one example takes says nothing."""


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a text as a policy file."""

    def read(text: str) -> Policy:
        (tmp_path / "policy.toml").write_text(text, encoding="utf-8")
        return read_policy(tmp_path / "policy.toml")

    return read


def caller(*names: str) -> Identity:
    return Identity(names)


def job(name: str, **labels: str) -> Job:
    return Job(name, labels={OWNER_LABEL if key == "owner" else key: labels[key] for key in labels})


def spec(**fields: object) -> JobSpec:
    return ParseDict(fields, JobSpec())


def rights(*, limits: Limits | None = None, allow: Allow | None = None) -> Rights:
    return Rights("", (Grant(ALL),), limits or Limits(), allow or Allow())


def refused(whose: Rights, wanted: JobSpec) -> list[str]:
    """The fields that may not be as they are."""
    try:
        whose.check_create("a", wanted)
    except PermissionDenied as error:
        assert error.verb == "create"
        return [violation.field for violation in error.violations]
    return []


def exceeded(whose: Rights, wanted: JobSpec) -> list[str]:
    """The fields that are too much."""
    try:
        whose.check_create("a", wanted)
    except LimitExceeded as error:
        return [violation.field for violation in error.violations]
    return []


# -- the file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_document_are_policies(read: Read, text: str) -> None:
    assert read(text).subjects


def test_the_complete_example(read: Read) -> None:
    policy = read(EXAMPLES[0])
    billing = policy.rights(caller("jwt:system:serviceaccount:billing:worker"))
    assert billing == Rights(
        "billing",
        (Grant(ALL, "billing-", own=True), Grant(READ, selector="team=shared")),
        Limits(
            jobs=100,
            cpu_millis=64_000,
            memory_bytes=256 << 30,
            gpu_count=4,
            instances=50,
            completions=1000,
            retries=10,
            max_timeout=7200,
            max_ttl=7 * 86_400,
            images=("registry.example/billing/*", "busybox:1.36"),
            requests_per_second=100.0,
            burst=200,
            streams=500,
        ),
        Allow(
            host_paths=("/data/billing",),
            secrets=("billing-*",),
            volumes=("billing-*",),
            users=("1000:1000",),
            keys=("billing.example/*",),
        ),
    )
    assert policy.rights(caller("cert:spiffe://corp/ns/ops/x")).everything
    assert policy.rights(caller("jwt:x", "jwt-group:other")).subject == "everybody"


def test_all_keys_are_documented() -> None:
    for cls in (Limits, Allow):
        for field in dataclasses.fields(cls):
            assert re.search(rf"^\| .*`{field.name}`", DOCUMENT, re.MULTILINE), field.name


def test_all_fields_of_a_spec_are_governed_or_named() -> None:
    start = DOCUMENT.index("## What is governed")
    named = set(re.findall(r"`([a-z_]+)`", DOCUMENT[start:]))
    sources = job_pb2.Mount.DESCRIPTOR.oneofs_by_name["source"].fields
    assert {field.name for field in [*JobSpec.DESCRIPTOR.fields, *sources]} <= named


MISTAKES = [
    ("", "subjects", "has none"),
    ("subjects = []", "subjects", "has none"),
    ("subject = []", "subject", "isn't known"),
    ("subjects = 1", "subjects", "array"),
    ("subjects = [1]", "subjects[0]", "table"),
    ("[[subjects", "", "is no TOML"),
    ("subjects = " + "[" * 5000, "", "is no TOML"),
    (MINIMAL + "x = 1", "subjects[0].x", "isn't known"),
    (MINIMAL.replace('name = "a"', ""), "subjects[0].name", "required"),
    (MINIMAL.replace('"a"', '""'), "subjects[0].name", "label"),
    (MINIMAL.replace('"a"', '"a b"'), "subjects[0].name", "label"),
    (MINIMAL.replace('"a"', f'"{"a" * 64}"'), "subjects[0].name", "label"),
    (MINIMAL.replace('"a"', '"a\\n"'), "subjects[0].name", "label"),
    (MINIMAL.replace('"a"', "1"), "subjects[0].name", "string"),
    (MINIMAL.replace('["token:a"]', "[]"), "subjects[0].identities", "empty"),
    (MINIMAL.replace('["token:a"]', '"token:a"'), "subjects[0].identities", "array"),
    (MINIMAL.replace("token:a", "tokens:a"), "subjects[0].identities[0]", "no identity"),
    (MINIMAL.replace("token:a", "token:"), "subjects[0].identities[0]", "no identity"),
    (MINIMAL.replace("token:a", "tok*"), "subjects[0].identities[0]", "no identity"),
    (MINIMAL.replace("token:a", "a"), "subjects[0].identities[0]", "no identity"),
    (MINIMAL.replace("token:a", ""), "subjects[0].identities[0]", "no identity"),
    (MINIMAL.replace("token:a", "token:*a"), "subjects[0].identities[0]", "'*'"),
    (MINIMAL.replace("token:a", "token:a**"), "subjects[0].identities[0]", "'*'"),
    (MINIMAL + MINIMAL, "subjects[1].name", "another subject"),
    (MINIMAL + MINIMAL.replace('"a"', '"b"'), "subjects[1].identities[0]", "never counts"),
    (MINIMAL.replace("grants = []", ""), "subjects[0].grants", "required"),
]


def grant_of(text: str) -> str:
    return MINIMAL.replace("grants = []", f"grants = [{{ {text} }}]")


def limits_of(text: str) -> str:
    return f"{MINIMAL}[subjects.limits]\n{text}"


def allow_of(text: str) -> str:
    return f"{MINIMAL}[subjects.allow]\n{text}"


MISTAKES += [
    (grant_of(text), f"subjects[0].grants[0]{place}", what)
    for text, place, what in [
        ("", ".verbs", "required"),
        ("verbs = []", ".verbs", "empty"),
        ('verbs = ["list"]', ".verbs[0]", "no verb"),
        ('verbs = ["read", "*"]', ".verbs[1]", "no verb"),
        ('verbs = "read"', ".verbs", "array"),
        ('verbs = ["read"], name = "a"', ".name", "isn't known"),
        ('verbs = ["read"], names = ""', ".names", "prefix"),
        ('verbs = ["read"], names = "a*"', ".names", "without"),
        ('verbs = ["read"], names = "-a"', ".names", "prefix"),
        ('verbs = ["read"], names = "A"', ".names", "prefix"),
        (f'verbs = ["read"], names = "{"a" * 41}"', ".names", "at most 40"),
        ('verbs = ["read"], own = "yes"', ".own", "true or false"),
        ('verbs = ["read"], selector = " "', ".selector", "empty"),
        ('verbs = ["read"], selector = "a in"', ".selector", "can't be read"),
    ]
]
MISTAKES += [
    (limits_of(text), f"subjects[0].limits.{place}", what)
    for text, place, what in [
        ("cpus = 1", "cpus", "isn't known"),
        ("jobs = -1", "jobs", "out of range"),
        ("jobs = 1.5", "jobs", "whole number"),
        ("jobs = true", "jobs", "whole number"),
        ('jobs = "1"', "jobs", "whole number"),
        (f"jobs = {1 << 63}", "jobs", "out of range"),
        ("max_timeout = 60", "max_timeout", "string"),
        ('max_timeout = "1w"', "max_timeout", "no time"),
        ('max_timeout = "1h30m"', "max_timeout", "no time"),
        ('max_timeout = "0s"', "max_timeout", "no time"),
        ('max_ttl = "-1s"', "max_ttl", "no time"),
        ('images = "a"', "images", "array"),
        ('images = ["a/**"]', "images[0]", "'**'"),
        ('images = ["a", "a[0-9]"]', "images[1]", "use letters"),
        ('images = ["a?"]', "images[0]", "use letters"),
        ('images = ["a//b"]', "images[0]", "use letters"),
        ('images = ["/a"]', "images[0]", "use letters"),
        ('images = ["a/"]', "images[0]", "use letters"),
        ('images = [""]', "images[0]", "use letters"),
        ('images = ["a/../b"]', "images[0]", "nothing would match"),
        ("requests_per_second = 0", "requests_per_second", "out of range"),
        ("requests_per_second = nan", "requests_per_second", "out of range"),
        ("requests_per_second = inf", "requests_per_second", "out of range"),
        (f"requests_per_second = {10**400}", "requests_per_second", "out of range"),
        ("requests_per_second = true", "requests_per_second", "number"),
        ("burst = 1", "burst", "requests_per_second"),
        ("requests_per_second = 1\nburst = 0", "burst", "nothing through"),
    ]
]
MISTAKES += [
    (allow_of(text), f"subjects[0].allow.{place}", what)
    for text, place, what in [
        ("secret = []", "secret", "isn't known"),
        ("engine_options = 1", "engine_options", "true or false"),
        ('host_paths = ["data"]', "host_paths[0]", "absolute"),
        ('host_paths = ["//data"]', "host_paths[0]", "absolute"),
        ('host_paths = ["/data/../etc"]', "host_paths[0]", "absolute"),
        ('host_paths = [""]', "host_paths[0]", "absolute"),
        ('users = ["10*"]', "users[0]", "whole users"),
        ('secrets = ["a b"]', "secrets[0]", "use letters"),
    ]
]


@pytest.mark.parametrize(("text", "place", "what"), MISTAKES)
def test_mistakes_are_refused_with_their_place(
    read: Read, tmp_path: Path, text: str, place: str, what: str
) -> None:
    with pytest.raises(InvalidPolicy) as raised:
        read(text)
    assert raised.value.place == place
    assert raised.value.file == tmp_path / "policy.toml"
    assert str(tmp_path / "policy.toml") in str(raised.value)
    assert what in str(raised.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(InvalidPolicy, match="No such file"):
        read_policy(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidPolicy, match="is no TOML"):
        read_policy(tmp_path / "bytes.toml")


def test_a_subject_without_tables_has_no_limits_and_reaches_nothing(read: Read) -> None:
    found = read(MINIMAL).rights(caller("token:a"))
    assert found == Rights("a", (), Limits(), Allow())
    assert not found.limits
    assert Limits(streams=0)


@pytest.mark.parametrize("text", EXAMPLES)
def test_equal_files_give_equal_rights(read: Read, text: str) -> None:
    first, again = read(text), read(text)
    assert first == again
    for who in (caller("token:billing"), caller("token:other"), caller("jwt-group:job-admins")):
        assert first.rights(who) == again.rights(who)
        assert hash(first.rights(who)) == hash(again.rights(who))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("team=shared", "team=other"),
        ("own = true", "own = false"),
        ('names = "billing-"', 'names = "billin"'),
        ("jobs = 100", "jobs = 99"),
        ('"billing-*"', '"billing*"'),
        ('"cancel", "delete"]', '"cancel"]'),
    ],
)
def test_a_difference_in_the_file_is_one_in_the_rights(read: Read, old: str, new: str) -> None:
    text = EXAMPLES[0]
    assert old in text
    before, after = read(text), read(text.replace(old, new))
    assert before.rights(caller("token:billing")) != after.rights(caller("token:billing"))


# -- who a caller is --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "names", "expected"),
    [
        ("token:a", ["token:a"], True),
        ("token:a", ["token:ab"], False),
        ("token:a", ["token:A"], False),
        ("token:a", ["jwt:a"], False),
        ("token:a", ["jwt:token:a"], False),
        ("token:a*", ["token:a"], True),
        ("token:a*", ["token:abc"], True),
        ("token:a*", ["jwt:token:a"], False),
        ("token:*", ["token:a"], True),
        ("token:*", ["jwt:a"], False),
        ("jwt:*", ["jwt-group:a"], False),
        ("jwt-group:ops", ["jwt:a", "jwt-group:dev", "jwt-group:ops"], True),
        ("jwt-group:ops", ["jwt:jwt-group:ops"], False),
        ("cert:spiffe://corp/ns/a/*", ["cert:spiffe://corp/ns/a/b"], True),
        ("cert:spiffe://corp/ns/a/*", ["cert:spiffe://corp/ns/ab"], False),
        ("*", ["token:a"], True),
        ("*", ["cert:a"], True),
        ("*", ["anonymous"], False),
        ("anonymous", ["anonymous"], True),
        ("anonymous", ["token:anonymous"], False),
        ("token:anonymous", ["anonymous"], False),
    ],
)
def test_identities(read: Read, pattern: str, names: list[str], expected: bool) -> None:
    found = read(MINIMAL.replace("token:a", pattern)).rights(Identity(tuple(names)))
    assert found.subject == ("a" if expected else "")


def test_the_first_subject_in_the_file_decides(read: Read) -> None:
    text = "".join(
        f'[[subjects]]\nname = "{name}"\nidentities = ["{identity}"]\ngrants = []\n'
        for name, identity in [("one", "jwt-group:x"), ("two", "jwt:a"), ("rest", "*")]
    )
    policy = read(text)
    assert policy.rights(caller("jwt:a", "jwt-group:x")).subject == "one"
    assert policy.rights(caller("jwt:a")).subject == "two"
    assert policy.rights(caller("jwt:b")).subject == "rest"


@pytest.mark.parametrize(
    ("first", "later", "hidden"),
    [
        ("token:a", "token:a", True),
        ("token:a*", "token:ab", True),
        ("token:a*", "token:ab*", True),
        ("token:a*", "token:a*", True),
        ("token:a*", "token:*", False),
        ("token:ab", "token:a*", False),
        ("token:ab", "token:a", False),
        ("*", "jwt:*", True),
        ("*", "*", True),
        ("*", "anonymous", False),
        ("jwt:*", "*", False),
        ("jwt:*", "jwt-group:x", False),
    ],
)
def test_identities_that_would_never_count(
    read: Read, first: str, later: str, hidden: bool
) -> None:
    text = MINIMAL.replace("token:a", first)
    text += MINIMAL.replace('"a"', '"b"').replace("token:a", later)
    if hidden:
        with pytest.raises(InvalidPolicy, match=r"subjects\[1\]\.identities\[0\]: never counts"):
            read(text)
    else:
        read(text)


def test_who_is_no_subject_may_do_nothing(read: Read) -> None:
    nobody = read(EXAMPLES[0]).rights(ANONYMOUS)
    assert nobody == Rights()
    assert not nobody.subject
    assert not any(nobody.may(verb, "a", {}) for verb in VERBS)
    assert not nobody.may_read(job("a", owner=""))
    with pytest.raises(PermissionDenied, match="you may create no jobs") as raised:
        nobody.check_create("a", JobSpec())
    assert raised.value.verb == "create"
    for verb in VERBS:
        with pytest.raises(PermissionDenied, match=f"you may {verb} no jobs"):
            nobody.require(verb)


# -- grants -----------------------------------------------------------------------------------


GRANT_CASES = [
    (Grant(ALL), "any", {}, True),
    (Grant(ALL, "b-"), "b-1", {}, True),
    (Grant(ALL, "b-"), "b-", {}, True),
    (Grant(ALL, "b-"), "b", {}, False),
    (Grant(ALL, "b-"), "ab-1", {}, False),
    (Grant(ALL, own=True), "x", {OWNER_LABEL: "me"}, True),
    (Grant(ALL, own=True), "x", {OWNER_LABEL: "Me"}, False),
    (Grant(ALL, own=True), "x", {OWNER_LABEL: "me2"}, False),
    (Grant(ALL, own=True), "x", {OWNER_LABEL: ""}, False),
    (Grant(ALL, own=True), "x", {}, False),
    (Grant(ALL, own=True), "me", {"owner": "me"}, False),
    (Grant(ALL, selector="team=a"), "x", {"team": "a"}, True),
    (Grant(ALL, selector="team=a"), "x", {"team": "b"}, False),
    (Grant(ALL, selector="!team"), "x", {}, True),
    (Grant(ALL, "b-", own=True, selector="t=a"), "b-1", {OWNER_LABEL: "me", "t": "a"}, True),
    (Grant(ALL, "b-", own=True, selector="t=a"), "b-1", {OWNER_LABEL: "me", "t": "b"}, False),
    (Grant(ALL, "b-", own=True, selector="t=a"), "b-1", {OWNER_LABEL: "you", "t": "a"}, False),
    (Grant(ALL, "b-", own=True, selector="t=a"), "c-1", {OWNER_LABEL: "me", "t": "a"}, False),
]


@pytest.mark.parametrize(("grant", "name", "labels", "expected"), GRANT_CASES)
def test_conditions_of_grants(
    grant: Grant, name: str, labels: Mapping[str, str], expected: bool
) -> None:
    mine = Rights("me", (grant,))
    assert mine.may_read(Job(name, labels=labels)) is expected
    for verb in VERBS:
        assert mine.may(verb, name, labels) is expected


@pytest.mark.parametrize("verb", VERBS)
def test_a_grant_gives_its_verbs_and_no_others(verb: Verb) -> None:
    mine = Rights("me", (Grant(frozenset({verb})),))
    assert [each for each in VERBS if mine.may(each, "x", {})] == [verb]
    assert mine.may_read(job("x")) is (verb == "read")
    assert not mine.everything
    mine.require(verb)


def test_one_grant_is_enough() -> None:
    mine = Rights("me", (Grant(ALL, "a-"), Grant(READ, selector="team=shared")))
    assert mine.may("read", "b", {"team": "shared"})
    assert not mine.may("delete", "b", {"team": "shared"})
    assert mine.may("delete", "a-b", {})


def test_everything_may_come_in_pieces() -> None:
    assert Rights("me", (Grant(READ, "a"), Grant(ALL - READ), Grant(READ))).everything
    assert not Rights("me", (Grant(ALL - READ), Grant(READ, "a"))).everything


NAMES = st.sampled_from(["", "a", "a-", "a-1", "b", "b-1", "ab"])
SELECTORS = st.sampled_from(
    [
        "",
        "team=a",
        "team in (a,b)",
        "team!=a",
        "team",
        "!team",
        "team=a,zone=x",
        "zone in (x,y),team in (b)",
        "team=a,team=b",
        f"{OWNER_LABEL}=you",
        f"{OWNER_LABEL} in (me,you)",
    ]
)
LABELS = st.fixed_dictionaries(
    {},
    optional={
        OWNER_LABEL: st.sampled_from(["me", "you", ""]),
        "team": st.sampled_from(["a", "b", "c"]),
        "zone": st.sampled_from(["x", "y"]),
    },
)
JOBS = st.lists(
    st.builds(Job, st.sampled_from([f"{p}{n}" for p in ("a-", "b-", "a") for n in "123"]),
              st.just(Status()), labels=LABELS),
    unique_by=lambda each: each.name,
)  # fmt: skip
GRANTS = st.lists(
    st.builds(
        Grant,
        st.frozensets(st.sampled_from(VERBS)),
        st.sampled_from(["", "a", "a-", "b-"]),
        st.booleans(),
        SELECTORS,
    ),
    max_size=4,
).map(tuple)


@unhurried
@given(GRANTS, JOBS, SELECTORS)
def test_narrowing_a_selector_loses_nothing_and_shows_nothing_else(
    grants: tuple[Grant, ...], jobs: Sequence[Job], text: str
) -> None:
    mine, selector = Rights("me", grants), parse_selector(text)
    expected = {
        each.name
        for each in jobs
        if (selector is None or selector(each.labels)) and mine.may("read", each.name, each.labels)
    }
    wanted = mine.narrow(selector)
    assert {each.name for each in jobs if matches(wanted, each)} == expected
    assert all(wanted is None or wanted(each.labels) for each in jobs if each.name in expected)

    index = Index()
    for each in jobs:
        index.add(each)
    names = index.candidates(wanted, (), "")
    if names is not None:
        found = list(names)
        assert expected <= set(found)
        assert found == sorted(set(found))


@unhurried
@given(JOBS, st.sampled_from(["", "a-"]), SELECTORS)
def test_own_never_shows_what_is_somebody_elses(
    jobs: Sequence[Job], names: str, selector: str
) -> None:
    mine = Rights("me", (Grant(ALL, names, own=True, selector=selector),))
    wanted = mine.narrow(None)
    for each in jobs:
        if mine.may_read(each) or matches(wanted, each):
            assert each.labels[OWNER_LABEL] == "me"
    assert wanted is not None
    assert all(way[OWNER_LABEL] <= {"me"} for way in wanted.ways())


def test_what_narrowing_requires() -> None:
    def ways(*grants: Grant, asked: str = "") -> list[dict[str, set[str]]]:
        wanted = Rights("me", grants).narrow(parse_selector(asked))
        assert wanted is not None
        return [{key: set(values) for key, values in way.items()} for way in wanted.ways()]

    own, shared = Grant(READ, own=True), Grant(READ, selector="team in (a,b)")
    assert ways(own) == [{OWNER_LABEL: {"me"}}]
    assert ways(own, asked="team=a") == [{OWNER_LABEL: {"me"}, "team": {"a"}}]
    assert ways(own, asked=f"{OWNER_LABEL}=you") == [{OWNER_LABEL: set()}]
    assert ways(shared, asked="team in (b,c)") == [{"team": {"b"}}]
    assert ways(own, shared) == [{OWNER_LABEL: {"me"}}, {"team": {"a", "b"}}]
    assert ways(own, Grant(READ, "a-")) == [{OWNER_LABEL: {"me"}}, {}]
    assert ways(own, Grant(ALL - READ)) == [{OWNER_LABEL: {"me"}}]
    assert ways(Grant(ALL - READ)) == ways() == []


def test_who_reads_everything_has_its_selector_as_it_is() -> None:
    selector = parse_selector("team=a")
    mine = Rights("me", (Grant(READ, own=True), Grant(READ)))
    assert mine.narrow(selector) is selector
    assert mine.narrow(None) is None


# -- creating ---------------------------------------------------------------------------------


def owned(by: str, **fields: object) -> JobSpec:
    made = spec(**fields)
    made.labels[OWNER_LABEL] = by
    return made


def test_creating_by_name_and_labels() -> None:
    mine = Rights("me", (Grant(CREATE, "me-", own=True, selector="team in (a,b)"),))
    mine.check_create("me-1", owned("me", labels={"team": "a"}))
    for name, labels in [("you-1", {"team": "a"}), ("me-1", {"team": "c"}), ("me-1", {})]:
        with pytest.raises(PermissionDenied, match=f"may not create job '{name}'") as raised:
            mine.check_create(name, owned("me", labels=labels))
        assert raised.value.verb == "create"
        assert raised.value.violations == ()
        assert "named 'me-' and more, of your own, with labels that match" in str(raised.value)


@pytest.mark.parametrize("subject", ["me", ""])
@pytest.mark.parametrize("grant", [Grant(ALL), Grant(ALL, own=True)])
@pytest.mark.parametrize("owner", ["you", "", None])
def test_a_forged_owner_is_refused(subject: str, grant: Grant, owner: str | None) -> None:
    if (owner or "") == subject:
        return
    wanted = JobSpec() if owner is None else owned(owner)
    for mine in (Rights(subject, (grant,)), Rights(subject, (grant,), allow=None)):
        with pytest.raises(PermissionDenied, match=OWNER_LABEL):
            mine.check_create("a", wanted)


def test_names_that_the_server_makes() -> None:
    longest = "a" * 40
    assert Rights("me", (Grant(READ, "r-"), Grant(CREATE, longest))).name_prefix == longest
    assert Rights("me", (Grant(CREATE), Grant(CREATE, "b-"))).name_prefix == ""
    assert Rights("me", (Grant(READ, "r-"),)).name_prefix == ""
    assert not check_name(f"{longest}{'0' * 16}-{MAX_INSTANCES - 1}")


def test_what_is_not_allowed_comes_before_what_is_too_much() -> None:
    mine = rights(limits=Limits(instances=1))
    wanted = spec(parallelism=2, completions=2, user="root", engineOptions={})
    assert refused(mine, wanted) == ["spec.engine_options", "spec.user"]
    wanted.ClearField("user")
    wanted.ClearField("engine_options")
    assert exceeded(mine, wanted) == ["spec.parallelism"]


@pytest.mark.parametrize(
    ("fields", "allow", "expected"),
    [
        ({}, Allow(), []),
        ({"engineOptions": {}}, Allow(), ["spec.engine_options"]),
        ({"engineOptions": {"a": 1}}, Allow(), ["spec.engine_options"]),
        ({"engineOptions": {"a": 1}}, Allow(engine_options=True), []),
        ({"user": "root"}, Allow(), ["spec.user"]),
        ({"user": "1000:1000"}, Allow(users=("1000:1000",)), []),
        ({"user": "1000"}, Allow(users=("1000:1000",)), ["spec.user"]),
        ({"user": "1000:0"}, Allow(users=("1000",)), ["spec.user"]),
        ({"user": "01000"}, Allow(users=("1000",)), ["spec.user"]),
        ({}, Allow(users=("1000",)), ["spec.user"]),
        ({}, Allow(users=("", "1000")), []),
        ({"user": "0:0"}, Allow(users=("*",)), []),
        ({}, Allow(users=("*",)), []),
        (
            {"secretEnv": {"A": {"name": "b-x", "key": "k"}, "B": {"name": "a", "key": "k"}}},
            Allow(secrets=("b-*",)),
            ["spec.secret_env['B'].name"],
        ),
        ({"secretEnv": {"A": {"name": "a", "key": "k"}}}, Allow(), ["spec.secret_env['A'].name"]),
        ({"imagePullSecret": "a"}, Allow(), ["spec.image_pull_secret"]),
        ({"imagePullSecret": "a"}, Allow(secrets=("a",)), []),
        ({"mounts": [{"target": "/a", "secret": "a"}]}, Allow(), ["spec.mounts[0].secret"]),
        ({"mounts": [{"target": "/a", "secret": "a"}]}, Allow(secrets=("*",)), []),
        ({"mounts": [{"secret": "../a"}]}, Allow(secrets=("*",)), ["spec.mounts[0].secret"]),
        ({"mounts": [{"target": "/a", "volume": "v"}]}, Allow(), ["spec.mounts[0].volume"]),
        ({"mounts": [{"target": "/a", "volume": "v"}]}, Allow(volumes=("v",)), []),
        ({"mounts": [{"volume": "/"}]}, Allow(volumes=("*",)), ["spec.mounts[0].volume"]),
        ({"mounts": [{"target": "/a", "configMap": "c"}]}, Allow(), ["spec.mounts[0].config_map"]),
        ({"mounts": [{"target": "/a", "configMap": "c"}]}, Allow(config_maps=("c",)), []),
        ({"mounts": [{"target": "/a", "emptyDirectory": {}}]}, Allow(), []),
        (
            {"mounts": [{"target": "/a", "volume": "v"}, {"target": "/b", "hostPath": "/etc"}]},
            Allow(volumes=("v",), host_paths=("/data",)),
            ["spec.mounts[1].host_path"],
        ),
        ({"labels": {"team": "a"}, "annotations": {"note": "b"}}, Allow(), []),
        ({"labels": {"x.io/queue": "a"}}, Allow(), ["spec.labels['x.io/queue']"]),
        ({"labels": {"x.io/queue": "a"}}, Allow(keys=("x.io/*",)), []),
        ({"annotations": {"y.io/a": "a"}}, Allow(keys=("x.io/*",)), ["spec.annotations['y.io/a']"]),
    ],
)  # fmt: skip
def test_what_is_shared(fields: dict[str, object], allow: Allow, expected: list[str]) -> None:
    assert refused(rights(allow=allow), spec(**fields)) == expected
    assert refused(Rights("", (Grant(ALL),), allow=None), spec(**fields)) == []


LIMIT_CASES: list[tuple[dict[str, object], Limits, list[str]]] = [
    ({}, Limits(), []),
    ({}, Limits(cpu_millis=1000), ["spec.resources.cpu_millis"]),
    ({}, Limits(memory_bytes=1000), ["spec.resources.memory_bytes"]),
    ({}, Limits(gpu_count=0), []),
    ({"resources": {"gpuCount": 1}}, Limits(gpu_count=0), ["spec.resources.gpu_count"]),
    ({"resources": {"cpuMillis": 1000}}, Limits(cpu_millis=1000), []),
    ({"resources": {"cpuMillis": 1001}}, Limits(cpu_millis=1000), ["spec.resources.cpu_millis"]),
    ({"resources": {"cpuMillis": -1}}, Limits(cpu_millis=1000), ["spec.resources.cpu_millis"]),
    (
        {"resources": {"cpuMillis": 500}, "parallelism": 2, "completions": 9},
        Limits(cpu_millis=1000),
        [],
    ),
    (
        {"resources": {"memoryBytes": 1 << 50}, "parallelism": 3, "completions": 3},
        Limits(memory_bytes=1 << 51),
        ["spec.resources.memory_bytes"],
    ),
    ({}, Limits(instances=0), ["spec.parallelism"]),
    ({}, Limits(instances=1, completions=1, retries=0), []),
    ({"parallelism": 3, "completions": 4}, Limits(instances=2), ["spec.parallelism"]),
    ({"parallelism": 3, "completions": 4}, Limits(completions=3), ["spec.completions"]),
    ({"maxRetries": 1}, Limits(retries=0), ["spec.max_retries"]),
    ({}, Limits(max_timeout=60), ["spec.timeout"]),
    ({"timeout": "60s"}, Limits(max_timeout=60), []),
    ({"timeout": "60.000000001s"}, Limits(max_timeout=60), ["spec.timeout"]),
    ({"timeout": "61s"}, Limits(max_timeout=60), ["spec.timeout"]),
    ({}, Limits(max_ttl=60), ["spec.ttl_after_finished"]),
    ({"ttlAfterFinished": "0s"}, Limits(max_ttl=60), []),
    ({"ttlAfterFinished": "61s"}, Limits(max_ttl=60), ["spec.ttl_after_finished"]),
    (
        {"parallelism": 2, "completions": 2},
        Limits(instances=1, completions=1, max_timeout=1),
        ["spec.parallelism", "spec.completions", "spec.timeout"],
    ),
]


@pytest.mark.parametrize(("fields", "limits", "expected"), LIMIT_CASES)
def test_limits(fields: dict[str, object], limits: Limits, expected: list[str]) -> None:
    assert exceeded(rights(limits=limits), spec(**fields)) == expected


def test_what_callers_are_told() -> None:
    too_much = LimitExceeded([FieldViolation("spec.timeout", "is too long")])
    code, status = to_status(too_much)
    assert isinstance(too_much, InvalidRequest)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert [violation.field for violation in bad.field_violations] == ["spec.timeout"]

    with pytest.raises(PermissionDenied) as raised:
        rights(allow=Allow(secrets=("a-*", "b"))).check_create("x", spec(imagePullSecret="c"))
    code, status = to_status(raised.value)
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert status.message == "spec.image_pull_secret: you may name only a-*, b"
    assert any(detail.Unpack(bad) for detail in status.details)


# -- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("busybox", "busybox", True),
        ("busybox", "busybox:1", False),
        ("busybox", "Busybox", False),
        ("busybox", "docker.io/library/busybox", False),
        ("busybox:*", "busybox:1.36", True),
        ("busybox:*", "busybox", False),
        ("busybox:*", "busybox:5000/evil/x", False),
        ("reg.example/b/*", "reg.example/b/app:1", True),
        ("reg.example/b/*", "reg.example/b/a/b/c@sha256:0a", True),
        ("reg.example/b/*", "reg.example/b", False),
        ("reg.example/b/*", "reg.example/b/", False),
        ("reg.example/b/*", "reg.example/b/..", False),
        ("reg.example/b/*", "reg.example/b/../other", False),
        ("reg.example/b/*", "reg.example/b/./x", False),
        ("reg.example/b/*", "reg.example/b//x", False),
        ("reg.example/b/*", "reg.example/b/x/", False),
        ("reg.example/b/*", "reg.example/b-evil/x", False),
        ("reg.example/b/*", "evil.example/reg.example/b/x", False),
        ("reg.example/b/*", "reg.example.evil/b/x", False),
        ("reg.example/b/*", "reg.example:5000/b/x", False),
        ("reg.example/b/*", "regXexample/b/x", False),
        ("reg.example/b/*", "https://reg.example/b/x", False),
        ("reg.example/b/*", "reg.example/b/x\n", False),
        ("reg.example/b/*", " reg.example/b/x", False),
        ("reg.example/b/*", "reg.example/b/%2e%2e/x", False),
        ("reg.example/b/*", "reg.example/b\\..\\x", False),
        ("reg.example/b/*", "reg.example/b/ж", False),
        ("reg.example/b/*", "reg.example/b/x?y#z", False),
        ("reg.example*", "reg.example.evil/x", False),
        ("reg.example/b*", "reg.example/b-2", True),
        ("reg.example/b*", "reg.example/b/x", False),
        ("*.example/app", "a.example/app", True),
        ("*.example/app", "evil/a.example/app", False),
        ("reg.example/*/app:*", "reg.example/web/app:1", True),
        ("reg.example/*/app:*", "reg.example/web/x/app:1", False),
        ("reg.example/*/app:*", "reg.example/web/app", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "abc", True),
        ("a*b*c", "acb", False),
        ("a*bc*c", "abc", False),
        ("*", "anything/at:all", True),
        ("*", "a/../b", False),
        ("*", "", False),
        ("billing-*", "billing-", True),
        ("billing-*", "billing", False),
        ("billing-*", "my-billing-db", False),
        ("billing-*", "billing-/x", False),
    ],
)
def test_patterns(pattern: str, text: str, expected: bool) -> None:
    assert not pattern_problem(pattern)
    assert any_matches((pattern,), text) is expected
    limited = rights(limits=Limits(images=(pattern,)))
    assert refused(limited, spec(image=text)) == ([] if expected else ["spec.image"])


def test_without_patterns_nothing_matches_and_without_a_limit_everything() -> None:
    assert refused(rights(limits=Limits(images=())), spec(image="a")) == ["spec.image"]
    assert refused(rights(limits=Limits(images=())), spec()) == ["spec.image"]
    assert refused(rights(), spec(image="any thing")) == []


PIECES = st.lists(
    st.sampled_from([*"ab*//-.:@ä\n \\", "ab", "..", "%2e"]),
    max_size=10,
).map("".join)


PATTERNS = (
    st.lists(
        st.lists(st.sampled_from([*"ab*-.:@", "ab"]), min_size=1, max_size=5).map("".join),
        min_size=1,
        max_size=4,
    )
    .map("/".join)
    .filter(lambda pattern: not pattern_problem(pattern))
)


def naive(pattern: str, text: str) -> bool:
    """How somebody reads a pattern who knows nothing of how it is compared."""
    regexp = "[^/]*".join(re.escape(piece) for piece in pattern.split("*"))
    if pattern.rpartition("/")[2] == "*":
        regexp = regexp.removesuffix("[^/]*") + ".+"
    return re.fullmatch(regexp, text, re.DOTALL) is not None


@st.composite
def patterns_and_texts(draw: st.DrawFn) -> tuple[str, str]:
    pattern = draw(PATTERNS)
    filled = "".join(draw(PIECES) if letter == "*" else letter for letter in pattern)
    return pattern, draw(st.sampled_from([filled, filled + draw(PIECES), draw(PIECES) + filled]))


@unhurried
@given(patterns_and_texts())
@example(("a/*", "a/../b"))
def test_a_pattern_never_takes_what_a_naive_reading_does_not(both: tuple[str, str]) -> None:
    pattern, text = both
    if any_matches((pattern,), text):
        assert naive(pattern, text)
        assert posixpath.normpath(text) == text
        assert text.isascii()
        assert text.isprintable()


@unhurried
@given(PATTERNS, st.data())
def test_a_pattern_takes_what_it_looks_like(pattern: str, data: st.DataObject) -> None:
    text = "".join(
        data.draw(st.sampled_from(["a", "b-1", "x.y"])) if letter == "*" else letter
        for letter in pattern
    )
    assert any_matches((pattern,), text)


def test_a_pattern_with_many_stars_is_quick() -> None:
    assert not any_matches(("a*" * 2000 + "b",), "a" * 4000)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/billing", True),
        ("/data/billing/", True),
        ("/data/billing/x/y", True),
        ("/data//billing/x", True),
        ("/data/./billing/x", True),
        ("///data/billing", True),
        ("//data/billing", False),
        ("/data/billing-evil", False),
        ("/data/billing.evil/x", False),
        ("/data/Billing", False),
        ("/data/billing/..", False),
        ("/data/billing/../other", False),
        ("/data/billing/x/../y", False),
        ("/data/other/../billing", False),
        ("/data/billing/...", True),
        ("/data", False),
        ("/", False),
        ("", False),
        ("data/billing", False),
        ("./data/billing", False),
        ("/x/data/billing", False),
        ("/data/billing\0/x", False),
        ("/data\\billing", False),
    ],
)
def test_host_paths(path: str, expected: bool) -> None:
    assert is_below(("/srv", "/data/billing"), path) is expected
    allowed = rights(allow=Allow(host_paths=("/srv", "/data/billing")))
    wanted = spec(mounts=[{"target": "/a", "hostPath": path}])
    assert refused(allowed, wanted) == ([] if expected else ["spec.mounts[0].host_path"])


def test_a_directory_may_end_with_a_slash(read: Read) -> None:
    found = read(allow_of('host_paths = ["/data/billing/", "/"]')).rights(caller("token:a"))
    assert found.allow == Allow(host_paths=("/data/billing", "/"))
    assert is_below(("/",), "/etc")


PATHS = st.lists(st.sampled_from(["a", "b", "a-b", "/", "/", ".", "..", "\0", " "]), max_size=12)


@unhurried
@given(PATHS.map("".join), st.sampled_from(["/a", "/a/b", "/b"]))
def test_a_path_never_leaves_its_directory(path: str, directory: str) -> None:
    normal = posixpath.normpath(path)
    inside = normal == directory or normal.startswith(f"{directory}/")
    if is_below((directory,), path):
        assert inside
        assert ".." not in path.split("/")
    elif inside:
        assert "\0" in path or ".." in PurePosixPath(path).parts


# -- without a file ---------------------------------------------------------------------------


def test_without_a_policy_everything_is_allowed() -> None:
    found = EVERYTHING.rights(caller("token:ci"))
    assert found == EVERYTHING.rights(caller("token:ci"))
    assert found.subject == "ci"
    assert found.everything
    assert not found.limits
    assert all(found.may(verb, "a", {}) for verb in VERBS)
    assert found.may_read(job("a", owner="other"))
    assert found.narrow(None) is None
    assert found.name_prefix == ""
    wanted = owned("ci", user="root", engineOptions={"a": 1}, image="any", labels={"x.io/y": "z"})
    wanted.mounts.add(target="/a", host_path="/etc")
    found.check_create("a", wanted)
    EVERYTHING.rights(ANONYMOUS).check_create("a", JobSpec())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("anonymous", ""),
        ("token:ci", "ci"),
        ("token:CI_2.x-y", "CI_2.x-y"),
        ("token:" + "a" * 63, "a" * 63),
        ("token:" + "a" * 64, None),
        ("token:a b", None),
        ("token:-a", None),
        ("token:", None),
        ("token:anonymous", "anonymous"),
        ("jwt:ci", None),
        ("jwt-group:ci", None),
        ("cert:spiffe://corp/ns/billing", None),
        ("token:" + "0" * 32, None),
        ("token:x_" + "0123456789abcdef" * 2, None),
    ],
)
def test_owners_without_a_policy(name: str, expected: str | None) -> None:
    value = owner_label(caller(name, "jwt-group:other"))
    if expected is not None:
        assert value == expected
    else:
        assert re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9]*)?[A-Za-z0-9]_)?[0-9a-f]{32}", value)
        assert len(value) <= 63


def test_an_owner_can_be_recognised() -> None:
    value = owner_label(caller("jwt:system:serviceaccount:billing:worker"))
    assert re.fullmatch(r"[-a-z]*billing-worker_[0-9a-f]{32}", value)


@st.composite
def identity_names(draw: st.DrawFn) -> str:
    source = draw(st.sampled_from(["token:", "jwt:", "jwt-group:", "cert:"]))
    rest = draw(st.one_of(st.text(max_size=80), st.from_regex(r"[ab](-a)?", fullmatch=True)))
    name = f"{source}{rest}"
    # Somebody who has seen another's label may want it for a token's name.
    return draw(st.sampled_from([name, f"token:{owner_label(caller(name))}"]))


@unhurried
@given(identity_names(), identity_names())
def test_no_two_callers_share_an_owner(one: str, other: str) -> None:
    values = owner_label(caller(one)), owner_label(caller(other))
    assert (values[0] == values[1]) is (one == other)
    for value in values:
        assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", value)
