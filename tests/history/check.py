"""Holds what watchers were told against each promise of the watches; pure."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby, pairwise
from operator import attrgetter

from jobengine import Job, JobState, JobStatus, is_terminal, state_name
from tests.history.record import DELETED, STATUS, SYNCED, End, History, Told, Watch

Problems = Iterator[str]
View = dict[tuple[str, str], JobStatus]
"""By name and uid."""

_LOST = JobState.JOB_STATE_LOST


def problems(history: History) -> list[str]:
    """Every promise that was broken, as what was seen of it."""
    found = [
        f"{watch}: {problem}"
        for watch in history.watches
        for check in (_OF_ONE if watch.name else _OF_MANY)
        for problem in check(history, watch)
    ]
    return [*found, *_all_are_told_the_same_end(history), *_nothing_is_lost(history)]


# -- every watch ------------------------------------------------------------------------------


def _states_go_forward(_: History, watch: Watch) -> Problems:
    """No state, no count and no start of a job is taken back."""
    for uid, told in _by_uid(watch).items():
        for before, after in pairwise(told):
            if lost := _taken_back(before.status, after.status):
                yield f"{uid} went back in {lost}: {_short(before)} then {_short(after)}"


def _ends_stay(_: History, watch: Watch) -> Problems:
    for uid, told in _by_uid(watch).items():
        ends = [each.status for each in told if is_terminal(each.status)]
        if any(end != ends[0] for end in ends):
            yield f"{uid} ended in several ways: {ends}"


def _nothing_is_repeated(history: History, watch: Watch) -> Problems:
    """Only a raw watcher of many may be told something twice: see `_may_repeat`."""
    for uid, told in _by_uid(watch).items():
        for before, after in pairwise(told):
            if before.news == after.news and not _may_repeat(history, watch, before, after):
                yield f"{uid} was told twice in a row: {_short(before)} and {_short(after)}"


def _may_repeat(history: History, watch: Watch, before: Told, after: Told) -> bool:
    """Whether a full list says again what was known, or what changed while it was sent comes again.

    The messages of a list have no cursor, and a call that goes on from its SYNCED tells of all that
    has changed since the list began.
    """
    if not watch.raw or watch.name or (before.cursor and after.cursor):
        return False
    if not after.cursor:
        return True
    began = min(each.order for each in watch.told if each.call == before.call)
    return not any(
        each.order < began and each.news == before.news
        for other in history.watches
        for each in other.told
    )


def _ends_are_true(history: History, watch: Watch) -> Problems:
    """The end told is the one that the job itself wrote down, or that was asked for."""
    for uid, told in _by_uid(watch).items():
        life = history.lives.get(uid)
        if life is None:
            yield f"nobody made {uid}"
            continue
        for each in told:
            # A client can only call a job LOST that vanished while it was away.
            vanished = each.event == DELETED and not watch.raw and life.may_go
            if vanished and each.status.state == _LOST:
                continue
            if is_terminal(each.status) and not life.allows(each.status):
                yield f"{life.name} {uid} never ended like this: {each.status}"


def _deletions_are_ends(history: History, watch: Watch) -> Problems:
    for each in watch.told:
        if each.event != DELETED:
            continue
        if not is_terminal(each.status):
            yield f"{each.uid} was deleted without an end: {_short(each)}"
        if each.uid in history.lives and not history.lives[each.uid].may_go:
            yield f"{each.uid} was told as deleted, which nobody had asked for"


# -- watches of one job -----------------------------------------------------------------------


def _about_one_job(_: History, watch: Watch) -> Problems:
    if len(_by_uid(watch)) > 1:
        yield f"it told of several jobs: {sorted(_by_uid(watch))}"


def _nothing_after_the_end(_: History, watch: Watch) -> Problems:
    for before, after in pairwise(watch.told):
        if _is_last(before):
            yield f"after the end {_short(before)} came {_short(after)}"


def _has_an_end(history: History, watch: Watch) -> Problems:
    """Exactly one end; none only for a job that is gone."""
    ends = sum(_is_last(each) for each in watch.told)
    if ends == 1:
        if watch.end is End.OPEN:
            yield "it went on after the end"
        return
    may_go = any(life.may_go for life in history.lives.values() if life.name == watch.name)
    told_of = [history.lives[uid] for uid in _by_uid(watch) if uid in history.lives]
    gone = watch.end is End.GONE and (all(life.may_go for life in told_of) and may_go)
    if ends or not gone:
        yield f"it {watch.end.value} with {ends} ends: {[_short(each) for each in watch.told]}"


# -- watches of many jobs ---------------------------------------------------------------------


def _syncs(_: History, watch: Watch) -> Problems:
    """It begins with a full list."""
    first = next((each for each in watch.told if each.event == SYNCED), None)
    if first is None or not first.full:
        yield "it was never told a full list"


def _stays_open(_: History, watch: Watch) -> Problems:
    if watch.end is not End.OPEN:
        yield f"it {watch.end.value}"


def _view_converges(history: History, watch: Watch) -> Problems:
    """In the end, a watcher knows exactly what ListJobs says."""
    view, listed = view_of(watch), view_of_list(history.listed[watch.selector])
    for key in sorted(view.keys() | listed.keys()):
        seen, said = view.get(key), listed.get(key)
        if seen != said:
            yield f"it sees {key} as {_named(seen)}, and the list says {_named(said)}"


def _tells_each_end_once(history: History, watch: Watch) -> Problems:
    """Raw watchers may have got full lists, which tell it again."""
    if watch.raw:
        return
    told = _by_uid(watch)
    for name, job in history.listed[watch.selector].items():
        ends = [each for each in told.get(job.uid, ()) if is_terminal(each.status)]
        if len(ends) != 1:
            yield f"the end of {name} was told {len(ends)} times"


def _tells_what_vanished(history: History, watch: Watch) -> Problems:
    """DELETED for each job that is gone; raw watchers may be told by its absence, and twice: that
    is for `_nothing_is_repeated` to judge."""
    listed = {job.uid for job in history.listed[watch.selector].values()}
    for uid, told in _by_uid(watch).items():
        deletions = sum(each.event == DELETED for each in told)
        if uid not in listed and deletions != 1 and not watch.raw:
            yield f"{uid} is gone, and was told so {deletions} times"


def _gone_for_good(_: History, watch: Watch) -> Problems:
    for uid, told in _by_uid(watch).items():
        for before, after in pairwise(told):
            if before.event == DELETED and after.event == STATUS:
                yield f"{uid} came back after its deletion: {_short(after)}"


def _names_are_taken_once(_: History, watch: Watch) -> Problems:
    """A name's next job isn't told before the one before it is gone.

    Raw watchers may have to wait for SYNCED to learn what a full list hasn't got any more.
    """
    present: dict[str, str] = {}
    for each in watch.told:
        if watch.raw or each.event == SYNCED:
            continue
        if present.get(each.name, each.uid) != each.uid:
            yield f"{each.name} is {each.uid} before {present[each.name]} is gone"
        present[each.name] = each.uid
        if each.event == DELETED:
            del present[each.name]


# -- all watches together ---------------------------------------------------------------------


def _all_are_told_the_same_end(history: History) -> Problems:
    """Who was away when a job vanished only hears that it is LOST."""
    ends: dict[str, tuple[Watch, JobStatus]] = {}
    for watch in history.watches:
        for each in watch.told:
            if not is_terminal(each.status) or each.status.state == _LOST:
                continue
            other, end = ends.setdefault(each.uid, (watch, each.status))
            if end != each.status:
                yield f"{each.uid} ended as {end} for {other}, and as {each.status} for {watch}"


def _nothing_is_lost(history: History) -> Problems:
    listed = {job.uid for job in history.listed[""].values()}
    for uid, life in history.lives.items():
        if uid not in listed and not life.may_go:
            yield f"{life.name} {uid} isn't listed, and nobody deleted it"


Check = Callable[[History, Watch], Problems]
_EVERY: tuple[Check, ...] = (
    _states_go_forward,
    _ends_stay,
    _nothing_is_repeated,
    _ends_are_true,
    _deletions_are_ends,
)
_OF_ONE: tuple[Check, ...] = (*_EVERY, _about_one_job, _nothing_after_the_end, _has_an_end)
_OF_MANY: tuple[Check, ...] = (
    *_EVERY,
    _syncs,
    _stays_open,
    _view_converges,
    _tells_each_end_once,
    _tells_what_vanished,
    _gone_for_good,
    _names_are_taken_once,
)


# -- what the checks share --------------------------------------------------------------------


def _by_uid(watch: Watch) -> dict[str, list[Told]]:
    """What was told of each job, in order."""
    found: dict[str, list[Told]] = defaultdict(list)
    for each in watch.told:
        if each.uid:
            found[each.uid].append(each)
    return found


def view_of(watch: Watch) -> View:
    """What a watcher of many jobs knows once it has put together all that it was told."""
    view: dict[str, Told] = {}
    for _, told in groupby(watch.told, attrgetter("call")):
        listed: set[str] = set()
        for each in told:
            if each.event == SYNCED:
                view = {uid: view[uid] for uid in view if uid in listed or not each.full}
            elif each.event == DELETED:
                view.pop(each.uid, None)
            else:
                view[each.uid] = each
                listed.add(each.uid)
    return {(each.name, uid): each.status for uid, each in view.items()}


def view_of_list(jobs: Mapping[str, Job]) -> View:
    """The same of what ListJobs says."""
    return {(name, job.uid): job.status for name, job in jobs.items()}


def _is_last(each: Told) -> bool:
    return each.event == DELETED or is_terminal(each.status)


def _taken_back(before: JobStatus, after: JobStatus) -> str:
    """What of a job's progress the later status doesn't know any more; nothing if it does."""
    if min(after.state, JobState.JOB_STATE_SUCCEEDED) < min(
        before.state, JobState.JOB_STATE_SUCCEEDED
    ):
        return "its state"
    counts = ("succeed", "failed", "retries")
    lower = [name for name in counts if getattr(after, name) < getattr(before, name)]
    cancelled = after.state == JobState.JOB_STATE_CANCELLED  # maybe before anything ran at all
    if before.HasField("start_time") and _start(after) > _start(before) and not cancelled:
        lower.append("start_time")
    return ", ".join(lower)


def _start(status: JobStatus) -> float:
    """Of instances that start together, a later one may be seen first: it may become earlier."""
    if not status.HasField("start_time"):
        return math.inf
    return status.start_time.ToMicroseconds() / 1e6


def _short(told: Told) -> str:
    event = {STATUS: "STATUS", DELETED: "DELETED"}.get(told.event, str(told.event))  # type: ignore[call-overload]
    return f"{event} {state_name(told.status)} (#{told.order}, call {told.call})"


def _named(status: JobStatus | None) -> str:
    return "nothing" if status is None else state_name(status)
