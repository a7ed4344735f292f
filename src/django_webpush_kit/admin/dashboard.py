"""The dashboard of the admin, which shows whether delivery works and lists problems, and the list of workers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit import overview
from django_webpush_kit.admin.pages import DEFAULT_SITE, NOBODY, Viewer, own_page_context, page_url
from django_webpush_kit.admin.reading import LANE_HELP, ReadingAdmin, may_view, type_label
from django_webpush_kit.admin.story import duration
from django_webpush_kit.conf import current_key_id, vapid_subject
from django_webpush_kit.delivery.pacing import forget_rates
from django_webpush_kit.health import HEALTHY, get_health
from django_webpush_kit.models import PushBroadcast, PushServiceState, WorkerHeartbeat, get_notification_model
from django_webpush_kit.overview import was_ever_sent
from django_webpush_kit.states import NotificationStatus

STATUS_WORDS = {
    "healthy": _("Delivery works."),
    "degraded": _("Delivery has problems."),
    "unhealthy": _("Delivery does not work."),
}

SERVICE_WORDS = {
    "open": _("paused by its circuit breaker"),
    "refused": _("refuses the VAPID key"),
    "paused": _("paused by hand"),
    "limited": _("limited to a rate"),
}

WORKER_WORDS = {
    "running": _("running"),
    "ended": _("ended"),
    "silent": _("not seen any more"),
    "idle": _("idle or stopped"),
}

SHOWN_WORKERS = 20


class WorkerHeartbeatAdmin(ReadingAdmin):
    """The workers of the last day, and the dashboard."""

    change_list_template = "django_webpush_kit/admin/workers.html"
    list_display = ("name", "command", "version", "seen_at", "per_minute", "rows", "ended_at", "ending")
    ordering = ("-seen_at", "-pk")

    def get_urls(self) -> list[Any]:
        """Add `dashboard/`."""
        view = self.admin_site.admin_view(self.dashboard_view)
        return [path("dashboard/", view, name="webpush_kit_workerheartbeat_dashboard"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Add a link to the dashboard to the list."""
        name = "admin:webpush_kit_workerheartbeat_dashboard"
        url = reverse(name, current_app=self.admin_site.name)
        return super().changelist_view(request, {"dashboard_url": url, **(extra_context or {})})

    def dashboard_view(self, request: HttpRequest) -> HttpResponse:
        """Show the dashboard to staff who may view workers. A POST forgets the learned rate of a push service."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._forget_rate(request)
        context = {
            **own_page_context(self, request),
            "title": _("Is delivery fine?"),
            "may_act": _may_act_on_services(request),
            **dashboard_context(self.viewer(request)),
        }
        return TemplateResponse(request, "django_webpush_kit/admin/dashboard.html", context)

    def _forget_rate(self, request: HttpRequest) -> HttpResponse:
        if not _may_act_on_services(request):
            raise PermissionDenied
        count = forget_rates([request.POST.get("forget_rate", "")])
        text = ngettext("%d rate was forgotten.", "%d rates were forgotten.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        return HttpResponseRedirect(request.get_full_path())


def dashboard_context(viewer: Viewer = NOBODY) -> dict[str, Any]:
    """Return the context of the dashboard. If the database does not answer, it has only health, which reports that."""
    readings = overview.Readings()
    health = get_health(details=True, readings=readings)
    context = {"health": health, **_status(health), "read_at": timezone.now()}
    try:
        return {**context, **_figures(viewer, readings)}
    except DatabaseError:
        return context


def panel_context(request: HttpRequest) -> dict[str, Any] | None:
    """Return the context of the panel on the admin index, or None if the user may not see it."""
    if not may_view(request, WorkerHeartbeat):
        return None
    health = get_health(details=True)
    return {
        "health": health,
        **_status(health),
        "dashboard_url": page_url(WorkerHeartbeat, "dashboard", site=getattr(request, "current_app", DEFAULT_SITE)),
    }


def _status(health: dict[str, Any]) -> dict[str, Any]:
    """Return `status_text`; before the first message also `is_new` and `advice`, what to do to get one."""
    if health["status"] != HEALTHY or health["success_rate"] is not None or was_ever_sent():
        return {"status_text": STATUS_WORDS[health["status"]]}
    if health["recent_notifications"]:
        advice: Any = ""
    elif health["active_subscriptions"]:
        advice = _("Send a message: manage.py push_send USER TITLE, or a test from the list of push subscriptions.")
    else:
        advice = _("Open a page of your site that has the switch, and turn notifications on.")
    return {"status_text": _("Nothing was sent yet."), "is_new": True, "advice": advice}


def _may_act_on_services(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm("webpush_kit.change_pushservicestate"))


def _figures(viewer: Viewer, readings: overview.Readings) -> dict[str, Any]:
    workers, backlog = overview.workers(readings), readings.backlog
    return {
        "has_figures": True,
        "lanes": [(state, duration(state.oldest_seconds or 0)) for state in backlog.lanes],
        "lane_help": LANE_HELP,
        "unfinished": backlog.unfinished,
        "workers": [
            (worker, WORKER_WORDS[worker.state], duration(worker.seen_seconds)) for worker in workers[:SHOWN_WORKERS]
        ],
        "services": [(state, SERVICE_WORDS[state.state]) for state in overview.service_states(readings)],
        "broadcasts": [
            (broadcast, type_label(broadcast), viewer.page_url(PushBroadcast, "change", broadcast.pk))
            for broadcast in overview.open_broadcasts()
        ],
        "errors": [
            (
                NotificationStatus(status).label,
                reason,
                count,
                viewer.list_url(get_notification_model(), status=status),
            )
            for status, reason, count in overview.recent_errors()
        ],
        "key_id": current_key_id(),
        "subject": vapid_subject(),
        "limit": overview.COUNT_LIMIT,
        "workers_url": viewer.list_url(WorkerHeartbeat),
        "services_url": viewer.list_url(PushServiceState),
    }


def show_panel(site: admin.AdminSite) -> None:
    """Show the panel on the index of an admin site, unless the project or a theme uses its own template."""
    if site.index_template is None:
        site.index_template = "django_webpush_kit/admin/index.html"
