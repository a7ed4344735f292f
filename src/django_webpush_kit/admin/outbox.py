"""The outbox in the admin: what was sent to whom, what became of it, and what browsers reported."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit import services
from django_webpush_kit.admin.bases import TabularInline
from django_webpush_kit.admin.reading import ReadingAdmin, TypeFilter, UserSearchAdmin
from django_webpush_kit.models import get_analytics_model


class EventInline(TabularInline):
    """What browsers reported about one notification."""

    model = get_analytics_model()
    fields = ("action_type", "action_id", "action_data", "timestamp")
    readonly_fields = fields
    extra = 0
    max_num = 0
    can_delete = False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Nobody: events are what was reported."""
        return False


class PushNotificationAdmin(UserSearchAdmin):
    """Look up what a user was sent, and cancel what is still pending."""

    list_display = ("title", "user", "type", "status", "created_at", "sent_at", "response_status", "failure_reason")
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

    @admin.action(description=_("Cancel what is still pending"), permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Cancel the chosen rows as far as they are pending."""
        count = services.cancel(queryset)
        text = ngettext("%d notification was cancelled.", "%d notifications were cancelled.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)


class NotificationAnalyticsAdmin(ReadingAdmin):
    """The events browsers reported."""

    list_display = ("timestamp", "action_type", "action_id", "notification")
    list_filter = ("action_type", "timestamp")
    list_select_related = ("notification",)
    ordering = ("-timestamp", "-pk")
    fields = ("notification", "action_type", "action_id", "action_data", "timestamp")
