"""Operational tables in the admin: idempotency keys and the state of push services."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit.admin.reading import ReadingAdmin
from django_webpush_kit.delivery.pacing import forget_rates, learned_rate
from django_webpush_kit.models import IdempotencyKey, PushServiceState


class IdempotencyKeyAdmin(ReadingAdmin):
    """Look up a key by its full text. A deleted key can be used again."""

    list_display = ("__str__", "batch", "queued", "deferred", "suppressed", "failed", "created_at")
    list_filter = ("created_at",)
    search_fields = ("key_hash",)
    list_note = _(
        "Code that passes an idempotency key to send() sends only once, however often it runs. These keys were used. "
        "Delete one to let its code send again."
    )
    search_help_text = _("Enter the whole key: only its SHA-256 is stored.")
    ordering = ("-pk",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find the key by its text or its SHA-256."""
        if not search_term:
            return queryset, False
        return queryset.filter(key_hash__in=[search_term, IdempotencyKey.hash_of(search_term)]), False


class PushServiceStateAdmin(ReadingAdmin):
    """Shows which push services are paused, limit the rate or refuse our credentials, and why."""

    list_display = (
        "push_service",
        "vapid_key_id",
        "reason",
        "paused_until",
        "paused_by_hand_at",
        "failures",
        "current_rate",
        "updated_at",
    )
    ordering = ("push_service", "vapid_key_id")
    actions = ("try_again", "forget_rate")

    @admin.display(description=_("messages per minute"), ordering="rate")
    def current_rate(self, state: PushServiceState) -> str:
        """The learned rate as it is now."""
        rate = learned_rate(state)
        return "-" if rate is None else f"{rate:.0f}"

    @admin.action(description=_("Try again now"), permissions=["act"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End the selected pauses. Rows that were postponed keep their scheduled time."""
        count = queryset.filter(paused_until__isnull=False).update(
            paused_until=None, reason="", failures=0, suspects={}, updated_at=timezone.now()
        )
        text = ngettext("%d pause was ended.", "%d pauses were ended.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)

    @admin.action(description=_("Forget the learned rate"), permissions=["act"])
    def forget_rate(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Send to the selected push services as fast as possible again, or as `SEND_RATES` says."""
        count = forget_rates(queryset.values_list("push_service", flat=True))
        text = ngettext("%d rate was forgotten.", "%d rates were forgotten.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
