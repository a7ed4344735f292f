"""What runs the sending, in the admin: broadcasts, idempotency keys, the state of push services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit import services
from django_webpush_kit.admin.reading import ReadingAdmin, TypeFilter


class PushBroadcastAdmin(ReadingAdmin):
    """Watch broadcasts, and pause, resume or cancel them."""

    list_display = ("type", "audience", "status", "progress", "created_by", "created_at", "finished_at")
    list_filter = ("status", TypeFilter, "created_at")
    list_select_related = ("created_by",)
    ordering = ("-pk",)
    actions = ("pause", "resume", "cancel")
    readonly_fields = ("progress",)
    fields = (
        "type",
        "audience",
        "batch",
        "context",
        "options",
        "status",
        "failure_reason",
        "progress",
        "total",
        "queued",
        "suppressed",
        "scheduled_for",
        "created_by",
        "created_at",
        "started_at",
        "finished_at",
    )

    @admin.display(description=_("progress"))
    def progress(self, broadcast: Any) -> str:
        """How many recipients have been dealt with, of how many."""
        if not broadcast.total:
            return "-"
        done = broadcast.queued + broadcast.suppressed
        return f"{done} / {broadcast.total} ({min(100, 100 * done // broadcast.total)} %)"

    @admin.action(description=_("Pause"), permissions=["act"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Stop the chosen fan-outs until they are resumed."""
        self._switch(request, queryset, services.pause_broadcast)

    @admin.action(description=_("Resume"), permissions=["act"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Go on with the chosen fan-outs where they stopped."""
        self._switch(request, queryset, services.resume_broadcast)

    @admin.action(description=_("Cancel, also what is still pending"), permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End the chosen broadcasts and cancel their rows as far as they are pending."""
        count = sum(services.cancel(broadcast) for broadcast in queryset)
        text = ngettext("%d notification was cancelled.", "%d notifications were cancelled.", count) % count
        self.message_user(request, text, messages.SUCCESS)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Any], switch: Callable[[Any], bool]) -> None:
        count = sum(switch(broadcast) for broadcast in queryset)
        text = ngettext("%d broadcast was changed.", "%d broadcasts were changed.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)


class IdempotencyKeyAdmin(ReadingAdmin):
    """Look up what a key was used for; deleting it lets it be used again."""

    list_display = ("key", "batch", "queued", "deferred", "suppressed", "created_at")
    list_filter = ("created_at",)
    search_fields = ("key",)
    ordering = ("-pk",)


class PushServiceStateAdmin(ReadingAdmin):
    """Which push services are paused or refuse our credentials, and why."""

    list_display = ("push_service", "vapid_key_id", "reason", "paused_until", "failures", "updated_at")
    ordering = ("push_service", "vapid_key_id")
    actions = ("try_again",)

    @admin.action(description=_("Try again now"), permissions=["act"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End the chosen pauses; rows that wait for their end keep their moment."""
        count, _by_model = queryset.delete()
        text = ngettext("%d pause was ended.", "%d pauses were ended.", count) % count
        self.message_user(request, text, messages.SUCCESS)
