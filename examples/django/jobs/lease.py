"""The right to write what the watch tells: of all watcher processes, one has it at a time.

It is a row, so that it works on every database, and each write checks and extends it within its own
transaction: a watcher that was frozen, and replaced meanwhile, can't write any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from jobs.models import Watch

NAME = "jobs"


class LeaseLost(Exception):
    """Another watcher has taken over."""


def take(holder: UUID) -> bool:
    """Take the lease, if it is free or has run out."""
    Watch.objects.get_or_create(name=NAME)
    free = Q(holder=None) | Q(holder=holder) | Q(expires_at__lt=Now())
    return bool(Watch.objects.filter(free, name=NAME).update(holder=holder, expires_at=_expiry()))


def extend(holder: UUID) -> None:
    """Keep the lease.

    Raises:
        LeaseLost: it is another's.
    """
    if not Watch.objects.filter(name=NAME, holder=holder).update(expires_at=_expiry()):
        raise LeaseLost


def release(holder: UUID) -> None:
    """Leave the lease to whoever wants it."""
    Watch.objects.filter(name=NAME, holder=holder).update(holder=None, expires_at=None)


@contextmanager
def held(holder: UUID) -> Iterator[Watch]:
    """A transaction that is the holder's alone; the watch may be changed and saved within it.

    Raises:
        LeaseLost: it is another's; nothing was written.
    """
    with transaction.atomic():
        extend(holder)  # which also locks the row
        yield Watch.objects.get(name=NAME)


def read_cursor() -> str:
    """Up to where the watch has been told, and all of it is stored."""
    return Watch.objects.get(name=NAME).cursor


def _expiry() -> Combinable:
    # By the database's clock: those of several machines may differ.
    lease = timedelta(seconds=settings.WATCHER_LEASE_SECONDS)
    return ExpressionWrapper(Now() + lease, output_field=DateTimeField())
