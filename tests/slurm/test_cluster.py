"""Private clusters: several side by side, hurt and mended, and gone without a trace."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.docker.traces import cgroups
from tests.faults.processes import alive, until
from tests.slurm import traces

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.slurm.cluster import SlurmCluster

pytestmark = pytest.mark.engine("slurm")


@pytest.fixture
def cluster(make_slurm: "Callable[..., SlurmCluster]") -> "SlurmCluster":
    """A cluster of the test's own, of two nodes."""
    cluster = make_slurm(nodes=2)
    cluster.start()
    return cluster


def submit(cluster: "SlurmCluster", script: str, *options: str) -> int:
    output = f"--output={cluster.directory}/%j.out"
    return int(cluster.run("sbatch", "--parsable", output, *options, f"--wrap={script}"))


def state(cluster: "SlurmCluster", job_id: int) -> str:
    found = [job for job in cluster.jobs() if job["job_id"] == job_id]
    return str(found[0]["job_state"]) if found else "gone"


def running(cluster: "SlurmCluster", job_id: int) -> list[psutil.Process]:
    what = f"the processes of job {job_id}"
    return until(what, lambda: [p for p in cluster.processes(job_id) if p.name() == "sleep"])


def test_leaves_nothing(cluster: "SlurmCluster") -> None:
    """Also of jobs whose slurmd has gone, or hangs."""
    gone, hanging = cluster.nodes
    jobs = [submit(cluster, "sleep 600", f"--nodelist={node}") for node in cluster.nodes]
    processes = [process for job_id in jobs for process in running(cluster, job_id)]
    daemons = traces.daemons(cluster.directory, cluster.conf)
    keepers = traces.offspring(cluster.conf)
    assert {process.name() for process in keepers} >= {"slurmstepd", "slurmscriptd", "sleep"}
    cluster.kill(gone)
    cluster.freeze(hanging)
    cluster.freeze("slurmctld")
    cluster.close()
    assert not [process for process in (*processes, *daemons, *keepers) if alive(process)]
    assert [path.name for path in cluster.directory.iterdir()] == ["log"]
    assert not [path for node in (gone, hanging) for path in cgroups(f"slurm_{node}")]


def test_side_by_side(cluster: "SlurmCluster", slurm: "SlurmCluster") -> None:
    """What ends one leaves the other alone."""
    job_id = submit(slurm, "sleep 600")
    (process,) = running(slurm, job_id)
    other = submit(cluster, "sleep 600")
    assert running(cluster, other)
    cluster.close()
    assert alive(process)
    slurm.run("scancel", str(job_id))
    until("it is cancelled", lambda: state(slurm, job_id) == "CANCELLED")


def test_jobs_outlive_daemons(cluster: "SlurmCluster") -> None:
    job_id = submit(cluster, "sleep 600")
    (process,) = running(cluster, job_id)
    cluster.restart("slurmctld")  # it saves that the job runs, which takes it some seconds else
    for component in ("slurmctld", *cluster.nodes):
        cluster.kill(component)
    assert alive(process)
    cluster.mend()
    assert state(cluster, job_id) == "RUNNING"
    process.kill()
    until("its end is known", lambda: state(cluster, job_id) == "FAILED")


def test_power_of_a_node_is_cut(cluster: "SlurmCluster") -> None:
    one, other = cluster.nodes
    lost, kept = (submit(cluster, "sleep 600", f"--nodelist={node}") for node in (one, other))
    (process,), (going_on,) = running(cluster, lost), running(cluster, kept)
    cluster.crash_node(one)
    assert not alive(process)
    assert alive(going_on)


def test_accounts(slurm_accounting: "SlurmCluster") -> None:
    cluster = slurm_accounting
    job_id = submit(cluster, "exit 3")
    ask = ("sacct", "-n", "-X", "-P", "-o", "State,ExitCode", "-j", str(job_id))
    until("its end is stored", lambda: cluster.run(*ask).strip() == "FAILED|3:0")


def test_gpus_and_partitions(slurm: "SlurmCluster", tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    submit(slurm, f"echo $SLURM_GPUS_ON_NODE > {seen}.new; mv {seen}.new {seen}", "--gres=gpu:2")
    until("it has run", seen.exists)
    assert seen.read_text() == "2\n"
    names = slurm.run("sinfo", "-h", "-o", "%R").split()
    assert names == ["main", "requeue", "urgent"]


def test_memory_is_limited(slurm: "SlurmCluster", memory_is_limited: None) -> None:
    job_id = submit(slurm, "head -c 200M /dev/zero | tail", "--mem=50")
    until("its end is known", lambda: state(slurm, job_id) == "OUT_OF_MEMORY")
