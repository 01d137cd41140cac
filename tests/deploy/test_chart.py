"""The Helm chart: linted, rendered, shown to a real API server, and installed with the image."""

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from jobengine import TLS, Client, JobSpec, errors, state_name
from server.authentication import make_token
from server.settings import Settings
from tests.certificates import Authority
from tests.clients.proxy import Proxy
from tests.cluster.api import Api, Refused
from tests.cluster.fixtures import Given, Reachable, namespace_on
from tests.cluster.images import IMAGE as BUSYBOX
from tests.deploy import charts
from tests.deploy.charts import CHART, VALUES, Object
from tests.deploy.tools import ROOT
from tests.docker import traces
from tests.docker.fixtures import Reachable as Daemon

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster

pytestmark = pytest.mark.timeout(420)  # one builds the image, one starts the cluster

INSECURE: Object = {"insecure": True}
installed = pytest.mark.engine("kubernetes")
NAMES = [file.name.removesuffix("-values.yaml") for file in VALUES]
INSTALL_SECONDS = 120
TAKING_TURNS = ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}')

POLICY = """
[[subjects]]
name = "ci"
identities = ["token:ci"]
grants = [{ verbs = ["create", "read", "logs", "delete"], own = true }]

[[subjects]]
name = "guest"
identities = ["token:guest"]
grants = [{ verbs = ["read"], own = true }]
"""

PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Pod": "/api/v1/namespaces/{}/pods",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
}
"""By kind: where they are. Of ServiceMonitors only the Prometheus Operator's clusters know."""


@pytest.mark.parametrize("values", VALUES, ids=NAMES)
def test_lint(values: Path) -> None:
    charts.run("lint", "--strict", CHART, f"--values={values}")


def test_values_are_all_described() -> None:
    """Each value of values.yaml is in the schema, and each of the schema has a default."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    (values,) = charts.objects((CHART / "values.yaml").read_text())
    schema["properties"].pop("global")  # Helm's own
    compare("values", schema, values)


def compare(path: str, schema: Object, values: Object) -> None:
    """Both have the same keys, as far down as the schema names any."""
    assert schema["properties"].keys() == values.keys(), path
    for name, below in schema["properties"].items():
        if "properties" in below:
            compare(f"{path}.{name}", below, values[name])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "tls.secretName"),
        ({"tls.secretName": "cert"}, "nobody is asked who calls"),
        ({**INSECURE, "tls.clientCa": True}, "tls.clientCa needs tls.secretName"),
        ({**INSECURE, "auth.policy.configMapName": "policy"}, "auth.policy needs to know"),
        ({**INSECURE, "replica": 3}, "replica"),
        ({**INSECURE, "replicas": "3"}, "replicas"),
        ({**INSECURE, "server.logLevel": "LOUD"}, "logLevel"),
        ({**INSECURE, "image.digest": "sha256:1"}, "digest"),
        ({**INSECURE, "jobs.allowHostPaths": ["data"]}, "allowHostPaths"),
        ({**INSECURE, "metrics.port": 0}, "port"),
    ],
)
def test_wrong_values_are_refused(values: Object, words: str) -> None:
    assert words in charts.refusal(values)


def test_its_role_is_that_of_rbac_yaml() -> None:
    given = charts.of_kind(
        "Role", charts.objects((ROOT / "deploy/kubernetes/rbac.yaml").read_text())
    )
    ours = charts.of_kind("Role", charts.render(values=INSECURE))
    assert ours["rules"] == given["rules"]


def test_jobs_in_another_namespace() -> None:
    """The rights are there; the account stays here."""
    found = charts.render(values={**INSECURE, "jobs.namespace": "batch"}, namespace="services")
    binding = charts.of_kind("RoleBinding", found)
    assert charts.of_kind("Role", found)["metadata"]["namespace"] == "batch"
    assert binding["metadata"]["namespace"] == "batch"
    assert binding["subjects"][0]["namespace"] == "services"
    assert "--namespace=batch" in _container(found)["args"]


def test_nobody_calls_whom_the_policy_does_not_name() -> None:
    """A rule without `from` would admit everybody."""
    values = {**INSECURE, "networkPolicy.callers": [], "networkPolicy.metricsReaders": []}
    policy = charts.of_kind("NetworkPolicy", charts.render(values=values))
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["ingress"] == []
    policy = charts.of_kind("NetworkPolicy", charts.render(values=INSECURE))
    assert all(rule["from"] for rule in policy["spec"]["ingress"])


@pytest.mark.parametrize("grace", [0, 2.5, 60])
def test_pods_get_longer_than_calls(grace: float) -> None:
    found = charts.render(values={**INSECURE, "server.stopGraceSeconds": grace})
    spec = charts.of_kind("Deployment", found)["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] >= grace + 10
    assert f"--stop-grace={grace:g}" in _container(found)["args"]


@pytest.mark.parametrize("values", VALUES, ids=NAMES)
def test_flags_are_those_of_the_server(values: Path) -> None:
    """What the chart starts a server with is what a server can be started with."""
    names = [field.name for field in dataclasses.fields(Settings)]
    known = {f"--{name.replace('_', '-')}" for name in names}
    given = [each.partition("=")[0] for each in _container(charts.render(values))["args"][1:]]
    assert set(given) <= known


def _container(found: list[Object]) -> Object:
    (container,) = charts.of_kind("Deployment", found)["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.engine("kubernetes")
@pytest.mark.parametrize("values", VALUES, ids=NAMES)
def test_an_api_server_takes_it(
    values: Path, cluster: Reachable, kubernetes_namespace: str
) -> None:
    """Each object, with no field that the API server doesn't know; nothing is made of it."""
    api = Api(cluster.kubeconfig)
    asked = {"dryRun": "All", "fieldValidation": "Strict"}
    here = {"jobs.namespace": kubernetes_namespace}
    for each in charts.render(values, values=here, namespace=kubernetes_namespace):
        if each["kind"] != "ServiceMonitor":
            path = PATHS[each["kind"]].format(kubernetes_namespace)
            assert api.call("POST", path, each, query=asked)["kind"] == each["kind"]


@pytest.mark.engine("kubernetes")
@pytest.mark.parametrize("values", VALUES, ids=NAMES)
def test_its_pods_are_as_restricted_as_can_be(
    values: Path, cluster: Reachable, kubernetes_namespace: str
) -> None:
    """They are admitted by the strictest of Kubernetes' own Pod Security Standards."""
    api = Api(cluster.kubeconfig)
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.patch(f"/api/v1/namespaces/{kubernetes_namespace}", {"metadata": {"labels": label}})
    template = charts.of_kind("Deployment", charts.render(values))["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"]["name"] = "server"
    pod["spec"]["serviceAccountName"] = "default"  # the chart's isn't made here
    path = PATHS["Pod"].format(kubernetes_namespace)
    admitted = api.call("POST", path, pod, query={"dryRun": "All"})
    assert admitted["spec"]["securityContext"]["runAsNonRoot"]


class Gate(Proxy):
    """The way of a cluster's pods to its API server, which is on loopback."""

    def __init__(self, cluster: "Cluster") -> None:
        super().__init__(f"127.0.0.1:{cluster._files.ports['apiserver']}")
        self._host = str(traces.subnet_of(cluster._bridge)[1])

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        self.address = f"{self._host}:{self._server.sockets[0].getsockname()[1]}"

    @property
    def values(self) -> Object:
        """What leads a pod there. The API server's certificate has the name, not the address."""
        host, _, port = self.address.rpartition(":")
        name = "kubernetes.default.svc"
        return {
            "hostAliases": [{"ip": host, "hostnames": [name]}],
            "server.extraEnv": [
                {"name": "KUBERNETES_SERVICE_HOST", "value": name},
                {"name": "KUBERNETES_SERVICE_PORT", "value": port},
            ],
        }


class Release:
    """The chart in a namespace, where two servers run the namespace's jobs."""

    def __init__(self, cluster: "Cluster", namespace: str, directory: Path) -> None:
        self.api = cluster.api
        self._kubeconfig = cluster.kubeconfig
        self._namespace = namespace
        self._name = f"jobs-jobengine.{namespace}.svc"
        self._ca = directory / "ca.crt"
        self._tokens = {name: make_token() for name in ("ci", "guest")}

    def prepare(self) -> None:
        """Make what the chart expects to be there."""
        authority = Authority()
        issued = authority.server(f"dns:{self._name}")
        self._ca.write_bytes(authority.pem)
        tls = {"tls.crt": issued.cert, "tls.key": issued.key, "ca.crt": authority.pem}
        self._make("secrets", "tls", {name: content.decode() for name, content in tls.items()})
        lines = [f"{name} {digest}" for name, (_, digest) in self._tokens.items()]
        self._make("secrets", "tokens", {"tokens": "\n".join(lines)})
        self._make("configmaps", "policy", {"policy.toml": POLICY})

    def _make(self, kind: str, name: str, content: dict[str, str]) -> None:
        field = "stringData" if kind == "secrets" else "data"
        path = f"/api/v1/namespaces/{self._namespace}/{kind}"
        self.api.post(path, {"metadata": {"name": name}, field: content})

    def install(self, image: str, gate: Gate) -> None:
        """Install it, and wait until all its pods are ready."""
        repository, _, tag = image.rpartition(":")
        values = {
            "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
            "tls.secretName": "tls",
            "auth.tokens.secretName": "tokens",
            "auth.policy.configMapName": "policy",
            "resources.requests": {"cpu": "10m"},
            **gate.values,
        }
        where = (f"--kubeconfig={self._kubeconfig}", f"--namespace={self._namespace}")
        given = [f"--set-json={key}={json.dumps(value)}" for key, value in values.items()]
        wait = ("--wait", f"--timeout={INSTALL_SECONDS}s")
        done = charts.run("install", "jobs", CHART, *where, *wait, *given, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{self._story()}"

    def _story(self) -> str:
        """What became of its pods."""
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        said = [json.dumps(pod["status"], indent=1) for pod in self.api.get(path)["items"]]
        for pod in self.api.get(path)["items"]:
            with contextlib.suppress(Refused):
                said.append(self.api.get(f"{path}/{pod['metadata']['name']}/log"))
        return "\n".join(said)

    @property
    def addresses(self) -> list[str]:
        """Of its pods that are ready, as its Service tells them to a cluster's DNS."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices"
        label = "kubernetes.io/service-name=jobs-jobengine"
        (found,) = self.api.get(path, labelSelector=label)["items"]
        (port,) = (each["port"] for each in found["ports"] if each["name"] == "grpc")
        ready = [each for each in found["endpoints"] if each["conditions"]["ready"]]
        return [f"{each['addresses'][0]}:{port}" for each in ready]

    def client(self, *addresses: str, token: str | None = "ci") -> Client:
        """A client of some of its pods, or of all."""
        target = f"ipv4:{','.join(addresses or self.addresses)}"
        secret = None if token is None else self._tokens[token][0]
        tls = TLS(ca_file=self._ca, server_name=self._name)
        return Client(target, tls=tls, token=secret, options=[TAKING_TURNS])


@pytest.fixture(scope="module")
def release(
    cluster: "Reachable | Cluster",
    dockerd: Daemon,
    image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Release]:
    if isinstance(cluster, Given):
        pytest.skip("the image can't be brought into a cluster of somebody else")
    cluster = cast("Cluster", cluster)
    directory = tmp_path_factory.mktemp("release")
    bring_image(dockerd.host, image, cluster, directory / "image.tar")
    with namespace_on(cluster.kubeconfig) as namespace, Gate(cluster) as gate:
        release = Release(cluster, namespace, directory)
        release.prepare()
        release.install(image, gate)
        yield release


def bring_image(host: str, image: str, cluster: "Cluster", archive: Path) -> None:
    """Bring an image from a Docker daemon to a cluster's node."""
    from tests.docker.daemons import connect

    with contextlib.closing(connect(host)) as client, archive.open("wb") as file:
        for chunk in client.images.get(image).save(named=image):
            file.write(chunk)
    done = cluster._ctr("images", "import", str(archive))
    archive.unlink()
    assert done.returncode == 0, done.stderr.decode()


@installed
def test_a_job_through_it(release: Release) -> None:
    spec = JobSpec(image=BUSYBOX, command=["sh", "-c", "echo from a pod; exit 3"])
    assert len(release.addresses) == 2
    with release.client() as client:
        job = client.create_job(spec)
        *_, last = client.watch_status(job.name)
        assert (state_name(last.status), last.status.exit_code) == ("FAILED", 3)
        assert b"".join(chunk.data for chunk in client.logs(job.name)) == b"from a pod\n"


@installed
def test_replicas_agree(release: Release) -> None:
    one, other = release.addresses
    with release.client(one) as here, release.client(other) as there:
        job = here.create_job(JobSpec(image=BUSYBOX, command=["true"]))
        *_, last = there.watch_status(job.name)
        assert state_name(last.status) == "SUCCEEDED"
        *_, same = here.watch_status(job.name)
        assert same.status == last.status
        assert {each.name for each in here.list_jobs()} == {each.name for each in there.list_jobs()}


@installed
def test_callers_are_asked_who_they_are(release: Release) -> None:
    spec = JobSpec(image=BUSYBOX, command=["true"])
    with release.client(token=None) as nobody, pytest.raises(errors.Unauthenticated):
        nobody.create_job(spec)
    with release.client(token="guest") as guest, pytest.raises(errors.PermissionDenied):
        guest.create_job(spec)
