"""A shim on its own: what it refuses to run."""

import os
import subprocess
import sys
import time
from pathlib import Path

from engines.lifecycle.intent import make_intent
from engines.local import plan, record
from engines.local.shim import JOBS
from engines.local.store import Store
from tests.engines.local.place import shell

RUN = """
import os, signal, sys
from engines.local import shim
state_dir, name, uid, moved = sys.argv[1:]
read, write = os.pipe()
for fd in (read, write):
    os.set_blocking(fd, False)
signal.set_wakeup_fd(write)
signal.signal(signal.SIGCHLD, lambda *_: None)
os.chdir(f"{state_dir}/jobs/{name}")
if moved:
    os.rename(f"{state_dir}/jobs/{name}", moved)
settings = shim.Settings(state_dir, 1.0, "none", [])
shim._run(settings, shim.Request(name, uid, 0, 0, None), read)
"""


def run_shim(tmp_path: Path, moved: str) -> tuple[Path, Path]:
    """Have a shim run a job; return the job's directory and the file that the job writes."""
    state_dir, written = tmp_path / "state", tmp_path / "written"
    spec = shell(f"echo ran > {written}")
    intent = make_intent("job", spec, "", None, now=time.time())
    store = Store(state_dir)
    store.open()
    try:
        for fd in store.create(intent, plan.make_plan(spec, 4096), spec.SerializeToString()):
            os.close(fd)
        subprocess.run(
            [sys.executable, "-c", RUN, state_dir, "job", intent.uid, moved], check=True, timeout=30
        )
    finally:
        store.close()
    return Path(moved or state_dir / JOBS / "job"), written


def test_a_job_is_run(tmp_path: Path) -> None:
    directory, written = run_shim(tmp_path, "")
    assert written.read_text() == "ran\n"
    assert (directory / record.attempt_name(0, 0)).exists()


def test_a_job_that_was_removed_meanwhile_is_not_run(tmp_path: Path) -> None:
    """The shim stands in the directory, which moves; what says stop may be gone from it."""
    _, written = run_shim(tmp_path, str(tmp_path / "moved"))
    assert not written.exists()
