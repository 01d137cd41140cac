"""The application's place in Django."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Jobs and what happened to them."""

    name = "jobs"
    default_auto_field = "django.db.models.BigAutoField"
