"""Private Slurm clusters, which tests may hurt and which leave nothing."""

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.docker.traces import kill, remove_cgroup
from tests.faults.processes import alive, until
from tests.slurm import traces
from tests.slurm.available import PATH
from tests.slurm.files import MARIADBD, MUNGED, SLURMCTLD, SLURMDBD, Files, Settings, port_of

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_END_SECONDS = 30.0
_ANSWER_SECONDS = 30.0
"""Longer than a slurmctld that is busy takes."""
_ASK_SECONDS = 2.0
"""Where one that isn't there yet is asked again."""

_LONGEST_DIRECTORY = 107 - len("/spool/node12345/node12345_1234567.4294967291")  # Linux's limit

_PROGRAMS = {MUNGED, MARIADBD, SLURMDBD, SLURMCTLD}

_WORKING_STATES = {"idle", "mixed", "allocated", "completing"}


class SlurmCluster:
    """A munged, a slurmctld and the slurmds of its nodes, with all that they have in one directory;
    with accounting a slurmdbd and its database too.

    A daemon goes by its program's name, a slurmd by its node's. Another object on the same
    directory, in whatever process, has the same cluster.
    """

    def __init__(self, directory: Path, settings: Settings = Settings()) -> None:  # noqa: B008
        self.directory = directory.resolve()
        if len(os.fsencode(self.directory)) > _LONGEST_DIRECTORY:
            limit = f"a cluster's directory has at most {_LONGEST_DIRECTORY} bytes"
            raise ValueError(f"{self.directory} is too long: {limit}")
        self._wanted = settings
        self._files = Files(self.directory)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

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
    def conf(self) -> Path:
        """What clients take for SLURM_CONF."""
        return self._files.slurm_conf

    @property
    def nodes(self) -> list[str]:
        return self._files.nodes

    @property
    def accounting(self) -> bool:
        """Whether it has a slurmdbd."""
        return self._files.settings.accounting

    def log(self, component: str) -> Path:
        """What a daemon says, over all its starts."""
        return self.directory / "log" / f"{component}.out"

    def running(self, component: str) -> bool:
        """Whether a daemon runs, be it frozen."""
        return bool(self._processes(component))

    def pid(self, component: str) -> int:
        return self._process(component).pid

    def start(self) -> None:
        """Start it, and wait until it runs jobs."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._files.write(self._wanted)
        running = [name for name in self._files.components if self.running(name)]
        assert not running, f"{', '.join(running)} runs in {self.directory} already"
        self.mend()

    def start_component(self, component: str) -> None:
        """Start a daemon that doesn't run, and wait until it answers."""
        assert not self.running(component), f"{component} in {self.directory} runs already"
        self._launch(component)
        what = f"{component} answers; see {self.log(component)}"
        until(what, lambda: self._answers(component), seconds=_START_SECONDS)

    def mend(self) -> None:
        """Have everything run that was ended or frozen, and the nodes take jobs."""
        for component in self._files.components:
            if self.running(component):
                self.thaw(component)
            else:
                self.start_component(component)
        self.await_nodes()

    def await_nodes(self) -> None:
        """Wait until all nodes take jobs."""
        what = f"the nodes of {self.directory} take jobs"
        until(what, lambda: set(self._node_states()) <= _WORKING_STATES, seconds=_START_SECONDS)

    def kill(self, component: str) -> None:
        """End a daemon as a crash would; what it has started goes on."""
        self._end(component, signal.SIGKILL)

    def terminate(self, component: str) -> None:
        """End a daemon by SIGTERM."""
        self._end(component, signal.SIGTERM)

    def restart(self, component: str) -> None:
        """End a daemon by SIGTERM, and start it again."""
        self.terminate(component)
        self.start_component(component)

    def freeze(self, component: str) -> None:
        """Make it hang: it still accepts connections, and answers nothing."""
        process = self._process(component)
        process.send_signal(signal.SIGSTOP)
        until(f"{component} hangs", lambda: process.status() == psutil.STATUS_STOPPED)

    def thaw(self, component: str) -> None:
        """Let it go on."""
        self._process(component).send_signal(signal.SIGCONT)

    def lose_state(self) -> None:
        """Remove what a slurmctld that doesn't run has noted of jobs, as a lost disk would."""
        assert not self.running(SLURMCTLD)
        shutil.rmtree(self.directory / "state")
        (self.directory / "state").mkdir()

    def crash_node(self, node: str) -> None:
        """Cut the power of a node: its slurmd and all that runs on it end at once."""
        self.kill(node)
        # First the keepers of steps, which would tell how their jobs ended.
        self._kill(traces.keepers(self.conf, node))
        until(f"nothing runs on {node}", lambda: not self._kill(traces.on_node(self.conf, node)))

    def run(self, *command: str, seconds: float = _ANSWER_SECONDS) -> str:
        """Run one of Slurm's commands; return what it says.

        Raises:
            subprocess.CalledProcessError: it refused.
            subprocess.TimeoutExpired: it got no answer.
        """
        done = subprocess.run(
            command,
            env=self._environment(),
            cwd=self.directory,
            capture_output=True,
            check=True,
            text=True,
            timeout=seconds,
        )
        return done.stdout

    def jobs(self) -> list[dict[str, Any]]:
        """What slurmctld knows of jobs, those included that have ended lately."""
        found: dict[str, Any] = json.loads(self.run("squeue", "--json"))
        return list(found["jobs"])

    def processes(self, job_id: int) -> list[psutil.Process]:
        """What runs of a job."""
        return traces.of_job(self.conf, job_id)

    def cancel_all(self) -> None:
        """End all jobs, and wait until nothing of them runs."""
        self.run("scancel", "--full", "--user=root")
        until("no job is left", lambda: not self._active(), seconds=_END_SECONDS)

    def close(self) -> None:
        """End it with its jobs, and leave nothing but logs; may be repeated."""
        if not self._files.exist:
            return
        until("nothing runs", self._kill_everything, seconds=_END_SECONDS)
        for node in self.nodes:
            name = f"slurm_{node}"
            until(f"no cgroup {name}", lambda: remove_cgroup(name), seconds=_END_SECONDS)  # noqa: B023
        for path in self.directory.iterdir():
            if path.name == "log":
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _active(self) -> str:
        return self.run("squeue", "-h", "-t", "PD,R,S,CF")

    def _node_states(self) -> list[str]:
        return self.run("sinfo", "-h", "-N", "-o", "%T", "-p", "main").split()

    def _environment(self) -> dict[str, str]:
        """A keeper of a step overwrites where its own begins: the mark comes late."""
        path = {"PATH": PATH}
        kept = {name: value for name, value in os.environ.items() if name != "SLURM_CONF"}
        return {**kept, **path, "SLURM_CONF": str(self.conf)}

    def _launch(self, component: str) -> None:
        """Start a daemon in a session of its own, where no Ctrl-C reaches it, without waiting."""
        self._reap()
        if component == MARIADBD and not (self.directory / "data/mysql").exists():
            done = subprocess.run(
                self._files.install_database(),
                env=self._environment(),
                capture_output=True,
                check=False,
                timeout=_START_SECONDS,
            )
            assert done.returncode == 0, done.stderr.decode()
        with self.log(component).open("ab") as log:
            self._children[component] = subprocess.Popen(
                self._files.command(component),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._environment(), traces.NODE: component},
                start_new_session=True,
            )

    def _answers(self, component: str) -> bool:
        if (code := self._children[component].poll()) is not None:
            text = self.log(component).read_text()
            raise AssertionError(f"{component} ended by {code}:\n{text[-2000:]}")
        ask = {
            MUNGED: ("munge", "--no-input", f"--socket={self.directory}/run/munge.socket"),
            MARIADBD: ("mariadb-admin", "--no-defaults", f"--socket={self._database}", "ping"),
            SLURMDBD: ("sacctmgr", "-n", "show", "cluster"),
            SLURMCTLD: ("sinfo", "-h"),
        }
        try:
            if component in ask:
                self.run(*ask[component], seconds=_ASK_SECONDS)
            else:
                socket.create_connection(("127.0.0.1", port_of(component)), _ASK_SECONDS).close()
        except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return False
        return True

    @property
    def _database(self) -> Path:
        return self.directory / "run/mariadb.sock"

    def _end(self, component: str, number: signal.Signals) -> None:
        process = self._process(component)
        process.send_signal(number)
        until(f"{component} has ended", lambda: self._ended(process), seconds=_STOP_SECONDS)

    def _ended(self, process: psutil.Process) -> bool:
        # Of a program with threads, the first may be a zombie before the others have ended: only
        # then can it be waited for.
        self._reap()
        return not alive(process) and process.pid not in {
            child.pid for child in self._children.values()
        }

    def _reap(self) -> None:
        """Forget the children that have ended; until then they are zombies."""
        self._children = {
            name: child for name, child in self._children.items() if child.poll() is None
        }

    def _process(self, component: str) -> psutil.Process:
        found = self._processes(component)
        assert found, f"no {component} runs in {self.directory}"
        return found[0]

    def _processes(self, component: str) -> list[psutil.Process]:
        program = component if component in _PROGRAMS else "slurmd"
        found = traces.daemons(self.directory, self.conf)
        return [
            process
            for process in found
            if process.name() == program and (program != "slurmd" or component in process.cmdline())
        ]

    def _kill_everything(self) -> bool:
        """Kill what runs of it, and say whether nothing does any more."""
        found = traces.daemons(self.directory, self.conf) + traces.offspring(self.conf)
        return not self._kill(found) and not self._children

    def _kill(self, processes: list[psutil.Process]) -> bool:
        """Kill processes, and say whether any was running."""
        killed = [kill(process.pid) for process in processes]
        self._reap()
        return any(killed)
