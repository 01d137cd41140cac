"""Makes the records of many finished jobs, by the code with which the local engine makes them."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engines.lifecycle import facts
from engines.lifecycle.facts import End
from engines.lifecycle.intent import make_intent
from engines.local import plan, record
from engines.local.store import Store
from jobengine import JobSpec

LOG_LIMIT_BYTES = 64 * 1024 * 1024
# Each job costs two syncs, and the file system does those of several threads together.
_THREADS = 8


def make_finished_jobs(state_dir: Path, names: Sequence[str]) -> None:
    """Fill a state directory with jobs that ran `true` and succeeded."""
    store = Store(state_dir)
    store.open()
    try:
        with ThreadPoolExecutor(_THREADS) as threads:
            for _ in threads.map(lambda name: _make(store, name), names, chunksize=100):
                pass
        store.sync()
    finally:
        store.close()


def _make(store: Store, name: str) -> None:
    spec = JobSpec(command=["true"])
    intent = make_intent(name, spec, "", None, now=time.time())
    files = store.create(
        intent, plan.make_plan(spec, LOG_LIMIT_BYTES), spec.SerializeToString(deterministic=True)
    )
    directory = files[-1]
    attempt = os.open(record.attempt_name(0, 0), os.O_CREAT | os.O_RDWR, 0o600, dir_fd=directory)
    now = time.time()
    os.write(attempt, record.encode_start(now, os.getpid()))
    record.write_end(attempt, End(facts.EXITED, now, 0))
    for fd in (*files, attempt):
        os.close(fd)
