"""What runs next of a job."""

from engines.lifecycle import facts
from engines.lifecycle.active import ActiveJob
from engines.lifecycle.facts import End, Intent
from engines.local.record import Attempt


def intent(completions: int = 1, parallelism: int = 1, max_retries: int = 0) -> Intent:
    return Intent(
        "job", "uid", "", "", 1.0, {}, completions, parallelism, max_retries, None, None, None
    )


def runs(instance: int, attempt: int = 0) -> Attempt:
    return Attempt(instance, attempt, 10.0, 1, 2)


def ended(instance: int, attempt: int = 0, code: int = 0) -> Attempt:
    return runs(instance, attempt)._replace(end=End(facts.EXITED, 20.0, code))


def handed_out(job: ActiveJob[Attempt]) -> list[tuple[int, int]]:
    found = []
    while job.ready:
        found.append(job.hand_out())
    return found


async def test_instances_in_order_as_many_as_may_run() -> None:
    job = ActiveJob[Attempt](intent(completions=3, parallelism=2))
    assert handed_out(job) == [(0, 0), (1, 0)]
    assert job.apply(runs(0))
    assert not job.apply(runs(0))
    assert handed_out(job) == []
    assert job.apply(ended(0))
    assert not job.apply(runs(0))
    assert handed_out(job) == [(2, 0)]


async def test_a_failed_instance_comes_before_new_ones() -> None:
    job = ActiveJob[Attempt](intent(completions=3, max_retries=1))
    handed_out(job)
    job.apply(ended(0, code=1))
    assert handed_out(job) == [(0, 1)]
    job.apply(ended(0, 1, code=1))
    assert job.settled
    assert handed_out(job) == []


async def test_a_job_is_taken_up_where_it_was_with_holes_and_all() -> None:
    attempts = [runs(4), ended(1), ended(2, code=1), ended(2, 1, code=1), ended(3, code=1)]
    job = ActiveJob[Attempt](intent(completions=6, parallelism=9, max_retries=9), attempts)
    assert job.in_flight == 1
    assert handed_out(job) == [(0, 0), (2, 2), (3, 1), (5, 0)]


async def test_what_an_earlier_servers_request_began_is_not_handed_out_again() -> None:
    job = ActiveJob[Attempt](
        intent(completions=4, parallelism=4, max_retries=4), [ended(0, code=1)]
    )
    assert job.apply(runs(2))
    assert job.apply(ended(0, 1, code=1))
    assert handed_out(job) == [(1, 0), (0, 2), (3, 0)]


async def test_a_stopped_job_hands_out_nothing() -> None:
    job = ActiveJob[Attempt](intent(completions=2, parallelism=2))
    job.stopping = True
    assert handed_out(job) == []
