"""The directory: names are taken once, decisions stand, nothing is half there."""

import os
import threading
from pathlib import Path

import pytest

from engines import EngineFailed, State, Status
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Stop
from engines.slurm.queue import Batch
from engines.slurm.record import KeptJob
from engines.slurm.store import Store
from engines.slurm.survey import Known, glance, see
from tests.engines.slurm.specs import UID, intent

OTHER = "f" * 32
INTENT = intent()
KEPT = KeptJob(INTENT, b"spec")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "state")
    store.open()
    return store


def test_of_many_servers_one_gets_the_name(store: Store) -> None:
    results: list[tuple[str, bool]] = []

    def create(uid: str) -> None:
        results.append((uid, store.create(KeptJob(intent(uid=uid), b""), "")))

    threads = [threading.Thread(target=create, args=(f"{i:032x}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (winner,) = [uid for uid, created in results if created]
    kept = store.read_job("job")
    assert kept is not None
    assert kept.intent.uid == winner
    assert not [*Path(store.path, "new").iterdir()]


def test_all_is_for_its_owner_alone(store: Store) -> None:
    assert store.create(KEPT, "script")
    for path in (Path(store.path), *Path(store.path).rglob("*")):
        assert path.stat().st_mode & 0o77 == 0, path


def test_a_job_is_seen_as_it_stands(store: Store) -> None:
    assert see(store, "job") is None
    store.create(KEPT, "script")
    store.note_submitted(INTENT, Batch(0, 0, 0), "42")
    store.note_submitted(INTENT, Batch(0, 0, 0), "42")
    seen = see(store, "job")
    assert seen is not None
    assert (seen.kept, seen.end, seen.stop, seen.deleted) == (KEPT, None, None, False)
    assert seen.submitted == [(Batch(0, 0, 0), "42")]


def test_the_first_decision_stands(store: Store) -> None:
    store.create(KEPT, "")
    first = Stop(facts.CANCELLED, 5.0, 1.0, "first")
    assert store.decide_stop(INTENT, "stop", first) == first
    assert store.decide_stop(INTENT, "stop", Stop(facts.DEADLINE, 6.0, 1.0)) == first
    ended = Status(state=State.SUCCEEDED)
    assert store.decide_end(INTENT, ended) == ended
    assert store.decide_end(INTENT, Status(state=State.FAILED)) == ended
    assert not [*Path(store.path, "new").iterdir()]


def test_what_never_began_is_ended_once(store: Store) -> None:
    store.create(KEPT, "")
    end = End(facts.WITHDRAWN, 5.0)
    assert store.take(INTENT, (0, 0), end)
    assert not store.take(INTENT, (0, 0), End(facts.LOST, 6.0))
    attempt = store.read_attempt(INTENT, (0, 0))
    assert attempt is not None
    assert attempt.end == end
    assert not [*Path(store.job_directory("job", UID)).glob("new*")]


def test_a_discarded_job_is_gone_and_its_name_free(store: Store) -> None:
    store.create(KEPT, "")
    store.discard("job", OTHER)
    assert store.is_there("job", UID)
    store.discard("job", UID)
    store.discard("job", UID)
    assert see(store, "job") is None
    assert not [*Path(store.path, "trash").iterdir()]
    assert store.create(KeptJob(intent(uid=OTHER), b""), "")
    store.discard("job", UID)
    assert store.is_there("job", OTHER)


def test_half_a_job_is_mended(store: Store) -> None:
    store.create(KEPT, "")
    Path(store.job_directory("job", UID)).rename(Path(store.path, "trash", UID))
    assert see(store, "job") is None
    store.mend("job")
    assert store.names() == {}
    store.create(KEPT, "")
    store.mend("job")
    assert store.is_there("job", UID)


def test_what_killed_servers_left_is_cleared(store: Store) -> None:
    for name in ("file", "young"):
        Path(store.path, "new", name).touch()
    for path in ("new/job", "trash/job"):
        Path(store.path, path).mkdir()
    for name in ("file", "job"):
        os.utime(Path(store.path, "new", name), (1.0, 1.0))
    store.tidy()
    assert [path.name for path in Path(store.path, "new").iterdir()] == ["young"]
    assert not [*Path(store.path, "trash").iterdir()]


def test_a_damaged_job_is_left_alone(store: Store) -> None:
    store.create(KEPT, "")
    Path(store.path, "jobs", "job", "job").write_bytes(b"torn")
    assert see(store, "job") is None
    assert "job" in store.names()


@pytest.mark.parametrize("said", ["1", "slurm 2"])
def test_another_format_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "format").write_text(said)
    with pytest.raises(EngineFailed, match="--state-dir"):
        Store(tmp_path).open()


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineFailed, match="can't be used"):
        Store(tmp_path / "file" / "state").open()


def test_a_glance_tells_what_is_new(store: Store) -> None:
    store.create(KEPT, "")
    first = glance(store, Known(INTENT, 0, set(), {}))
    assert (first.gone, first.attempts, first.decided) == (False, [], frozenset())
    home = Path(store.job_directory("job", UID), "0.0")
    home.mkdir()
    (home / "claim").write_text("5.0 42.0 n1\n")
    second = glance(store, Known(INTENT, first.changed, set(), {}))
    (attempt,) = second.attempts
    assert (attempt.slurm, attempt.end) == ("42", None)
    (home / "end").write_text("exited 3 6.0 0\n")
    third = glance(store, Known(INTENT, second.changed, {(0, 0)}, {(0, 0): 0}))
    assert third.written[0, 0].end.code == 3
    store.decide_verdict(INTENT, (0, 0), End(facts.EVICTED, 7.0))
    fourth = glance(store, Known(INTENT, second.changed, {(0, 0)}, third.running))
    (attempt,) = fourth.attempts
    assert attempt.end == End(facts.EVICTED, 7.0)
    store.discard("job", UID)
    assert glance(store, Known(INTENT, 0, set(), {})).gone
