"""Jobs of the Docker engine without the engine: bare containers like theirs, finished records."""

import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from docker import APIClient

from benchmarks.docker_daemon import ANSWER_SECONDS
from engines.docker import record
from engines.docker.container import Attempt
from engines.docker.manifest import make_body
from engines.docker.record import Claim, KeptJob, Labels
from engines.docker.settings import About, Settings
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Key
from engines.lifecycle.intent import make_intent
from engines.lifecycle.status import Progress, status
from jobengine import JobSpec
from tests.docker.daemons import IMAGE

KEY: Key = (0, 0)
_THREADS = 8


def connect(host: str) -> APIClient:
    """The SDK's own client of a daemon; to be closed."""
    return APIClient(host, version="auto", timeout=ANSWER_SECONDS)


def keep(name: str, spec: JobSpec) -> KeptJob:
    """A job that is accepted now, with the image of the benchmarks unless it says another."""
    kept = JobSpec()
    kept.CopyFrom(spec)
    kept.image = spec.image or IMAGE
    timeout = Settings.default_start_timeout
    return KeptJob(make_intent(name, kept, "", timeout, now=time.time()), kept)


def body_of(labels: Labels, kept: KeptJob) -> dict[str, Any]:
    """What the engine has the daemon create for the job's first attempt."""
    return make_body(kept, KEY, {}, labels, Settings(), About())


def make_container(client: APIClient, labels: Labels, kept: KeptJob) -> str:
    """Create the container of the job's first attempt; return its id."""
    sdk: Any = client  # whose types leave this call out
    body, name = body_of(labels, kept), labels.container(kept.intent, KEY)
    return str(sdk.create_container_from_config(body, name)["Id"])


def make_finished_jobs(host: str, namespace: str, names: Sequence[str]) -> None:
    """Jobs that ran `true` and succeeded, by their volumes and containers.

    The containers are as they are before their start: to start them would take minutes, and of a
    job with a record of its end nothing but their place in the list is looked at.
    """
    labels = Labels(namespace)
    own = threading.local()
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(_THREADS) as threads:

        def make(name: str) -> None:
            if not hasattr(own, "client"):
                own.client = stack.enter_context(contextlib.closing(connect(host)))
            _make(own.client, labels, name)

        for _ in threads.map(make, names):
            pass


def _make(client: APIClient, labels: Labels, name: str) -> None:
    kept = keep(name, JobSpec(command=["true"]))
    intent, now = kept.intent, time.time()
    client.create_volume(labels.job_volume(name), labels=labels.of_job(kept))
    container = make_container(client, labels, kept)
    claim = labels.of_claim(intent, KEY, Claim(container, "benchmark"))
    client.create_volume(labels.container(intent, KEY), labels=claim)
    attempt = Attempt(*KEY, now, container, end=End(facts.EXITED, now, 0))
    ended = status(intent, Progress([attempt]), None)
    volume = labels.fact_volume(intent, record.END)
    client.create_volume(volume, labels=labels.of_end(intent, ended))
