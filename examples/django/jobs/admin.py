"""The admin's pages: to look and to search. Jobs are changed by what happens to them only."""

from django.contrib import admin
from django.http import HttpRequest

from jobs.models import Job, JobEvent, Watch


class _ReadOnly:
    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        return False


class EventInline(_ReadOnly, admin.TabularInline):
    """A job's events."""

    model = JobEvent


@admin.register(Job)
class JobAdmin(_ReadOnly, admin.ModelAdmin):
    """Jobs."""

    list_display = ("name", "command_line", "state", "reason", "exit_code", "created_at")
    list_filter = ("state", "reason")
    search_fields = ("name", "uid", "request_id")
    inlines = (EventInline,)


@admin.register(Watch)
class WatchAdmin(_ReadOnly, admin.ModelAdmin):
    """Who watches."""

    list_display = ("name", "holder", "expires_at")
