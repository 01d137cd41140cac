"""What the daemon told while it happened."""

from typing import Any

import pytest

from engines.docker import history
from engines.docker.history import History
from engines.errors import EngineTimeout


def event(action: str, container: str = "c1", kind: str = "container", **said: str) -> Any:
    return {"Type": kind, "Action": action, "Actor": {"ID": container, "Attributes": said}}


def test_exits_are_noted() -> None:
    seen = History()
    seen.note(event("die", exitCode="254"))
    seen.note(event("die", "c2", exitCode="0"))
    assert seen.exits == {"c1": 254, "c2": 0}


def test_255_is_no_more_than_a_doubt() -> None:
    """A daemon that comes up says that of what ended without it, one that goes down of others."""
    seen = History()
    seen.note(event("start", "c2"))
    for container in ("c1", "c2"):
        seen.note(event("die", container, exitCode="255"))
    assert seen.doubtful == {"c2"}
    seen.begin()
    assert not seen.doubtful
    seen.note(event("die", "c2", exitCode="255"))
    assert not seen.doubtful
    assert not seen.exits


@pytest.mark.parametrize("said", [{}, {"exitCode": ""}, {"exitCode": "?"}, {"exitCode": "-1"}])
def test_an_end_without_a_code_is_no_witness(said: dict[str, str]) -> None:
    seen = History()
    seen.note(event("die", **said))
    assert not seen.exits


def test_an_event_told_twice_makes_no_difference() -> None:
    seen = History()
    for _ in range(2):
        seen.note(event("create", "claim", "volume"))
        seen.note(event("start"))
        seen.note(event("die", exitCode="3"))
    assert (seen.claimed, seen.started, seen.exits) == ({"claim"}, {"c1"}, {"c1": 3})


@pytest.mark.parametrize(
    "action", ["create", "rename", "attach", "kill", "exec_start: sh", "health_status"]
)
def test_other_events_say_nothing(action: str) -> None:
    seen = History()
    seen.note(event(action))
    assert (seen.claimed, seen.started, dict(seen.exits)) == (set(), set(), {})


@pytest.mark.parametrize("kind", ["volume", "network"])
def test_only_containers_exit(kind: str) -> None:
    """The daemon is asked for those and for volumes; of networks Podman tells all the same."""
    seen = History()
    for action in ("mount", "unmount", "prune", "connect"):
        seen.note(event(action, kind=kind))
    assert (seen.claimed, seen.started, dict(seen.exits)) == (set(), set(), {})


def test_a_new_connection_knows_exits_but_no_claims() -> None:
    seen = History()
    seen.note(event("create", "claim", "volume"))
    for action in ("start", "die"):
        seen.note(event(action, exitCode="0"))
    seen.begin()
    assert (seen.claimed, seen.started, dict(seen.exits)) == (set(), set(), {"c1": 0})


@pytest.mark.parametrize("action", ["destroy", "remove"])
def test_a_claim_that_is_gone_is_none(action: str) -> None:
    seen = History()
    for name in ("claim", "other"):
        seen.note(event("create", name, "volume"))
    seen.note(event(action, "claim", "volume"))
    assert seen.claimed == {"other"}


@pytest.mark.parametrize("action", ["destroy", "remove"])
def test_a_container_that_is_gone_was_started_all_the_same(action: str) -> None:
    seen = History()
    for each in ("start", action):
        seen.note(event(each))
    assert seen.started == {"c1"}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_CONTAINERS", 3)
    seen = History()
    for number in range(5):
        seen.note(event("die", f"c{number}", exitCode="0"))
    assert list(seen.exits) == ["c2", "c3", "c4"]


@pytest.mark.parametrize("action", ["destroy", "remove"])
async def test_a_destruction_is_waited_for(action: str) -> None:
    seen = History()
    async with seen.destruction("c1") as told:
        seen.note(event("destroy", "c2"))
        assert not told.is_set()
        seen.note(event(action))
        assert told.is_set()


async def test_a_destruction_that_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_DESTROY_SECONDS", 0.01)
    seen = History()
    with pytest.raises(EngineTimeout):
        async with seen.destruction("c1"):
            pass
    seen.note(event("destroy"))  # nobody waits any more


async def test_a_failure_within_is_not_held_up() -> None:
    seen = History()
    with pytest.raises(ValueError, match="mine"):
        async with seen.destruction("c1"):
            raise ValueError("mine")
