"""What the daemons of a private Slurm cluster read, in its directory."""

import json
import random
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.slurm.available import memory_problem

MUNGED, MARIADBD, SLURMDBD, SLURMCTLD = "munged", "mariadbd", "slurmdbd", "slurmctld"

CPUS, MEMORY_MB, GPUS = 16, 32000, 2
"""Of each node, whatever the machine has."""

_NODE = "node"

_PORTS = range(20000, 32768)
"""Below those that Linux gives to clients: none takes the port of what is down for a while."""

# What stands for a GPU: Slurm asks for devices, and opens none of them.
_GRES = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"

_CGROUP = "CgroupPlugin=cgroup/v1\nConstrainRAMSpace=yes\nConstrainSwapSpace=yes\n"

# A preempted job of `main` ends, one of `requeue` runs again, for those in `urgent`.
_PARTITIONS = """\
PartitionName=main Nodes=ALL Default=YES PriorityTier=10 PreemptMode=CANCEL
PartitionName=requeue Nodes=ALL PriorityTier=10 PreemptMode=REQUEUE
PartitionName=urgent Nodes=ALL PriorityTier=20 PreemptMode=OFF
"""

_ACCOUNTS = """\
CREATE USER IF NOT EXISTS slurm@'127.0.0.1' IDENTIFIED BY '{password}';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a cluster is like: how many nodes, whether it keeps accounts, and lines of slurm.conf
    that take the place of its own."""

    nodes: int = 1
    accounting: bool = False
    conf: Mapping[str, str] = field(default_factory=dict)


class Files:
    """The files of a cluster in its directory.

    What clients hold on to, as ports, is made once: another start has the same.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def exist(self) -> bool:
        return self._noted.exists()

    @property
    def slurm_conf(self) -> Path:
        return self.directory / "slurm.conf"

    @property
    def settings(self) -> Settings:
        found: dict[str, object] = json.loads(self._noted.read_text())["settings"]
        return Settings(**found)  # type: ignore[arg-type]

    @property
    def ports(self) -> dict[str, int]:
        """By who listens there, on loopback."""
        found: dict[str, int] = json.loads(self._noted.read_text())["ports"]
        return found

    @property
    def nodes(self) -> list[str]:
        """Names that no other cluster on this machine has: its cgroups are named for them."""
        return [f"{_NODE}{port}" for name, port in self.ports.items() if name.startswith("node ")]

    @property
    def components(self) -> list[str]:
        """All daemons in the order in which they start; a node's name stands for its slurmd."""
        accounts = [MARIADBD, SLURMDBD] if self.settings.accounting else []
        return [MUNGED, *accounts, SLURMCTLD, *self.nodes]

    def write(self, settings: Settings) -> None:
        """Write all that the daemons read; of a cluster that is there, nothing changes."""
        if self.exist:
            return
        for name in ("run", "log", "state", *(["data"] if settings.accounting else [])):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o755)
        names = [SLURMCTLD, SLURMDBD, MARIADBD, *(f"node {i}" for i in range(settings.nodes))]
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._noted.write_text(json.dumps({"settings": asdict(settings), "ports": ports}))
        for node in self.nodes:
            (self.directory / "spool" / node).mkdir(parents=True)
        self._write_secret("munge.key", secrets.token_bytes(128))
        (self.directory / "gres.conf").write_text(_GRES)
        (self.directory / "cgroup.conf").write_text(_CGROUP)
        self.slurm_conf.write_text(self._slurm_conf())
        if settings.accounting:
            self._write_accounting()

    def command(self, component: str) -> list[str]:
        """What a daemon is started by, in the foreground."""
        directory = self.directory
        if component == MUNGED:
            return [
                *("munged", "--foreground", "--force", f"--key-file={directory}/munge.key"),
                *(f"--socket={self._munge_socket}", f"--pid-file={directory}/run/munged.pid"),
                *(f"--seed-file={directory}/run/munge.seed", "--num-threads=4"),
            ]
        if component == MARIADBD:
            return [
                *("mariadbd", "--no-defaults", "--user=root", f"--datadir={directory}/data"),
                *("--bind-address=127.0.0.1", f"--port={self.ports[MARIADBD]}"),
                *(f"--socket={directory}/run/mariadb.sock", f"--init-file={directory}/init.sql"),
                *(f"--pid-file={directory}/run/mariadbd.pid", "--innodb-flush-log-at-trx-commit=0"),
            ]
        if component == SLURMDBD:
            return [SLURMDBD, "-D"]
        if component == SLURMCTLD:
            return [SLURMCTLD, "-D", "-f", str(self.slurm_conf)]
        return ["slurmd", "-D", "-N", component, "-f", str(self.slurm_conf)]

    def install_database(self) -> list[str]:
        """What makes the directory of an empty database."""
        return [
            *("mariadb-install-db", "--no-defaults", f"--datadir={self.directory}/data"),
            *("--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"),
        ]

    @property
    def _noted(self) -> Path:
        return self.directory / "cluster.json"

    @property
    def _munge_socket(self) -> Path:
        return self.directory / "run/munge.socket"

    def _write_secret(self, name: str, content: bytes) -> None:
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_bytes(content)

    def _write_accounting(self) -> None:
        password = secrets.token_hex(16)
        self._write_secret("init.sql", _ACCOUNTS.format(password=password).encode())
        lines = {
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self._munge_socket}",
            "DbdHost": "localhost",
            "DbdAddr": "127.0.0.1",
            "DbdPort": self.ports[SLURMDBD],
            "SlurmUser": "root",
            "LogFile": self.directory / "log/slurmdbd.log",
            "PidFile": self.directory / "run/slurmdbd.pid",
            "StorageType": "accounting_storage/mysql",
            "StorageHost": "127.0.0.1",
            "StoragePort": self.ports[MARIADBD],
            "StorageUser": "slurm",
            "StoragePass": password,
        }
        self._write_secret("slurmdbd.conf", _lines(lines).encode())

    def _slurm_conf(self) -> str:
        settings = self.settings
        lines = self._common() | self._memory()
        if settings.accounting:
            lines |= {
                "AccountingStorageType": "accounting_storage/slurmdbd",
                "AccountingStorageHost": "127.0.0.1",
                "AccountingStoragePort": self.ports[SLURMDBD],
                "AccountingStoragePass": self._munge_socket,
                "AccountingStorageTRES": "gres/gpu",
                "AccountingStoreFlags": "job_comment",
            }
        lines |= settings.conf
        nodes = [
            f"NodeName={node} NodeAddr=127.0.0.1 Port={port_of(node)}"
            f" CPUs={CPUS} RealMemory={MEMORY_MB} Gres=gpu:{GPUS}\n"
            for node in self.nodes
        ]
        return _lines(lines) + "".join(nodes) + _PARTITIONS

    def _common(self) -> dict[str, object]:
        directory = self.directory
        return {
            "ClusterName": "test",
            "SlurmctldHost": "localhost(127.0.0.1)",
            "SlurmctldPort": self.ports[SLURMCTLD],
            "SlurmUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self._munge_socket}",
            "CredType": "cred/munge",
            "CommunicationParameters": "NoInAddrAny",
            "MpiDefault": "none",
            "SlurmctldPidFile": directory / "run/slurmctld.pid",
            "SlurmdPidFile": directory / "run/slurmd-%n.pid",
            "SlurmctldLogFile": directory / "log/slurmctld.log",
            "SlurmdLogFile": directory / "log/slurmd-%n.log",
            # A relative path makes slurmctld wait for a minute.
            "StateSaveLocation": directory / "state",
            "SlurmdSpoolDir": directory / "spool/%n",
            "ProctrackType": "proctrack/linuxproc",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "DefMemPerCPU": 100,
            "GresTypes": "gpu",
            # A node is what this file says, whatever the machine has.
            "SlurmdParameters": "config_overrides",
            "SchedulerType": "sched/backfill",
            # At once, rather than with what comes in the next seconds.
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,sched_min_interval=0,"
            "bf_interval=1",
            "PreemptType": "preempt/partition_prio",
            "PreemptMode": "REQUEUE",
            "KillWait": 5,
            "MinJobAge": 300,
            # A node that was away is taken back as soon as it says that it is there.
            "ReturnToService": 2,
            "SlurmdTimeout": 30,
        }

    def _memory(self) -> dict[str, object]:
        """With cgroups a job ends as OUT_OF_MEMORY, without them it is killed by Slurm itself."""
        gather: dict[str, object] = {
            "JobAcctGatherType": "jobacct_gather/linux",
            "JobAcctGatherFrequency": 1,
        }
        if memory_problem():
            kill = {"TaskPlugin": "task/none", "JobAcctGatherParams": "OverMemoryKill"}
            return gather | kill
        return gather | {"TaskPlugin": "task/cgroup"}


def port_of(node: str) -> int:
    """Where the slurmd of a node listens."""
    return int(node.removeprefix(_NODE))


def _lines(settings: Mapping[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"no {count} ports are free in {_PORTS}")
