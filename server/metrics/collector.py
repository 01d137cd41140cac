"""All that one server counts, and how prometheus_client asks for it."""

import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

import server
from engines.base import Reason, State
from server.errors import (
    PermissionDenied,
    Reauthenticate,
    RequestError,
    ServerLimit,
    Unauthenticated,
)
from server.metrics import catalogue
from server.metrics.catalogue import CODE_NAMES, SERVICE, Family
from server.metrics.histogram import Histogram
from server.metrics.jobs import JobTally
from server.metrics.rpcs import Rpc

Values = Mapping[tuple[str, ...], float]


class Contact(Protocol):
    """What is asked about the engine, from another thread; the mirror is one."""

    @property
    def in_touch(self) -> "Flag":
        """Set while in touch with the engine."""
        ...

    @property
    def contact_time(self) -> float | None:
        """When the engine was last heard of, in seconds since the epoch."""
        ...


class Flag(Protocol):
    """What asyncio.Event and threading.Event have in common here."""

    def is_set(self) -> bool:
        """Whether it is set."""
        ...


class ReadFile(Protocol):
    """A file that is read again when it changes; asked from another thread."""

    @property
    def fine(self) -> bool:
        """Whether it could be used when it last changed."""
        ...

    @property
    def read_time(self) -> float:
        """When that was read which is in use, in seconds since the epoch."""
        ...


class Metrics(Collector):
    """What one server counts; nothing of it is shared with another server of the process.

    All of it is written on the event loop, as plain numbers without a lock, and read by the thread
    of the HTTP port. That may see a call counted as begun but not yet as ended, which is as true.
    """

    def __init__(self, engine: str, *, streams_limit: int) -> None:
        self._build = (server.__version__, engine, platform.python_version())
        self._streams_limit = streams_limit
        self._contact: Contact | None = None
        self._files: dict[str, ReadFile] = {}
        self._authentication_failures = dict.fromkeys(catalogue.AUTHENTICATION_FAILURES, 0)
        self._refused = dict.fromkeys(catalogue.REFUSALS, 0)
        self.rpcs = {method.name: Rpc(method) for method in SERVICE.methods}
        self.jobs = JobTally()
        self.jobs_created = 0
        self.connections_lost = 0
        self.audit_lines = 0
        self.certificate_expires: Callable[[], float] | None = None
        self.registry = CollectorRegistry()
        self.registry.register(self)
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    # -- counting -----------------------------------------------------------------------------

    def follow(self, contact: Contact) -> None:
        """Tell from now on whether the engine is there; before the port is served."""
        self._contact = contact

    def watch_file(self, name: str, file: ReadFile) -> None:
        """Tell from now on how one of `catalogue.FILES` is; before the port is served."""
        if name not in catalogue.FILES:
            raise ValueError(f"{name!r} is none of {', '.join(catalogue.FILES)}")
        self._files[name] = file

    def refused(self, error: RequestError) -> None:
        """A call was refused or ended. What is wrong with the request itself isn't counted here."""
        match error:
            case Unauthenticated():
                _count(self._authentication_failures, error.reason)
            case PermissionDenied():
                _count(self._refused, "permission")
            case Reauthenticate():
                _count(self._refused, "reauthenticate")
            case ServerLimit():
                _count(self._refused, error.limit)
            case _:
                pass

    # -- telling ------------------------------------------------------------------------------

    def collect(self) -> Iterable[Metric]:
        """All families of the catalogue, in its order. From any thread."""
        values = self._values()
        for family in catalogue.CATALOGUE:
            if family.kind == "histogram":
                yield _histogram(family, self._histograms(family))
            else:
                yield _plain(family, values[family])

    def _values(self) -> Mapping[Family, Values]:
        rpcs = self.rpcs.values()
        files = self._files.items()
        return {
            catalogue.STARTED: {rpc.labels: rpc.started for rpc in rpcs},
            catalogue.HANDLED: {
                (*rpc.labels, CODE_NAMES[code]): count
                for rpc in rpcs
                for code, count in rpc.handled.items()
            },
            catalogue.JOBS: _by_place(self.jobs.counts()),
            catalogue.CREATED: {(): self.jobs_created},
            catalogue.ENDED: _by_place(self.jobs.ended()),
            catalogue.STREAMS: {(rpc.name,): rpc.open for rpc in rpcs if rpc.seconds is None},
            catalogue.STREAMS_LIMIT: {(): self._streams_limit},
            catalogue.IN_TOUCH: {(): self._in_touch()},
            catalogue.CONTACT_AGE: _known(self._contact_age()),
            catalogue.CONNECTIONS_LOST: {(): self.connections_lost},
            catalogue.AUTHENTICATION: {(k,): n for k, n in self._authentication_failures.items()},
            catalogue.REFUSED: {(reason,): n for reason, n in self._refused.items()},
            catalogue.CERTIFICATE: _known(self._certificate_expires()),
            catalogue.RELOADED: {(name,): file.fine for name, file in files},
            catalogue.RELOAD_TIME: {(name,): file.read_time for name, file in files},
            catalogue.AUDIT: {(): self.audit_lines},
            catalogue.BUILD: {self._build: 1},
        }

    def _histograms(self, family: Family) -> Mapping[tuple[str, ...], Histogram]:
        if family is catalogue.START:
            return {(): self.jobs.start_seconds}
        if family is catalogue.RUN:
            return {(): self.jobs.run_seconds}
        return {rpc.labels: rpc.seconds for rpc in self.rpcs.values() if rpc.seconds is not None}

    def _in_touch(self) -> bool:
        return self._contact is not None and self._contact.in_touch.is_set()

    def _certificate_expires(self) -> float | None:
        return None if self.certificate_expires is None else self.certificate_expires()

    def _contact_age(self) -> float | None:
        heard = None if self._contact is None else self._contact.contact_time
        return None if heard is None else max(time.time() - heard, 0.0)


def _count(counts: dict[str, int], reason: str) -> None:
    """Count it under its reason, or under `other` where the catalogue lacks that."""
    counts[reason if reason in counts else "other"] += 1


def _known(value: float | None) -> Values:
    return {} if value is None else {(): value}


def _by_place(counts: Mapping[tuple[State, Reason], int]) -> Values:
    return {(state.name, reason.name): count for (state, reason), count in counts.items()}


def _plain(family: Family, values: Values) -> Metric:
    labels: Sequence[str] = tuple(family.labels)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.meaning, labels=labels, unit=family.unit)
    for of, value in values.items():
        metric.add_metric(of, value)
    return metric


def _histogram(
    family: Family, histograms: Mapping[tuple[str, ...], Histogram]
) -> HistogramMetricFamily:
    labels = tuple(family.labels)
    metric = HistogramMetricFamily(family.name, family.meaning, labels=labels, unit=family.unit)
    for of, histogram in histograms.items():
        total = histogram.sum
        metric.add_metric(of, histogram.buckets(), total)
    return metric
