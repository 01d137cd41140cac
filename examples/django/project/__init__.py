"""The project: settings, URLs, and the Celery application, which tasks need when they are sent."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
