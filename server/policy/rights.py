"""What one caller may do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.base import Job
from jobengine.v1.job_pb2 import JobSpec
from server.errors import PermissionDenied
from server.ownership import OWNER_LABEL
from server.policy.bounds import NO_LIMITS, NOTHING_SHARED, Allow, Limits, refused_image
from server.policy.refusals import LimitExceeded
from server.policy.verbs import VERBS, Verb
from server.selector import Labels, Selector, parse_selector

Required = Mapping[str, frozenset[str]]
"""Labels that a job has to have, each with one of these values."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Verbs, and the jobs that they hold for: those that meet all of the conditions.

    `names`: how their names begin. `own`: they are the subject's. `selector`: of their labels;
    `ValueError` if it isn't one.
    """

    verbs: frozenset[Verb]
    names: str = ""
    own: bool = False
    selector: str = ""
    _selector: Selector | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_selector", parse_selector(self.selector))

    @property
    def unconditional(self) -> bool:
        """Whether it is for all jobs."""
        return not self.names and not self.own and self._selector is None

    def takes(self, name: str, labels: Labels, subject: str) -> bool:
        """Whether it is for such a job."""
        return (
            (not self.own or labels.get(OWNER_LABEL) == subject)
            and name.startswith(self.names)
            and (self._selector is None or self._selector(labels))
        )

    def required(self, subject: str) -> Required:
        """What all jobs have that it is for."""
        wanted: Required = {} if self._selector is None else self._selector.required
        return _both(wanted, {OWNER_LABEL: frozenset((subject,))}) if self.own else wanted

    def __str__(self) -> str:
        conditions = [
            f"named {self.names!r} and more" if self.names else "",
            "of your own" if self.own else "",
            f"with labels that match {self.selector!r}" if self.selector else "",
        ]
        return ", ".join(filter(None, conditions)) or "of any kind"


@dataclass(frozen=True, slots=True)
class Rights:
    """What a caller may do; by default nothing. Equal where nothing differs.

    `subject` is the value of the owner label of jobs that it creates; empty: they have none.
    `allow` is None for one whose jobs may reach whatever the engine lets them.
    """

    subject: str = ""
    grants: tuple[Grant, ...] = ()
    limits: Limits = NO_LIMITS
    allow: Allow | None = NOTHING_SHARED
    everything: bool = field(init=False, repr=False, compare=False)
    """Whether every verb holds for every job."""

    _reading: tuple[Grant, ...] = field(init=False, repr=False, compare=False)
    _reads_all: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reading = tuple(grant for grant in self.grants if "read" in grant.verbs)
        object.__setattr__(self, "_reading", reading)
        unconditional = {
            verb for grant in self.grants if grant.unconditional for verb in grant.verbs
        }
        object.__setattr__(self, "_reads_all", "read" in unconditional)
        object.__setattr__(self, "everything", unconditional.issuperset(VERBS))

    def may(self, verb: Verb, name: str, labels: Labels) -> bool:
        """Whether the verb holds for a job of this name and these labels."""
        return any(
            verb in grant.verbs and grant.takes(name, labels, self.subject) for grant in self.grants
        )

    def may_read(self, job: Job) -> bool:
        """As `may`, for what is asked of every job that is told of."""
        if self._reads_all:
            return True
        for grant in self._reading:  # noqa: SIM110 - a generator takes twice as long
            if grant.takes(job.name, job.labels, self.subject):
                return True
        return False

    def require(self, verb: Verb) -> None:
        """Refuse who has the verb for no job at all, before any job is looked for.

        Raises:
            PermissionDenied: it has none.
        """
        if not any(verb in grant.verbs for grant in self.grants):
            raise PermissionDenied(
                verb, f"you may {verb} no jobs: the server's operator can grant it to you"
            )

    def check_create(self, name: str, spec: JobSpec) -> None:
        """Refuse a job that the caller may not create.

        The spec has the labels that the job will have: the owner label, too, with `subject` as its
        value, if that isn't empty.

        Raises:
            PermissionDenied: not under this name, with these labels, or with some of the fields.
            LimitExceeded: it would take too much.
        """
        self.require("create")
        if spec.labels.get(OWNER_LABEL, "") != self.subject:
            raise PermissionDenied("create", f"you may not set the label {OWNER_LABEL}")
        if not self.may("create", name, spec.labels):
            allowed = "; or ".join(str(grant) for grant in self.grants if "create" in grant.verbs)
            raise PermissionDenied(
                "create", f"you may not create job {name!r} with its labels, only jobs {allowed}"
            )
        refused = list(refused_image(spec, self.limits.images))
        if self.allow is not None:
            refused += self.allow.refused_of(spec)
        if refused:
            what = "; ".join(f"{each.field}: {each.description}" for each in refused)
            raise PermissionDenied("create", what, refused)
        if exceeded := list(self.limits.exceeded_by(spec)):
            raise LimitExceeded(exceeded)

    @property
    def name_prefix(self) -> str:
        """How the name begins of a job that is created without one: as the first grant has it."""
        return next((grant.names for grant in self.grants if "create" in grant.verbs), "")

    def narrow(self, selector: Selector | None) -> Selector | None:
        """What of the jobs that a selector matches the caller may read, as a selector."""
        if self._reads_all:
            return selector
        required: Required = {} if selector is None else selector.required
        requirements = () if selector is None else selector.requirements
        granted = tuple(grant.required(self.subject) for grant in self._reading)
        return Readable((*requirements, self._may_read_labels), required, selector, self, granted)

    def _may_read_labels(self, labels: Labels) -> bool:
        """Whether there may be a name under which a job with these labels is readable."""
        return any(grant.takes(grant.names, labels, self.subject) for grant in self._reading)


@dataclass(frozen=True, slots=True)
class Readable(Selector):
    """What matches a selector and may be read. Of labels alone, a selector can't tell names."""

    asked: Selector | None
    rights: Rights
    granted: tuple[Required, ...]
    """What each grant for reading requires."""

    def ways(self) -> tuple[Required, ...]:
        """As in Selector: one for each grant, since any of them is enough."""
        return tuple(_both(self.required, required) for required in self.granted)

    def takes(self, job: Job) -> bool:
        """Whether the job matches, and may be read."""
        return self.rights.may_read(job) and (self.asked is None or self.asked(job.labels))


def _both(one: Required, other: Required) -> Required:
    """What a job has to have that has what both require."""
    shared = {key: one[key] & other[key] for key in one if key in other}
    return {**one, **other, **shared}
