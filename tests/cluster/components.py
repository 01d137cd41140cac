"""What a node consists of, and how each of it is called."""

import json
import random
import secrets
import socket
import subprocess
from pathlib import Path
from typing import Any, Literal, get_args

from tests.cluster.available import CNI_PLUGINS
from tests.docker import traces

Component = Literal["etcd", "apiserver", "controller-manager", "scheduler", "kubelet", "containerd"]

COMPONENTS: tuple[Component, ...] = get_args(Component)

PROGRAMS: dict[Component, str] = {
    "etcd": "etcd",
    "apiserver": "kube-apiserver",
    "controller-manager": "kube-controller-manager",
    "scheduler": "kube-scheduler",
    "kubelet": "kubelet",
    "containerd": "containerd",
}

REAPER = ("docker-init", "-s", "--")
"""Shims lose their parents at once. This init reaps them, as PID 1 may not."""

HELPERS = (REAPER[0], "containerd-shim-runc-v2", "runc")
"""What a containerd starts in turn."""

NODE = "node1"

USERS = {"admin": "system:masters", "stranger": ""}
"""By user with a token that never ends: the group. The stranger may do nothing at all."""

PAUSE = "jobengine.test/pause:1"

_PORTS = range(20000, 32768)
"""Below those that Linux gives to clients: none takes the port of what is down for a while."""

_LISTENERS = ("etcd", "peer", "apiserver", "controller-manager", "scheduler", "kubelet")

_DISK_SIGNALS = ("nodefs.available", "nodefs.inodesFree", "imagefs.available")

_CONTAINERD = """\
version = 2
root = "{directory}/containerd"
state = "{directory}/run/containerd"
[grpc]
  address = "{directory}/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Where root may not lower it, runc fails: "can't get final child's PID".
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{directory}/run/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{directory}/cni"
"""


class Files:
    """The settings of a node in its directory; `bridge` is its pods'.

    What clients hold on to, as tokens and ports, is made once: another start has the same.
    """

    def __init__(self, directory: Path, bridge: str) -> None:
        self.directory = directory
        self.bridge = bridge

    @property
    def ports(self) -> dict[str, int]:
        """By who listens there, on loopback."""
        found: dict[str, int] = json.loads((self.directory / "ports.json").read_text())
        return found

    @property
    def tokens(self) -> dict[str, str]:
        """By user."""
        lines = (self.directory / "pki/tokens.csv").read_text().splitlines()
        return {line.split(",")[1]: line.split(",")[0] for line in lines}

    @property
    def socket(self) -> Path:
        return self.directory / "run/containerd.sock"

    def write(self, binary: Path) -> None:
        """Write all that the components read."""
        for name in ("bin", "pki", "run", "cni", "kubelet"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self._link(binary)
        if not (self.directory / "ports.json").exists():
            self._write_json("ports.json", dict(zip(_LISTENERS, _free_ports(), strict=True)))
        self._write_secrets()
        self.write_kubeconfig("kubeconfig", self.tokens["admin"])
        self._write_json("kubelet.json", self._kubelet())
        self._write_json("cni/10-pods.conflist", self._network())
        settings = _CONTAINERD.format(directory=self.directory, pause=PAUSE, plugins=CNI_PLUGINS)
        (self.directory / "containerd.toml").write_text(settings)

    def write_kubeconfig(self, name: str, token: str, namespace: str = "default") -> Path:
        """What makes a client whom the token stands for. It is JSON, which is YAML as well."""
        server = f"https://127.0.0.1:{self.ports['apiserver']}"
        authority = str(self.directory / "pki/apiserver.crt")
        cluster = {"server": server, "certificate-authority": authority}
        context = {"cluster": "test", "user": "user", "namespace": namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }
        return self._write_json(name, content)

    def command(self, component: Component) -> list[str]:
        """What a component is started by."""
        if component == "containerd":
            return [*REAPER, "containerd", "--config", str(self.directory / "containerd.toml")]
        flags = {
            "etcd": self._etcd,
            "apiserver": self._apiserver,
            "controller-manager": self._controller_manager,
            "scheduler": self._scheduler,
            "kubelet": self._kubelet_flags,
        }[component]()
        program = self.directory / "bin" / PROGRAMS[component]
        return [str(program), *(f"--{name}={value}" for name, value in flags.items())]

    def _link(self, binary: Path) -> None:
        """The binary is what it is called by."""
        for name in set(PROGRAMS.values()) - {"containerd"}:
            link = self.directory / "bin" / name
            link.unlink(missing_ok=True)
            link.symlink_to(binary)

    def _write_secrets(self) -> None:
        key = self.directory / "pki/sa.key"
        if not key.exists():
            subprocess.run(
                ["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True
            )
        tokens = self.directory / "pki/tokens.csv"
        if not tokens.exists():
            tokens.touch(mode=0o600)
            rows = [
                f"{secrets.token_hex(16)},{user},{user},{group}" for user, group in USERS.items()
            ]
            tokens.write_text("\n".join(rows) + "\n")

    def _write_json(self, name: str, content: object) -> Path:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=1))
        return path

    def _network(self) -> dict[str, Any]:
        """Pods reach one another and the node; without a route, nothing else."""
        addresses = {
            "type": "host-local",
            "subnet": str(traces.subnet_of(self.bridge)),
            "dataDir": str(self.directory / "run/addresses"),
        }
        bridge = {"type": "bridge", "bridge": self.bridge, "isGateway": True, "ipam": addresses}
        return {"cniVersion": "0.4.0", "name": self.bridge, "plugins": [bridge]}

    def _etcd(self) -> dict[str, object]:
        client = f"http://127.0.0.1:{self.ports['etcd']}"
        peer = f"http://127.0.0.1:{self.ports['peer']}"
        return {
            "data-dir": self.directory / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            # A killed process loses nothing by it, only a machine does.
            "unsafe-no-fsync": "true",
        }

    def _apiserver(self) -> dict[str, object]:
        pki = self.directory / "pki"
        return {
            "etcd-servers": f"http://127.0.0.1:{self.ports['etcd']}",
            "bind-address": "127.0.0.1",
            "secure-port": self.ports["apiserver"],
            "advertise-address": "127.0.0.1",
            # Nobody in the cluster reaches loopback, and no endpoint may be there.
            "endpoint-reconciler-type": "none",
            "cert-dir": pki,
            "service-account-key-file": pki / "sa.key",
            "service-account-signing-key-file": pki / "sa.key",
            "service-account-issuer": "https://kubernetes.default.svc",
            "token-auth-file": pki / "tokens.csv",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": "10.96.0.0/16",
            "allow-privileged": "true",
            "kubelet-preferred-address-types": "InternalIP",
            # As it ends it ends the watches too (0), for which it would wait until it is cut off,
            # after 60 s.
            "shutdown-watch-termination-grace-period": "2s",
            # Pods leave a lost node 10 s after it is known to be lost, not 5 minutes (300).
            "default-not-ready-toleration-seconds": 10,
            "default-unreachable-toleration-seconds": 10,
        }

    def _controller_manager(self) -> dict[str, object]:
        pki = self.directory / "pki"
        return {
            **self._client_of_apiserver("controller-manager"),
            "service-account-private-key-file": pki / "sa.key",
            "root-ca-file": pki / "apiserver.crt",
            "flex-volume-plugin-dir": self.directory / "run/plugins",
            # Jobs and pods at once, so that many jobs of one test aren't in one another's way (5).
            "concurrent-job-syncs": 20,
            "concurrent-gc-syncs": 40,
            "concurrent-namespace-syncs": 20,
            # A node that says nothing for 15 s is lost (50), so its kubelet says something every
            # 2 s; looked at each second (5).
            "node-monitor-grace-period": "15s",
            "node-monitor-period": "1s",
            "node-startup-grace-period": "30s",
        }

    def _scheduler(self) -> dict[str, object]:
        return self._client_of_apiserver("scheduler")

    def _client_of_apiserver(self, component: Component) -> dict[str, object]:
        return {
            "kubeconfig": self.directory / "kubeconfig",
            "leader-elect": "false",  # there is no other, and it would wait for its own lease
            "bind-address": "127.0.0.1",
            "secure-port": self.ports[component],
            "cert-dir": self.directory / "pki",
            # One node, many short jobs: the server may be asked as often as it answers (20, 30).
            "kube-api-qps": 500,
            "kube-api-burst": 1000,
        }

    def _kubelet_flags(self) -> dict[str, object]:
        return {
            "config": self.directory / "kubelet.json",
            "kubeconfig": self.directory / "kubeconfig",
            "root-dir": self.directory / "kubelet",
            "cert-dir": self.directory / "pki",
            "hostname-override": NODE,
            # A node's address on loopback is refused, so somebody else is said to know it.
            "cloud-provider": "external",
            # Where no node is left, pods are never evicted from a lost one; so it doesn't count.
            "node-labels": "node.kubernetes.io/exclude-disruption=true",
        }

    def _kubelet(self) -> dict[str, Any]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": "127.0.0.1",
            "port": self.ports["kubelet"],
            "healthzPort": 0,
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{self.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.bridge}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "podLogsDir": str(self.directory / "run/logs"),
            "volumePluginDir": str(self.directory / "run/plugins"),
            "makeIPTablesUtilChains": False,  # leave the system's firewall as it is
            # Nobody answers there, at once; without a server, each pod would get a warning.
            "clusterDNS": ["127.0.0.1"],
            "resolvConf": "",
            # No full disk of the machine makes pods leave, or images be deleted.
            "evictionHard": dict.fromkeys(_DISK_SIGNALS, "0%"),
            "imageGCHighThresholdPercent": 100,
            # An image that is pulled for ever keeps no other from being pulled.
            "serializeImagePulls": False,
            "maxPods": 500,
            "kubeAPIQPS": 500,
            "kubeAPIBurst": 1000,
            "eventRecordQPS": 0,  # no limit
            # See --node-monitor-grace-period; a lease is renewed at a quarter of its time.
            "nodeStatusUpdateFrequency": "2s",
            "nodeLeaseDurationSeconds": 8,
        }


def _free_ports() -> list[int]:
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == len(_LISTENERS):
            return found
    raise AssertionError(f"no {len(_LISTENERS)} ports are free in {_PORTS}")
