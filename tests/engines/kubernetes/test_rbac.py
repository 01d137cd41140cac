"""The engine under deploy/kubernetes/rbac.yaml, with less than that, and where it can't get in."""

import asyncio
import contextlib
import importlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from engines.base import Engine, Job, LogQuery, Reason, State
from engines.config import JobManager
from engines.errors import EngineError, EngineFailed, EngineUnavailable
from engines.workload import Watched, watching
from tests.cluster.api import Access, Api
from tests.cluster.fixtures import Reachable
from tests.engines.kubernetes.specs import shell
from tests.faults.processes import until

pytestmark = [pytest.mark.engine("kubernetes"), pytest.mark.timeout(120)]

FILE = Path(__file__).parents[3] / "deploy/kubernetes/rbac.yaml"
DEADLINE_SECONDS = 40.0
PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}
GROUPS = {"jobs": "batch", "pods": "", "pods/log": "", "events": ""}

Right = tuple[str, str]
"""A resource and a verb."""


def objects() -> list[dict[str, Any]]:
    """What the file holds."""
    yaml: Any = importlib.import_module("yaml")  # it has no types
    found: list[dict[str, Any]] = list(yaml.safe_load_all(FILE.read_text()))
    return found


def rights() -> set[Right]:
    """What the file's role allows."""
    (role,) = (each for each in objects() if each["kind"] == "Role")
    return {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def without(role: dict[str, Any], right: Right) -> None:
    """Take a right out of a role."""
    resource, verb = right
    (rule,) = (rule for rule in role["rules"] if resource in rule["resources"])
    rule["verbs"].remove(verb)
    if not rule["verbs"]:
        role["rules"].remove(rule)


class Account:
    """The file's account in a namespace of a test."""

    def __init__(self, cluster: Reachable, namespace: str, directory: Path) -> None:
        self.api = Api(cluster.kubeconfig)
        self.namespace = namespace
        self._access = Access.of(cluster.kubeconfig)
        self._directory = directory

    def apply(self, lacking: Right | None = None) -> None:
        """Make what the file holds, but for one right, and wait until that counts."""
        for each in objects():
            each["metadata"]["namespace"] = self.namespace
            for subject in each.get("subjects", ()):
                subject["namespace"] = self.namespace
            if each["kind"] == "Role" and lacking is not None:
                without(each, lacking)
            self.api.post(PATHS[each["kind"]].format(self.namespace), each)
        granted = rights() - {lacking}
        for right in granted:
            until(f"{right} is granted", lambda: self.may(*right))  # noqa: B023
        assert lacking is None or not self.may(*lacking)

    def may(self, resource: str, verb: str) -> bool:
        """Whether the account has a right."""
        name, _, part = resource.partition("/")
        asked = {
            "namespace": self.namespace,
            "group": GROUPS[resource],
            "resource": name,
            "subresource": part,
            "verb": verb,
        }
        user = f"system:serviceaccount:{self.namespace}:jobengine"
        spec = {"user": user, "resourceAttributes": asked}
        review = self.api.post(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
        )
        return bool(review["status"]["allowed"])

    def kubeconfig(self) -> Path:
        """One that makes a client the account."""
        path = f"{PATHS['ServiceAccount'].format(self.namespace)}/jobengine/token"
        made = self.api.post(path, {"spec": {"expirationSeconds": 3600}})
        return self.kubeconfig_with(token=made["status"]["token"])

    def kubeconfig_with(self, **changes: Any) -> Path:
        """One like the administrator's, but for this."""
        access = replace(self._access, cert_file=None, key_file=None, **changes)
        there = {"server": access.server}
        if access.ca_file is not None:
            there["certificate-authority"] = access.ca_file
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": there}],
            "users": [{"name": "account", "user": {"token": access.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "account"}}],
            "current-context": "test",
        }
        return self.file(json.dumps(content))

    def file(self, text: str) -> Path:
        """A file that says this."""
        path = self._directory / f"kubeconfig-{uuid4().hex[:8]}"
        path.write_text(text)
        return path


@pytest.fixture
def account(cluster: Reachable, kubernetes_namespace: str, tmp_path: Path) -> Account:
    return Account(cluster, kubernetes_namespace, tmp_path)


def engine_of(kubeconfig: Path, namespace: str) -> Engine:
    return JobManager("kubernetes", kubeconfig=kubeconfig, namespace=namespace, grace_seconds=2.0)


@contextlib.asynccontextmanager
async def engine_as(account: Account) -> AsyncGenerator[Engine]:
    async with engine_of(account.kubeconfig(), account.namespace) as engine:
        yield engine


async def output(engine: Engine, name: str) -> bytes:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return b"".join([chunk.data async for chunk in engine.read_logs(name, LogQuery())])


# -- the role as it is ------------------------------------------------------------------------


async def test_the_role_is_enough(account: Account) -> None:
    account.apply()
    async with engine_as(account) as engine, watching(engine, DEADLINE_SECONDS) as watched:
        assert (await engine.read_version()).startswith("Kubernetes v")
        done = await engine.create_job("done", shell("echo hello"))
        lasting = await engine.create_job("lasting", shell("sleep 300"))
        stubborn = await engine.create_job("stubborn", shell("trap '' TERM; sleep 300"))
        assert (await watched.end_of(done)).reason is Reason.COMPLETED
        assert await output(engine, "done") == b"hello\n"
        read = await engine.read_job("done")
        assert read.spec == shell("echo hello")
        assert (await engine.read_status(read)).state is State.SUCCEEDED
        await watched.reaches(lasting, State.RUNNING)
        await engine.cancel_job("lasting", grace_seconds=1)
        assert (await watched.end_of(lasting)).reason is Reason.CANCELLED
        await watched.reaches(stubborn, State.RUNNING)
        await engine.delete_job("stubborn", grace_seconds=1)
        await watched.removal_of(stubborn)
        assert watched.statuses(stubborn.uid)[-1].reason is Reason.DELETED
        for job in (done, lasting):
            await engine.delete_job(job.name)
            await watched.removal_of(job)
        assert not await engine.list_jobs()


async def test_events_tell_of_a_quota(account: Account) -> None:
    account.apply()
    forbid_pods(account)
    async with engine_as(account) as engine, watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("waiting", shell("true"))
        await told(watched, job.uid, "exceeded quota: no-pods")
        await engine.delete_job("waiting")
        await watched.removal_of(job)


def forbid_pods(account: Account) -> None:
    """Have a quota that leaves no room for a pod."""
    path = f"/api/v1/namespaces/{account.namespace}/resourcequotas"
    account.api.post(path, {"metadata": {"name": "no-pods"}, "spec": {"hard": {"pods": "0"}}})
    until(
        "the quota counts",
        lambda: account.api.get(f"{path}/no-pods").get("status", {}).get("hard"),
        seconds=DEADLINE_SECONDS,
    )


async def told(watched: Watched, uid: str, words: str) -> None:
    await watched.until(
        lambda: any(words in status.message for status in watched.statuses(uid)), words
    )


# -- one right less ---------------------------------------------------------------------------


async def create(engine: Engine) -> None:
    await engine.create_job("new", shell("true"))


async def read(engine: Engine) -> None:
    await engine.read_job("new")


async def come_in(engine: Engine) -> None:
    await engine.read_version()


async def follow(engine: Engine) -> None:
    async for _ in engine.watch():
        pass


async def cancel(engine: Engine) -> None:
    async with watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("new", shell("trap '' TERM; sleep 300"))
        await watched.reaches(job, State.RUNNING)
        await engine.cancel_job("new", grace_seconds=1)


async def delete(engine: Engine) -> None:
    await engine.create_job("new", shell("sleep 300"))
    await engine.delete_job("new")


async def read_logs(engine: Engine) -> None:
    async with watching(engine, DEADLINE_SECONDS) as watched:
        await watched.end_of(await engine.create_job("new", shell("echo hello")))
        await output(engine, "new")


Act = Callable[[Engine], Awaitable[None]]

NEEDS: dict[Right, tuple[Act, type[EngineError]]] = {
    ("jobs", "create"): (create, EngineFailed),
    ("jobs", "get"): (read, EngineFailed),
    ("jobs", "list"): (come_in, EngineUnavailable),
    ("jobs", "watch"): (follow, EngineError),
    ("jobs", "patch"): (cancel, EngineFailed),
    ("jobs", "delete"): (delete, EngineFailed),
    ("pods", "list"): (come_in, EngineUnavailable),
    ("pods", "watch"): (follow, EngineError),
    ("pods", "delete"): (cancel, EngineFailed),
    ("pods/log", "get"): (read_logs, EngineFailed),
}
"""By right: what fails without it, and as what. That without events is in the server's log."""

UNHEARD: Right = ("events", "list")


def test_every_right_is_needed() -> None:
    assert rights() == {*NEEDS, UNHEARD}


@pytest.mark.parametrize("right", NEEDS, ids=" ".join)
async def test_a_missing_right_is_told(account: Account, right: Right) -> None:
    account.apply(right)
    act, kind = NEEDS[right]
    async with engine_as(account) as engine:
        with pytest.raises(kind) as raised:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await act(engine)
    assert "forbidden" in str(raised.value)
    assert f'jobengine" {words_of(right)}' in str(raised.value)


async def read_to_the_end(engine: Engine, job: Job) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (await engine.read_status(job)).state.terminal:
            await asyncio.sleep(0.1)


async def test_an_end_that_cant_be_noted(account: Account) -> None:
    right = ("jobs", "patch")
    account.apply(right)
    async with engine_as(account) as engine, watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("new", shell("true"))
        succeeded = f"{job.name} succeeded"
        await watched.until(lambda: any(s.succeed for s in watched.statuses(job.uid)), succeeded)
        with pytest.raises(EngineFailed) as raised:
            await read_to_the_end(engine, job)
        assert words_of(right) in str(raised.value)
        await engine.delete_job("new")
        await watched.removal_of(job)


async def test_without_events_the_log_tells(account: Account) -> None:
    account.apply(UNHEARD)
    forbid_pods(account)
    with capture_logs() as logged:
        async with engine_as(account) as engine, watching(engine, DEADLINE_SECONDS) as watched:
            job = await engine.create_job("waiting", shell("true"))
            await told(watched, job.uid, "the events of its Job tell")
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not any(words_of(UNHEARD) in str(entry) for entry in logged):
                    await asyncio.sleep(0.1)
            await engine.delete_job("waiting")
            await watched.removal_of(job)


def words_of(right: Right) -> str:
    """The API server's own."""
    resource, verb = right
    return f'cannot {verb} resource "{resource}" in API group "{GROUPS[resource]}"'


# -- no way in --------------------------------------------------------------------------------


async def refusal(engine: Engine) -> str:
    """Why the engine is of no use."""
    async with engine:
        with pytest.raises(EngineUnavailable) as raised:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await engine.read_version()
    return str(raised.value)


async def test_a_namespace_without_rights(account: Account) -> None:
    account.apply()
    said = await refusal(engine_of(account.kubeconfig(), "default"))
    assert "forbidden" in said
    assert 'in the namespace "default"' in said


async def test_a_wrong_token(account: Account) -> None:
    said = await refusal(engine_of(account.kubeconfig_with(token="nobody"), account.namespace))
    assert "doesn't accept the server's credentials (401): renew them in the kubeconfig" in said


async def test_an_unreachable_server(account: Account) -> None:
    kubeconfig = account.kubeconfig_with(server="https://127.0.0.1:1")
    said = await refusal(engine_of(kubeconfig, account.namespace))
    assert said.startswith("can't reach Kubernetes at https://127.0.0.1:1: ")
    assert said.endswith("is the API server up, and the kubeconfig's server the right one?")


async def test_a_wrong_authority(account: Account, tmp_path: Path) -> None:
    kubeconfig = account.kubeconfig_with(ca_file=None)
    said = await refusal(engine_of(kubeconfig, account.namespace))
    assert "certificate verify failed" in said
    assert said.endswith("see to certificate-authority in the kubeconfig")


def broken(account: Account) -> Iterator[tuple[Path, str]]:
    """Kubeconfigs of no use, and what is to be said of them."""
    good = account.kubeconfig_with().read_text()
    yield account.file("{nope: ["), "can't be used"
    yield account.file(""), "can't be used"
    yield account.file("[1, 2]"), "can't be used"
    yield account.file("hello"), "can't be used"
    yield account.file(good.replace('"current-context": "test"', '"current-context": "x"')), "x"
    yield account.file(good.replace('"test"', '"other"', 1)), "test"


async def test_a_broken_kubeconfig(account: Account) -> None:
    for kubeconfig, words in broken(account):
        with capture_logs() as logged:
            said = await refusal(engine_of(kubeconfig, account.namespace))
        assert said.startswith(f"the kubeconfig {kubeconfig} can't be used: ")
        assert said.endswith("; name one with --kubeconfig or KUBECONFIG")
        assert words in said
        assert not any("exc_info" in entry for entry in logged)


async def test_a_missing_kubeconfig(tmp_path: Path) -> None:
    missing = tmp_path / "nothing"
    said = await refusal(engine_of(missing, "default"))
    assert said.startswith(f"the kubeconfig {missing} can't be used: there is no such file")


async def test_no_kubeconfig_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(
        "engines.kubernetes.cluster.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config")
    )
    said = await refusal(JobManager("kubernetes"))
    assert said.endswith("name one with --kubeconfig or KUBECONFIG")
