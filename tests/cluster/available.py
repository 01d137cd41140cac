"""Whether the engine kubernetes can be tested here; imports nothing that may be missing."""

import hashlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

from tests.docker.available import PATH

GIVEN_KUBECONFIG = "JOBENGINE_TEST_KUBECONFIG"
"""Environment variable: the cluster to test on, in place of a private one."""

CNI_PLUGINS = Path("/usr/lib/cni")

_PROGRAMS = ("containerd", "ctr", "runc", "docker-init", "ip", "openssl", "busybox")
_SOURCES = ("build", "go.mod", "go.sum", "main.go")


def binary() -> Path:
    """Kubernetes, all in one; tests/cluster/install puts it there, by the same name."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        digest.update(Path(__file__).with_name("kubenode").joinpath(name).read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "jobengine", f"kubenode-{digest.hexdigest()[:16]}", "kubenode")


def problems() -> dict[str, str]:
    """By engine: why it can't be tested here, or nothing."""
    if os.environ.get(GIVEN_KUBECONFIG):
        return {"kubernetes": _problem_of_sdk()}
    return {"kubernetes": problem()}


def problem() -> str:
    """Why no private cluster can be started, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "its cluster takes root on Linux"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=PATH) is None]
    if not (CNI_PLUGINS / "bridge").exists():
        missing.append("containernetworking-plugins")
    if missing:
        return f"{', '.join(missing)} isn't installed: run tests/cluster/install as root"
    if not binary().exists():
        return "Kubernetes isn't built: run tests/cluster/install as root"
    return _problem_of_sdk()


def _problem_of_sdk() -> str:
    if importlib.util.find_spec("kubernetes") is not None:
        return ""
    return "the Python package 'kubernetes' isn't installed: run scripts/setup dev"
