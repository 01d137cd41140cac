"""Private Kubernetes clusters of one node, which tests may hurt and which leave nothing."""

import base64
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from functools import partial
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

import psutil

from tests.cluster import images, machine
from tests.cluster.api import Api, Refused
from tests.cluster.available import binary
from tests.cluster.components import COMPONENTS, HELPERS, NODE, PROGRAMS, Component, Files
from tests.docker import traces
from tests.docker.available import PATH
from tests.faults.processes import alive, until

_START_SECONDS = 120.0
"""A machine that builds or tests something else too takes its time."""
_STOP_SECONDS = 90.0
"""An apiserver waits up to 60 s for those whom it answers."""
_END_SECONDS = 30.0
_ANSWER_SECONDS = 5.0

_LONGEST_DIRECTORY = 107 - len("/kubelet/pod-resources/kubelet.sock")  # Linux's limit

_UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"

_DIRECTORIES = ("bin", "cni", "containerd", "etcd", "kubelet", "pki", "run")
_FILES = ("containerd.toml", "kubeconfig*", "*.json")


class Cluster:
    """A node with all that it has in one directory.

    Another object on the same directory, in whatever process, has the same node.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        if len(os.fsencode(self.directory)) > _LONGEST_DIRECTORY:
            limit = f"a cluster's directory has at most {_LONGEST_DIRECTORY} bytes"
            raise ValueError(f"{self.directory} is too long: {limit}")
        self._children: dict[Component, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator."""
        return self.directory / "kubeconfig"

    @property
    def api(self) -> Api:
        """What the administrator may do."""
        return Api(self.kubeconfig)

    def token(self, user: str = "admin") -> str:
        """What makes a client this user; see USERS."""
        return self._files.tokens[user]

    def kubeconfig_with(self, token: str, namespace: str = "default") -> Path:
        """A kubeconfig of whom the token stands for, be it nobody."""
        name = f"kubeconfig-{len(list(self.directory.glob('kubeconfig*')))}"
        return self._files.write_kubeconfig(name, token, namespace)

    def kubeconfig_of_account(self, namespace: str, account: str = "default") -> Path:
        """A kubeconfig of a service account, in whose namespace it is."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = self.api.post(path, {"spec": {"expirationSeconds": 3600}})
        return self.kubeconfig_with(answer["status"]["token"], namespace)

    def log(self, component: Component) -> Path:
        """What a component says, over all its starts."""
        return self.directory / f"{PROGRAMS[component]}.log"

    def running(self, component: Component) -> bool:
        """Whether a component runs, be it frozen."""
        return bool(self._processes(component))

    def pid(self, component: Component) -> int:
        return self._process(component).pid

    def start(self) -> None:
        """Start it, and wait until it runs pods."""
        running = [component for component in COMPONENTS if self.running(component)]
        assert not running, f"{', '.join(running)} runs in {self.directory} already"
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._bridge_file.exists():
            self._bridge_file.write_text(traces.add_bridge())
        self._files.write(binary())
        machine.save_kernel_settings(self._kernel_file)
        self._launch("etcd", "containerd")
        self._await_health("etcd", "containerd")
        self._launch("apiserver")
        self._load_images()
        self._await_health("apiserver")
        self._launch("controller-manager", "scheduler", "kubelet")
        self._await_health("controller-manager", "scheduler", "kubelet")
        self.await_node()
        machine.restore_kernel_settings(self._kernel_file)

    def start_component(self, component: Component) -> None:
        """Start a component that doesn't run, and wait until it says that it is well."""
        assert not self.running(component), f"the {component} in {self.directory} runs already"
        self._launch(component)
        self._await_health(component)

    def mend(self) -> None:
        """Have everything run that was ended or frozen."""
        for component in COMPONENTS:
            if self.running(component):
                self.thaw(component)
            else:
                self.start_component(component)
        self.await_node()

    def await_node(self) -> None:
        """Wait until the node runs pods, also one that was deleted and whose kubelet is back.

        It takes somebody who does what a cloud provider would.
        """
        api, node = self.api, f"/api/v1/nodes/{NODE}"
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        until("there is a node", lambda: api.exists(node), seconds=_START_SECONDS)
        addresses = [
            {"type": "InternalIP", "address": "127.0.0.1"},
            {"type": "Hostname", "address": NODE},
        ]
        api.patch(f"{node}/status", {"status": {"addresses": addresses}})
        until("the node has its address", lambda: self._take_over(api, node))
        until("the node is ready", lambda: _ready(api.get(node)), seconds=_START_SECONDS)
        until("accounts are there", lambda: api.exists(account), seconds=_START_SECONDS)

    def kill(self, component: Component) -> None:
        """End a component as a crash would; what it has started goes on."""
        self._end(component, signal.SIGKILL)

    def terminate(self, component: Component) -> None:
        """End a component by SIGTERM."""
        self._end(component, signal.SIGTERM)

    def restart(self, component: Component) -> None:
        """End a component by SIGTERM, and start it again."""
        self.terminate(component)
        self.start_component(component)

    def freeze(self, component: Component) -> None:
        """Make it hang: it still accepts connections, and answers nothing."""
        process = self._process(component)
        process.send_signal(signal.SIGSTOP)
        until(f"the {component} hangs", lambda: process.status() == psutil.STATUS_STOPPED)

    def thaw(self, component: Component) -> None:
        """Let it go on."""
        self._process(component).send_signal(signal.SIGCONT)

    def compact(self) -> int:
        """Make etcd forget all that was before now, and return the revision from which it knows.

        An apiserver still has the latest changes of each kind in its memory, and serves watches
        from there; one that starts anew has none from before.
        """
        key = base64.b64encode(b"any").decode()
        revision = int(self._ask_etcd("range", {"key": key})["header"]["revision"])
        self._ask_etcd("compaction", {"revision": revision, "physical": True})
        return revision

    def close(self) -> None:
        """End it with its pods, and leave nothing but logs; may be repeated."""
        if not self._bridge_file.exists():
            return  # it is made first and removed last: nothing else is there
        until("nothing runs", self._kill_everything, seconds=_END_SECONDS)
        directory = self.directory
        # Shims have their sockets in the system's /run, wherever their containerd is.
        for file in (directory / "run").rglob("address"):
            Path(file.read_text().removeprefix("unix://")).unlink(missing_ok=True)
        what = f"nothing is mounted in {directory}"
        until(what, lambda: traces.unmount(directory), seconds=_END_SECONDS)
        machine.restore_kernel_settings(self._kernel_file)
        bridge = self._bridge
        until(f"no cgroup {bridge}", lambda: traces.remove_cgroup(bridge), seconds=_END_SECONDS)
        for note in machine.notes(directory):
            note.unlink(missing_ok=True)
        for name in _DIRECTORIES:
            shutil.rmtree(directory / name, ignore_errors=True)
        for path in [file for pattern in _FILES for file in directory.glob(pattern)]:
            path.unlink()
        until(f"the bridge {bridge} is gone", lambda: traces.remove_bridge(bridge))
        self._bridge_file.unlink()

    @property
    def _files(self) -> Files:
        return Files(self.directory, self._bridge)

    @property
    def _bridge(self) -> str:
        """The bridge of its pods, for which their cgroup and their network are named."""
        return self._bridge_file.read_text()

    @property
    def _bridge_file(self) -> Path:
        return self.directory / "bridge"

    @property
    def _kernel_file(self) -> Path:
        return self.directory / "kernel.json"

    def _launch(self, *components: Component) -> None:
        """Start components, without waiting."""
        self._reap()
        for component in components:
            if component == "kubelet":
                machine.add_cgroup(self._bridge)
            self._children[component] = self._spawn(component)

    def _spawn(self, component: Component) -> "subprocess.Popen[bytes]":
        """Start a component in a session of its own, where no Ctrl-C reaches it."""
        with self.log(component).open("ab") as log:
            return subprocess.Popen(
                self._files.command(component),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": PATH},
                start_new_session=True,
            )

    def _await_health(self, *components: Component) -> None:
        for component in components:
            what = f"the {component} is well; see {self.log(component)}"
            until(what, partial(self._healthy, component), seconds=_START_SECONDS)

    def _healthy(self, component: Component) -> bool:
        child = self._children[component]
        if child.poll() is not None:
            text = self.log(component).read_text()
            raise AssertionError(f"the {component} ended by {child.returncode}:\n{text[-2000:]}")
        if component == "containerd":
            return self._ctr("version").returncode == 0
        with contextlib.suppress(OSError, HTTPException, Refused):
            if component == "apiserver":
                return bool(self.api.call("GET", "/readyz", seconds=_ANSWER_SECONDS) == "ok")
            return self._says_well(component)
        return False

    def _says_well(self, component: Component) -> bool:
        port = self._files.ports[component]
        if component == "etcd":
            url = f"http://127.0.0.1:{port}/health"
        else:
            url = f"https://127.0.0.1:{port}/healthz"
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with urlopen(url, timeout=_ANSWER_SECONDS, context=anybody) as answer:
            return bool(answer.status == 200)

    def _load_images(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            for archive in images.write(Path(place)):
                done = self._ctr("images", "import", str(archive))
                assert done.returncode == 0, done.stderr.decode()

    def _ctr(self, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            ["ctr", "--address", self._files.socket, "--namespace", "k8s.io", *arguments],
            env={**os.environ, "PATH": PATH},
            capture_output=True,
            check=False,
            timeout=_START_SECONDS,
        )

    def _take_over(self, api: Api, node: str) -> bool:
        """Remove the taint of a node that waits for its cloud provider."""
        found = api.get(node)
        taints = found["spec"].get("taints", [])
        kept = [taint for taint in taints if taint["key"] != _UNINITIALIZED]
        if len(kept) == len(taints):
            return True
        version = found["metadata"]["resourceVersion"]
        with contextlib.suppress(Refused):  # somebody else has changed it meanwhile
            api.patch(node, {"metadata": {"resourceVersion": version}, "spec": {"taints": kept}})
        return False

    def _ask_etcd(self, what: str, body: Mapping[str, object]) -> Any:
        url = f"http://127.0.0.1:{self._files.ports['etcd']}/v3/kv/{what}"
        asked = Request(url, method="POST", data=json.dumps(body).encode())
        with urlopen(asked, timeout=_ANSWER_SECONDS) as answer:
            return json.load(answer)

    def _end(self, component: Component, number: signal.Signals) -> None:
        process = self._process(component)
        process.send_signal(number)
        what = f"the {component} has ended"
        until(what, lambda: self._ended(component, process), seconds=_STOP_SECONDS)

    def _ended(self, component: Component, process: psutil.Process) -> bool:
        # Of a program with threads, the first may be a zombie before the others have ended: only
        # then can it be waited for.
        self._reap()
        return not alive(process) and component not in self._children

    def _reap(self) -> None:
        """Forget the children that have ended; until then they are zombies."""
        self._children = {
            component: child for component, child in self._children.items() if child.poll() is None
        }

    def _process(self, component: Component) -> psutil.Process:
        found = self._processes(component)
        assert found, f"no {component} runs in {self.directory}"
        return found[0]

    def _processes(self, component: Component) -> list[psutil.Process]:
        return traces.processes(self.directory, PROGRAMS[component])

    def _kill_everything(self) -> bool:
        """Kill what runs of it, and say whether nothing does any more."""
        found = traces.processes(self.directory, *PROGRAMS.values(), *HELPERS)
        killed = [traces.kill(process.pid) for process in found]
        killed.append(traces.kill_in(self._bridge))
        self._reap()
        return not any(killed) and not self._children


def _ready(node: Mapping[str, Any]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
