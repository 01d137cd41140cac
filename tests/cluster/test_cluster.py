"""The cluster that tests run on: it runs jobs, can be hurt, and leaves nothing."""

import base64
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import machine
from tests.cluster.api import Api, Refused
from tests.cluster.cluster import Cluster
from tests.cluster.components import COMPONENTS, HELPERS, NODE, PROGRAMS, Component
from tests.cluster.fixtures import Reachable, namespace_on
from tests.cluster.images import IMAGE
from tests.docker import traces
from tests.faults.processes import until

HERE = Path(__file__).parent
POD_SECONDS = 60.0

DISRUPTED = {"type": "DisruptionTarget", "status": "True"}
REPLACED: dict[str, Any] = {
    "podReplacementPolicy": "Failed",
    "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [DISRUPTED]}]},
}
"""Of a job: a pod that is taken away is replaced once it has ended, and doesn't count."""

MakeCluster = Callable[[], Cluster]

on_kubernetes = pytest.mark.engine("kubernetes")
own_cluster = pytest.mark.timeout(300)  # its start takes 10 s on a machine that does nothing else


@pytest.fixture
def hurt_namespace(hurt: Cluster) -> Iterator[str]:
    with namespace_on(hurt.kubeconfig) as namespace:
        yield namespace


def core(namespace: str, kind: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/{kind}{'/' if name else ''}{name}"


def batch(namespace: str, name: str = "") -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs{'/' if name else ''}{name}"


def create_job(
    api: Api,
    namespace: str,
    script: str,
    *,
    container: dict[str, Any] | None = None,
    pod: dict[str, Any] | None = None,
    **spec: Any,
) -> str:
    """Create a job of one pod that runs a script; return its name."""
    main = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script], **(container or {})}
    template = {"spec": {"containers": [main], "restartPolicy": "Never", **(pod or {})}}
    body = {
        "metadata": {"generateName": "job-"},
        "spec": {"backoffLimit": 0, **spec, "template": template},
    }
    return str(api.post(batch(namespace), body)["metadata"]["name"])


def ends_as(api: Api, namespace: str, job: str) -> str:
    """Wait until a job has ended, and say how."""

    def terminal() -> list[str]:
        conditions = api.get(batch(namespace, job))["status"].get("conditions", [])
        true = [each["type"] for each in conditions if each["status"] == "True"]
        return [kind for kind in true if kind in {"Complete", "Failed"}]

    return until(f"{job} ends", terminal, seconds=POD_SECONDS)[0]


def pods(api: Api, namespace: str, job: str) -> list[dict[str, Any]]:
    selector = f"batch.kubernetes.io/job-name={job}"
    return list(api.get(core(namespace, "pods"), labelSelector=selector)["items"])


def runs(api: Api, namespace: str, job: str) -> bool:
    return any(pod["status"]["phase"] == "Running" for pod in pods(api, namespace, job))


def log(api: Api, namespace: str, job: str) -> str:
    name = pods(api, namespace, job)[0]["metadata"]["name"]
    return str(api.get(core(namespace, f"pods/{name}", "log")))


def assert_nothing_is_left(cluster: Cluster, bridge: str) -> None:
    assert not traces.processes(cluster.directory, *PROGRAMS.values(), *HELPERS)
    assert not traces.mounts(cluster.directory)
    assert not traces.cgroups(bridge)
    assert not Path("/sys/class/net", bridge).exists()
    assert not machine.notes(cluster.directory)
    assert {path.suffix for path in cluster.directory.iterdir()} == {".log"}


@on_kubernetes
@own_cluster
def test_job_completes(cluster: Reachable, kubernetes_namespace: str) -> None:
    api, place = Api(cluster.kubeconfig), kubernetes_namespace
    job = create_job(api, place, "echo out; echo err >&2")
    assert ends_as(api, place, job) == "Complete"
    assert sorted(log(api, place, job).split()) == ["err", "out"]


@on_kubernetes
@own_cluster
def test_job_fails(cluster: Reachable, kubernetes_namespace: str) -> None:
    api, place = Api(cluster.kubeconfig), kubernetes_namespace
    job = create_job(api, place, "exit 3")
    assert ends_as(api, place, job) == "Failed"
    status = pods(api, place, job)[0]["status"]["containerStatuses"][0]
    assert status["state"]["terminated"]["exitCode"] == 3


@on_kubernetes
@own_cluster
def test_job_sees_what_is_mounted(
    cluster: Reachable, kubernetes_namespace: str, tmp_path: Path
) -> None:
    api, place = Api(cluster.kubeconfig), kubernetes_namespace
    metadata = {"name": "given"}
    secret = base64.b64encode(b"hidden").decode()
    api.post(core(place, "secrets"), {"metadata": metadata, "data": {"key": secret}})
    api.post(core(place, "configmaps"), {"metadata": metadata, "data": {"key": "shown"}})
    volumes: dict[str, dict[str, Any]] = {
        "host": {"hostPath": {"path": str(tmp_path), "type": "Directory"}},
        "memory": {"emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
        "scratch": {"emptyDir": {"sizeLimit": "8Mi"}},
        "secret": {"secret": {"secretName": "given"}},
        "config": {"configMap": {"name": "given"}},
    }
    script = """
        cat /secret/key /config/key > /host/told
        touch /scratch/file && grep -o 'Seccomp:.*' /proc/1/status >> /host/told
        df /memory | tail -n 1 | awk '{print $2}' >> /host/told
    """
    container = {
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in volumes],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    pod = {"volumes": [{"name": name, **what} for name, what in volumes.items()]}
    job = create_job(api, place, script, container=container, pod=pod)
    assert ends_as(api, place, job) == "Complete", log(api, place, job)
    told = (tmp_path / "told").read_text().split()
    assert told == ["hiddenshownSeccomp:", "2", str(8 * 1024)]


@on_kubernetes
@own_cluster
@pytest.mark.parametrize(
    ("policy", "reasons"),
    [("Never", {"ErrImageNeverPull"}), ("IfNotPresent", {"ErrImagePull", "ImagePullBackOff"})],
)
def test_image_is_missing(
    cluster: Reachable, kubernetes_namespace: str, policy: str, reasons: set[str]
) -> None:
    api, place = Api(cluster.kubeconfig), kubernetes_namespace
    # Port 1 of loopback refuses at once, where a name would be asked for elsewhere.
    container = {"image": "127.0.0.1:1/missing:1", "imagePullPolicy": policy}
    job = create_job(api, place, "true", container=container)

    def waits_for_image() -> bool:
        statuses = [pod["status"].get("containerStatuses", []) for pod in pods(api, place, job)]
        waiting = [each["state"].get("waiting", {}) for status in statuses for each in status]
        return any(each.get("reason") in reasons for each in waiting)

    until("its image is missing", waits_for_image, seconds=POD_SECONDS)


@on_kubernetes
@own_cluster
def test_evicted_pod_is_replaced_and_not_counted(
    cluster: Reachable, kubernetes_namespace: str, tmp_path: Path
) -> None:
    api, place = Api(cluster.kubeconfig), kubernetes_namespace
    job = create_job(
        api,
        place,
        "[ -e /host/go ] && exit 0; exec sleep 1000",
        container={"volumeMounts": [{"name": "host", "mountPath": "/host"}]},
        pod={
            "volumes": [{"name": "host", "hostPath": {"path": str(tmp_path)}}],
            "terminationGracePeriodSeconds": 1,
        },
        **REPLACED,
    )
    until("its pod runs", lambda: runs(api, place, job), seconds=POD_SECONDS)
    (tmp_path / "go").touch()
    first = pods(api, place, job)[0]["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": first, "namespace": place},
    }
    api.post(core(place, f"pods/{first}", "eviction"), eviction)
    assert ends_as(api, place, job) == "Complete"
    assert not api.get(batch(place, job))["status"].get("failed")


@on_kubernetes
@own_cluster
def test_who_may_do_what(hurt: Cluster, hurt_namespace: str) -> None:
    account = hurt.kubeconfig_of_account(hurt_namespace)
    whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    user = Api(account).post(whoami, {})["status"]["userInfo"]["username"]
    assert user == f"system:serviceaccount:{hurt_namespace}:default"
    for kubeconfig, status in (
        (account, 403),
        (hurt.kubeconfig_with(hurt.token("stranger")), 403),
        (hurt.kubeconfig_with("nobody's"), 401),
    ):
        with pytest.raises(Refused) as refused:
            Api(kubeconfig).get(batch(hurt_namespace))
        assert refused.value.status == status


@on_kubernetes
@own_cluster
def test_frozen_apiserver_answers_nothing(hurt: Cluster) -> None:
    api = hurt.api
    hurt.freeze("apiserver")
    with pytest.raises(TimeoutError):
        api.call("GET", "/readyz", seconds=0.2)
    hurt.thaw("apiserver")
    assert api.get("/readyz") == "ok"


@on_kubernetes
@own_cluster
@pytest.mark.parametrize("component", COMPONENTS)
def test_killed_component_loses_nothing(
    hurt: Cluster, hurt_namespace: str, component: Component, tmp_path: Path
) -> None:
    api, place = hurt.api, hurt_namespace
    mount = {"volumeMounts": [{"name": "host", "mountPath": "/host"}]}
    volume = {"volumes": [{"name": "host", "hostPath": {"path": str(tmp_path)}}]}
    script = "until [ -e /host/go ]; do sleep 0.05; done"
    job = create_job(api, place, script, container=mount, pod=volume)
    until("its pod runs", lambda: runs(api, place, job), seconds=POD_SECONDS)
    before = hurt.pid(component)
    hurt.kill(component)
    assert not hurt.running(component)
    hurt.start_component(component)
    assert hurt.pid(component) != before
    (tmp_path / "go").touch()
    until("the server is there", lambda: answers(api), seconds=POD_SECONDS)
    assert ends_as(api, place, job) == "Complete"


def answers(api: Api) -> bool:
    try:
        return bool(api.get("/readyz") == "ok")
    except (OSError, Refused):
        return False


@on_kubernetes
@own_cluster
def test_compaction_ends_what_is_old(hurt: Cluster, hurt_namespace: str) -> None:
    api, maps = hurt.api, core(hurt_namespace, "configmaps")
    old = api.post(maps, {"metadata": {"name": "first"}})["metadata"]["resourceVersion"]
    api.post(maps, {"metadata": {"name": "second"}})
    first = next(api.watch(maps, resourceVersion=old))
    assert first["object"]["metadata"]["name"] == "second"
    assert hurt.compact() > int(old)
    hurt.restart("apiserver")  # which would serve it from memory
    event = next(api.watch(maps, resourceVersion=old))
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


@on_kubernetes
@own_cluster
@pytest.mark.slow
def test_pod_leaves_a_lost_node(hurt: Cluster, hurt_namespace: str) -> None:
    api, place = hurt.api, hurt_namespace
    grace = {"terminationGracePeriodSeconds": 1}
    job = create_job(api, place, "exec sleep 1000", pod=grace, **REPLACED)
    until("its pod runs", lambda: runs(api, place, job), seconds=POD_SECONDS)
    first = pods(api, place, job)[0]["metadata"]["name"]

    def reasons() -> set[str]:
        conditions = api.get(core(place, "pods", first))["status"]["conditions"]
        return {each.get("reason") for each in conditions if each["type"] == "DisruptionTarget"}

    hurt.kill("kubelet")
    until("its node is lost", reasons, seconds=POD_SECONDS)
    assert reasons() == {"DeletionByTaintManager"}
    assert [pod["metadata"]["name"] for pod in pods(api, place, job)] == [first]
    hurt.start_component("kubelet")
    until("its pod ends", lambda: not api.exists(core(place, "pods", first)), seconds=POD_SECONDS)
    until("another runs", lambda: runs(api, place, job), seconds=POD_SECONDS)


@on_kubernetes
@own_cluster
@pytest.mark.parametrize("harm", [None, "apiserver", "containerd"])
def test_closed_cluster_leaves_nothing(make_cluster: MakeCluster, harm: Component | None) -> None:
    settings = [Path("/proc/sys/vm/overcommit_memory"), Path("/proc/sys/kernel/panic")]
    before = [path.read_text() for path in settings]
    cluster = make_cluster()
    cluster.start()
    job = create_job(cluster.api, "default", "sleep 1000")
    until("its pod runs", lambda: runs(cluster.api, "default", job), seconds=POD_SECONDS)
    bridge = (cluster.directory / "bridge").read_text()
    if harm is not None:
        cluster.freeze(harm)
    cluster.close()
    assert_nothing_is_left(cluster, bridge)
    assert [path.read_text() for path in settings] == before
    cluster.close()


@on_kubernetes
@own_cluster
def test_cluster_of_the_command_line(cluster: Reachable, tmp_path: Path) -> None:
    """It runs beside the other one, and has nothing of it."""
    try:
        line = subprocess.check_output([HERE / "up", tmp_path], text=True)
        kubeconfig = Path(line.removeprefix("export KUBECONFIG=").strip())
        bridge = (tmp_path / "bridge").read_text()
        assert Api(kubeconfig).exists(f"/api/v1/nodes/{NODE}")
        with namespace_on(cluster.kubeconfig) as namespace:
            assert not Api(kubeconfig).exists(f"/api/v1/namespaces/{namespace}")
    finally:
        subprocess.run([HERE / "down", tmp_path], check=True)
    assert_nothing_is_left(Cluster(tmp_path), bridge)


def test_down_touches_no_other_directory(tmp_path: Path) -> None:
    (tmp_path / "etcd").mkdir()
    subprocess.run([HERE / "down", tmp_path], check=True)
    assert (tmp_path / "etcd").exists()


def test_directory_too_long(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is too long"):
        Cluster(tmp_path / ("x" * 100))
