"""Specs for the fake engine, which does what the annotations say."""

from jobengine import JobSpec

PREFIX = "fake.jobengine.dev/"


def fake(labels: dict[str, str] | None = None, **knobs: object) -> JobSpec:
    """A fake job with these knobs, for example run_for=60."""
    annotations = {PREFIX + knob.replace("_", "-"): str(value) for knob, value in knobs.items()}
    return JobSpec(command=["fake"], labels=labels, annotations=annotations)


def endless(labels: dict[str, str] | None = None, **knobs: object) -> JobSpec:
    """A job that runs until it is cancelled."""
    return fake(labels, run_for=3600, **knobs)
