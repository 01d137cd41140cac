"""What is submitted next, and what is known of it."""

from typing import Any

from engines.lifecycle import facts
from engines.lifecycle.facts import End
from engines.slurm.jobs import SlurmJob
from engines.slurm.queue import Batch
from engines.slurm.record import Attempt, KeptJob
from engines.slurm.survey import Sighting
from tests.engines.slurm.specs import intent, shell


def job(seen: Sighting | None = None, **given: Any) -> SlurmJob:
    kept = KeptJob(intent(**given), shell("true").SerializeToString())
    if seen is not None:
        seen.kept = kept
    return SlurmJob(seen or Sighting(kept), own=True)


def ended(instance: int, attempt: int, code: int) -> Attempt:
    return Attempt(instance, attempt, 10.0, "5", end=End(facts.EXITED, 20.0, code=code))


def test_first_runs_are_one_batch() -> None:
    it = job(completions=10, parallelism=3)
    assert it.next_batch(1001) == Batch(0, 0, 9)
    assert it.next_batch(1001) is None
    assert len(it.handed_out) == 10


def test_large_jobs_go_by_parts_and_keep_to_their_parallelism() -> None:
    it = job(completions=5, parallelism=4)
    assert it.next_batch(3) == Batch(0, 0, 2)
    for instance in range(2):
        it.apply(ended(instance, 0, 0))
        assert it.next_batch(3) is None
    it.apply(ended(2, 0, 0))
    assert it.next_batch(3) == Batch(0, 3, 4)
    assert it.next_batch(3) is None


def test_a_retry_goes_by_itself() -> None:
    it = job(completions=2, parallelism=2, max_retries=5)
    assert it.next_batch(1001) == Batch(0, 0, 1)
    it.apply(ended(1, 0, 3))
    assert it.next_batch(1001) == Batch(1, 1, 1)
    assert it.next_batch(1001) is None


def test_what_another_server_has_submitted_is_left_to_it() -> None:
    it = job(completions=2, parallelism=2, max_retries=5)
    it.next_batch(1001)
    assert it.note_submitted(Batch(1, 1, 1), "9")
    assert not it.note_submitted(Batch(1, 1, 1), "9")
    it.apply(ended(1, 0, 3))
    assert it.next_batch(1001) is None


def test_what_slurm_has_forgotten_is_submitted_again() -> None:
    it = job()
    it.next_batch(1001)
    it.give_back([(0, 0), (7, 0)])
    assert it.next_batch(1001) == Batch(0, 0, 0)
    assert it.next_batch(1001) is None


def test_a_job_that_is_found_goes_on_where_it_stood() -> None:
    kept = KeptJob(intent(), b"")
    seen = Sighting(kept, submitted=[(Batch(0, 0, 3), "5")], attempts=[ended(2, 0, 0)])
    it = job(seen, completions=6, parallelism=6)
    assert it.handed_out == {(0, 0), (1, 0), (3, 0)}
    for instance in (0, 1, 3):
        it.apply(ended(instance, 0, 0))
    assert it.next_batch(1001) == Batch(0, 4, 5)
