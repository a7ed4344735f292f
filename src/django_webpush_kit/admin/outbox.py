"""The outbox in the admin: notifications, their status, and the events that browsers reported."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit import services
from django_webpush_kit.admin.bases import TabularInline
from django_webpush_kit.admin.reading import ReadingAdmin, TypeFilter, UserSearchAdmin
from django_webpush_kit.admin.statistics import statistics_page
from django_webpush_kit.models import get_analytics_model


class EventInline(TabularInline):
    """The events that browsers reported about a notification."""

    model = get_analytics_model()
    fields = ("action_type", "action_id", "action_data", "timestamp")
    readonly_fields = fields
    extra = 0
    max_num = 0
    can_delete = False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Return False: reported events are never edited."""
        return False


class PushNotificationAdmin(UserSearchAdmin):
    """Look up a user's notifications, cancel pending ones, and open the statistics."""

    change_list_template = "django_webpush_kit/admin/outbox.html"

    list_display = ("title", "user", "type", "status", "failure_reason", "created_at")
    list_filter = ("status", "lane", TypeFilter, "created_at")
    ordering = ("-created_at", "-pk")
    actions = ("cancel",)
    inlines = (EventInline,)
    fieldsets = (
        (None, {"fields": ("user", "subscription", "type", "template", "batch", "created_at")}),
        (_("Message"), {"fields": ("title", "body", "language", "data", "options", "topic")}),
        (
            _("Delivery"),
            {
                "fields": (
                    "status",
                    "failure_reason",
                    "response_status",
                    "sent_at",
                    "lane",
                    "scheduled_for",
                    "next_attempt_at",
                    "expires_at",
                    "retry_count",
                    "max_retries",
                )
            },
        ),
    )

    def get_urls(self) -> list[Any]:
        """Add `statistics/` to the URLs of the list."""
        view = self.admin_site.admin_view(self.statistics_view)
        return [path("statistics/", view, name=self._name("statistics")), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Add a link to the statistics to the list."""
        link = {"statistics_url": reverse(f"admin:{self._name('statistics')}", current_app=self.admin_site.name)}
        return super().changelist_view(request, {**link, **(extra_context or {})})

    def statistics_view(self, request: HttpRequest) -> HttpResponse:
        """Show the statistics to staff with the permission to view notifications."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        list_url = reverse(f"admin:{self._name('changelist')}", current_app=self.admin_site.name)
        context = {**self.admin_site.each_context(request), "opts": self.opts, "list_url": list_url}
        return statistics_page(request, context)

    def _name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    @admin.action(description=_("Cancel pending notifications"), permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Cancel the selected rows that are still pending, after confirmation."""
        count = queryset.pending().count()  # type: ignore[attr-defined]
        question = self.ask(
            request,
            count,
            _("Cancel notifications"),
            [
                ngettext(
                    "%d pending notification will be cancelled.", "%d pending notifications will be cancelled.", count
                )
                % count,
                _("They will never be sent. They stay in the list."),
            ],
            _("Cancel them"),
        )
        if question is not None:
            return question
        count = services.cancel(queryset)
        text = ngettext("%d notification was cancelled.", "%d notifications were cancelled.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        return None


class NotificationAnalyticsAdmin(ReadingAdmin):
    """The events that browsers reported."""

    list_display = ("timestamp", "action_type", "action_id", "notification")
    list_filter = ("action_type", "timestamp")
    list_select_related = ("notification",)
    ordering = ("-timestamp", "-pk")
    fields = ("notification", "action_type", "action_id", "action_data", "timestamp")
