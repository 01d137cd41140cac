"""Jobs by labels and states: what is found is what a look at all of them finds."""

import asyncio
from collections.abc import Collection
from contextlib import aclosing

from hypothesis import given
from hypothesis import strategies as st

from engines.base import Job, Removed, State, Status
from server.index import Index
from server.mirror import BATCH, Mirror
from server.selector import Selector, matches, parse_selector
from tests.server.scripted import ScriptedEngine

NAMES = [f"job-{number}" for number in range(8)]
SELECTORS = ["", "a=x", "a in (x,y)", "a=x,b=y", "a!=x", "b in (x,y),a notin (y)", "a", "a=x,a=y"]
VALUES = st.sampled_from(["x", "y", ""])
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), VALUES)
STATES = st.sampled_from(list(State))


def job(name: str, state: State = State.PENDING, uid: str = "", **labels: str) -> Job:
    return Job(name, Status(state=state), uid=uid or name, labels=labels)


def scan(
    jobs: Collection[Job], selector: Selector | None, states: Collection[State], after: str
) -> list[str]:
    found = (
        each.name
        for each in jobs
        if each.name > after
        and matches(selector, each)
        and (not states or each.status.state in states)
    )
    return sorted(found)


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), LABELS, st.lists(STATES, max_size=3), st.booleans())
    ),
    st.sampled_from(SELECTORS),
    st.sets(STATES, max_size=3),
    st.sampled_from(["", "job-3", "job-7"]),
)
def test_what_is_found(
    lives: list[tuple[str, dict[str, str], list[State], bool]],
    text: str,
    states: set[State],
    after: str,
) -> None:
    """Jobs come with labels, change their states, and go; a new one may take a name over."""
    mirror = Mirror(ScriptedEngine())
    for number, (name, labels, changes, removed) in enumerate(lives):
        uid = str(number)
        for state in [State.PENDING, *changes]:
            mirror.wrote(job(name, state, uid, **labels))
        if removed:
            mirror._remove(Removed(name, uid))
    there = [entry.job for entry in mirror.changes(0) if not entry.deleted]
    selector = parse_selector(text)
    found = asyncio.run(names_found(mirror, selector, states, after))
    assert found == scan(there, selector, states, after)


async def names_found(
    mirror: Mirror, selector: Selector | None, states: Collection[State] = (), after: str = ""
) -> list[str]:
    return [entry.job.name async for entry in mirror.find(selector, states, after=after)]


async def test_looking_at_all_jobs_lets_others_run() -> None:
    """A hundred thousand jobs, none of which match, held everything up for 350 ms."""
    mirror = Mirror(ScriptedEngine())
    for number in range(3 * BATCH):
        mirror.wrote(job(f"{number:05d}", app="web"))
    looking = asyncio.create_task(names_found(mirror, parse_selector("app!=web")))
    turns = 0
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert looking.result() == []
    assert turns > 3


async def test_jobs_come_and_go_while_all_are_looked_at() -> None:
    mirror = Mirror(ScriptedEngine())
    for number in range(2 * BATCH):
        mirror.wrote(job(f"{number:05d}", app="web"))
    found: list[str] = []
    async with aclosing(mirror.find(parse_selector("app!=db"))) as entries:
        async for entry in entries:
            if not found:
                mirror._remove(Removed("00001", "00001"))
                mirror.wrote(job("00001", app="web", uid="another"))
                mirror.wrote(job("00002x", app="web"))
                mirror._remove(Removed(f"{BATCH:05d}", f"{BATCH:05d}"))
                mirror.wrote(job(f"{BATCH:05d}x", app="web"))
            found.append(entry.job.name)
            await asyncio.sleep(0)
    expected = {f"{number:05d}" for number in range(2 * BATCH)}
    assert found == sorted(expected - {"00001", f"{BATCH:05d}"} | {f"{BATCH:05d}x"})


def test_the_rarest_of_what_is_asked_for_decides() -> None:
    index = Index()
    for number in range(1000):
        rare = {"rare": "yes"} if number in {7, 500} else {}
        index.add(job(f"{number:04d}", State.SUCCEEDED, app="web", **rare))
    index.add(job("waiting", app="web"))

    def candidates(text: str, *states: State, after: str = "") -> list[str] | None:
        found = index.candidates(parse_selector(text), states, after)
        return None if found is None else list(found)

    assert candidates("app=web,rare=yes", State.SUCCEEDED) == ["0007", "0500"]
    assert candidates("app=web,rare=yes", after="0007") == ["0500"]
    assert candidates("app=web", State.PENDING, State.RUNNING) == ["waiting"]
    assert candidates("app=web,app=db") == []
    assert candidates("app!=web") is None


def test_names_are_in_order_across_values() -> None:
    index = Index()
    for number in range(6):
        index.add(job(str(number), app="xyz"[number % 3]))
    found = index.candidates(parse_selector("app in (z,x)"), (), "0")
    assert found is not None
    assert list(found) == ["2", "3", "5"]
