"""What the Kubernetes engine says of a cluster, on which it changes nothing."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engines.config import JobManager
from engines.findings import Finding
from engines.kubernetes.examination import RIGHTS, _ahead, _version
from tests.cluster.fixtures import Reachable
from tests.engines.kubernetes.api_server import Answer, ScriptedServer, page
from tests.engines.kubernetes.specs import shell
from tests.engines.kubernetes.test_rbac import Account, Right, engine_as, rights

on_kubernetes = pytest.mark.engine("kubernetes")
in_time = pytest.mark.timeout(120)


@pytest.fixture
def account(cluster: Reachable, kubernetes_namespace: str, tmp_path: Path) -> Account:
    return Account(cluster, kubernetes_namespace, tmp_path)


async def findings_of(kubeconfig: Path, namespace: str = "") -> list[Finding]:
    engine = JobManager("kubernetes", kubeconfig=kubeconfig, namespace=namespace)
    return [finding async for finding in engine.examine()]


def faults(found: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in found if not finding.fine]


def test_the_rights_are_those_of_the_role() -> None:
    assert {(right.resource, right.verb) for right in RIGHTS} == rights()


@on_kubernetes
@in_time
async def test_the_role_is_enough(account: Account) -> None:
    account.apply()
    async with engine_as(account) as engine:
        await engine.create_job("job", shell("sleep 300"))
        path = f"/apis/batch/v1/namespaces/{account.namespace}/jobs"
        before = [each["metadata"]["name"] for each in account.api.get(path)["items"]]
        found = await findings_of(account.kubeconfig(), account.namespace)
        assert [each["metadata"]["name"] for each in account.api.get(path)["items"]] == before
    assert faults(found) == []
    words = {finding.what: finding.words for finding in found}
    assert words["account"] == f"system:serviceaccount:{account.namespace}:jobengine"
    assert words["jobs"] == "1 job"
    assert words["Kubernetes"].startswith("v1.")


@on_kubernetes
@in_time
@pytest.mark.parametrize("right", sorted(rights()), ids=" ".join)
async def test_a_missing_right_is_named(account: Account, right: Right) -> None:
    account.apply(right)
    found = await findings_of(account.kubeconfig(), account.namespace)
    resource, verb = right
    assert [each.what for each in faults(found)] == [f"right to {verb} {resource}"]
    assert "apply deploy/kubernetes/rbac.yaml" in faults(found)[0].words


@on_kubernetes
@in_time
async def test_a_missing_namespace(cluster: Reachable) -> None:
    (found,) = faults(await findings_of(cluster.kubeconfig, "nobody-has-made-it"))
    assert found.what == "namespace"
    assert "kubectl create namespace nobody-has-made-it" in found.words


@on_kubernetes
@in_time
async def test_an_account_without_rights(account: Account) -> None:
    account.apply()
    found = faults(await findings_of(account.kubeconfig(), "default"))
    assert len(found) == len(RIGHTS)


@on_kubernetes
@in_time
async def test_a_token_that_has_ended(account: Account) -> None:
    kubeconfig = account.kubeconfig_with(token="secret-of-nobody")
    found = await findings_of(kubeconfig, account.namespace)
    assert [each.what for each in found] == ["Kubernetes"]
    assert "doesn't accept the server's credentials (401)" in found[0].words
    assert "secret-of-nobody" not in str(found)


async def test_a_missing_kubeconfig(tmp_path: Path) -> None:
    pytest.importorskip("kubernetes")
    (found,) = await findings_of(tmp_path / "nothing")
    assert not found.fine
    assert "there is no such file" in found.words


async def test_an_unreachable_cluster(tmp_path: Path) -> None:
    pytest.importorskip("kubernetes")
    async with ScriptedServer() as server:
        kubeconfig = server.write_kubeconfig(tmp_path / "kubeconfig")
    (found,) = await findings_of(kubeconfig)
    assert not found.fine
    assert found.words.startswith("can't reach Kubernetes at http://127.0.0.1:")


def says(content: Any, status: int = 200) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(content, status=status)

    return answer


def review(clock: float) -> Answer:
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(clock))
    return says({"metadata": {"creationTimestamp": when}, "status": {"userInfo": {}}})


MAY = [says({"status": {"allowed": True}})] * len(RIGHTS)
TAKEN = says({"spec": {"podFailurePolicy": {}, "podReplacementPolicy": "Failed"}})


async def scripted(
    tmp_path: Path,
    *,
    version: Answer = says({"gitVersion": "v1.34.0"}),  # noqa: B008
    account: Answer | None = None,
    job: Answer = TAKEN,
) -> list[Finding]:
    answers = [version, account or review(time.time()), *MAY, job, page(version=1)]
    async with ScriptedServer(*answers) as server:
        return await findings_of(server.write_kubeconfig(tmp_path / "kubeconfig"))


async def test_a_good_one(tmp_path: Path) -> None:
    assert faults(await scripted(tmp_path)) == []


@pytest.mark.parametrize(("minutes", "words"), [(2, "s ahead of"), (-2, "s behind")])
async def test_another_clock(tmp_path: Path, minutes: int, words: str) -> None:
    (found,) = faults(await scripted(tmp_path, account=review(time.time() + 60 * minutes)))
    assert found.what == "Kubernetes' clock"
    assert words in found.words


@pytest.mark.parametrize(
    ("answers", "what", "words"),
    [
        ({"version": says({"gitVersion": "v1.28.9"})}, "Kubernetes", "1.29 at least"),
        ({"version": says({"message": "no"}, 403)}, "Kubernetes", "doesn't tell its version: no"),
        ({"account": says({}, 404)}, "account", "too old"),
        ({"job": says({"spec": {}})}, "namespace", "podFailurePolicy and podReplacementPolicy"),
        ({"job": says({"message": "quota"}, 403)}, "namespace", "takes no Jobs: quota"),
    ],
)
async def test_what_is_amiss(
    tmp_path: Path, answers: dict[str, Answer], what: str, words: str
) -> None:
    (found,) = faults(await scripted(tmp_path, **answers))
    assert found.what == what
    assert words in found.words


@pytest.mark.parametrize(
    "refused", [says({"message": "admission webhook says no"}, 403), says({}, 409)]
)
async def test_a_namespace_that_is_there(tmp_path: Path, refused: Answer) -> None:
    assert faults(await scripted(tmp_path, job=refused)) == []


@pytest.mark.parametrize(
    ("made", "ahead"), [(100, 0), (101, 0), (99, 0), (110, 9.5), (90, -9.0), (98, -1.0)]
)
def test_a_clock_in_whole_seconds(made: float, ahead: float) -> None:
    assert _ahead(made, 100.0, 101.0 if made != 110 else 100.5) == ahead


def test_an_unusual_version() -> None:
    assert _version("main", "there").fine
    assert _version("v2.0", "there").fine
    assert not _version("v1.9", "there").fine
