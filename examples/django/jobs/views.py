"""The pages. All that they show comes from the database, but for the logs."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import aget_object_or_404, get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST, require_safe

from jobs import intents, logs
from jobs.forms import JobForm
from jobs.models import Job

PAGE_SIZE = 50


def job_list(request: HttpRequest) -> HttpResponse:
    """The newest jobs, and a form for another one."""
    form = JobForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        return redirect(intents.submit(data["command"], data["image"], request.user.pk))
    return render(request, "jobs/list.html", {"form": form, **_page(request)})


@require_safe
def job_rows(request: HttpRequest) -> HttpResponse:
    """The rows of the list alone, which the page asks for again and again."""
    return render(request, "jobs/_rows.html", _page(request))


@require_safe
def job_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One job: how it is, what happened to it, what it writes."""
    return render(request, "jobs/detail.html", {"job": get_object_or_404(Job, pk=pk)})


@require_safe
def job_status(request: HttpRequest, pk: int) -> HttpResponse:
    """What of that page changes."""
    return render(request, "jobs/_status.html", {"job": get_object_or_404(Job, pk=pk)})


@require_POST
def job_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop a job."""
    job = get_object_or_404(Job, pk=pk)
    intents.cancel(job)
    messages.info(request, "It is being cancelled.")
    return redirect(job)


@require_GET
async def job_logs(request: HttpRequest, pk: int) -> HttpResponseBase:
    """What a job writes, as it does."""
    job = await aget_object_or_404(Job, pk=pk)
    cursor = request.headers.get("Last-Event-ID", "")
    response = StreamingHttpResponse(logs.events(job, cursor), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"  # nginx would hold it back
    return response


def _page(request: HttpRequest) -> dict[str, object]:
    """As many jobs as a page shows, and before which one the next page begins."""
    before = request.GET.get("before", "")
    rows = Job.objects.filter(pk__lt=before) if before.isdecimal() else Job.objects.all()
    jobs = list(rows[:PAGE_SIZE])
    return {"jobs": jobs, "next": jobs[-1].pk if len(jobs) == PAGE_SIZE else None}
