"""Subscriptions in the admin. Keys and endpoints are secrets: keys are hidden and endpoints are shortened."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit import services
from django_webpush_kit.admin.confirmation import idempotency_key
from django_webpush_kit.admin.contained import linked_field, viewer_of
from django_webpush_kit.admin.finding import find_subscriptions
from django_webpush_kit.admin.large_tables import LargeTableAdmin, Search
from django_webpush_kit.admin.list_filters import ActiveFilter, PositionFilter, UserFilter
from django_webpush_kit.admin.pages import link, link_list, list_url
from django_webpush_kit.admin.reading import count_up_to
from django_webpush_kit.models import get_notification_model, get_subscription_model
from django_webpush_kit.querysets import without_index
from django_webpush_kit.subscriptions.deactivation import deactivate_subscriptions

SHOWN_CHARACTERS = 12

DEACTIVATED = "deactivated in the admin"

MAX_TESTS = 100
"""Maximum number of subscriptions for a test notification. A test is not a broadcast."""


class PushServiceFilter(admin.SimpleListFilter):
    """Filter by push service. The choices are fixed, so that no large table is scanned for them."""

    title = _("push service")
    parameter_name = "service"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the push services of the major browsers."""
        return [
            ("fcm.googleapis.com", "Google (Chrome)"),
            ("updates.push.services.mozilla.com", "Mozilla (Firefox)"),
            ("push.apple.com", "Apple (Safari)"),
            ("notify.windows.com", "Microsoft (Edge)"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the subscriptions of the selected push service."""
        return queryset if self.value() is None else queryset.filter(without_index("push_service", self.value()))


class PushSubscriptionAdmin(LargeTableAdmin):
    """Look up a user's subscriptions, send a test notification, or deactivate them."""

    list_display = ("__str__", "owner", "language", "timezone", "is_active", "deactivation_reason", "created_at")
    list_filter = (PositionFilter, UserFilter, ActiveFilter, PushServiceFilter, "created_at")
    list_select_related = ("user",)
    search_fields = ("endpoint_hash",)
    search_help_text = _("User, e-mail address, id, or a whole endpoint.")
    ordering = ("-pk",)
    actions = ("send_test", "deactivate")
    linked_user = linked_field(get_subscription_model(), "user")

    readonly_fields = ("short_endpoint", "related", "linked_user")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "linked_user",
                    "push_service",
                    "short_endpoint",
                    "created_at",
                    "updated_at",
                    "expiration_time",
                )
            },
        ),
        (None, {"fields": ("related",)}),
        (_("State"), {"fields": ("is_active", "deactivated_at", "deactivation_reason")}),
        (_("Recipient"), {"fields": ("language", "timezone", "preferences", "user_agent", "ip_address")}),
    )

    class Media:
        css = {"all": ("django_webpush_kit/admin.css",)}

    def search(self, text: str) -> Search:
        """Search by id, endpoint or user."""
        return find_subscriptions(text)

    @admin.display(description=_("user"))
    def owner(self, subscription: Any) -> str:
        """Return the user, with a link to all their subscriptions."""
        if subscription.user_id is None:
            return "-"
        return link(
            list_url(type(subscription), user=subscription.user_id, site=self.admin_site.name), subscription.user
        )

    @admin.display(description=_("see also"))
    def related(self, subscription: Any) -> str:
        """Return links to the notifications of the subscription and of its user."""
        notifications, user, viewer = get_notification_model(), subscription.user_id, viewer_of(subscription)
        pages = [(viewer.list_url(notifications, subscription=subscription.pk), _("Notifications to this browser"))]
        if user is not None:
            pages += [
                (viewer.list_url(notifications, user=user), _("Notifications to this user")),
                (viewer.list_url(type(subscription), user=user), _("Subscriptions of this user")),
            ]
        return link_list(link(url, text) for url, text in pages if url)

    @admin.display(description=_("endpoint"))
    def short_endpoint(self, subscription: Any) -> str:
        """Return the origin and the last few characters: enough to compare, too little to send to."""
        start = "/".join(subscription.endpoint.split("/")[:3])
        return f"{start}/…{subscription.endpoint[-SHOWN_CHARACTERS:]}"

    @admin.action(description=_("Send a test notification"), permissions=["act"])
    def send_test(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Queue a test notification for each selected active subscription, at most `MAX_TESTS`, after confirmation."""
        active = queryset.active()  # type: ignore[attr-defined]
        count = count_up_to(active, MAX_TESTS + 1)
        if count > MAX_TESTS:
            refusal = _("Nothing was sent: select at most %(limit)d subscriptions for a test.")
            self.message_user(request, refusal % {"limit": MAX_TESTS}, messages.ERROR)
            return None
        question = self.ask(
            request,
            count,
            _("Send a test notification"),
            [
                ngettext(
                    "A test notification will be sent to %d active subscription.",
                    "A test notification will be sent to each of %d active subscriptions.",
                    count,
                )
                % count,
                _("Tests ignore preferences and quiet hours."),
            ],
            _("Send"),
        )
        if question is not None:
            return question
        result = services.send(
            active,
            str(_("Test notification")),
            str(_("If you can read this, notifications arrive.")),
            critical=True,
            idempotency_key=idempotency_key(request),
        )
        count = result.queued + result.deferred
        text = ngettext("%d test notification was queued.", "%d test notifications were queued.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        return None

    @admin.action(description=_("Deactivate"), permissions=["act"])
    def deactivate(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Deactivate the selected subscriptions, after confirmation. Their pending notifications will not be sent."""
        count = queryset.filter(is_active=True).count()
        question = self.ask(
            request,
            count,
            _("Deactivate subscriptions"),
            [
                ngettext("%d subscription will be deactivated.", "%d subscriptions will be deactivated.", count)
                % count,
                _("Their pending notifications will not be sent. Only the browser can subscribe again."),
            ],
            _("Deactivate"),
        )
        if question is not None:
            return question
        count = deactivate_subscriptions(queryset, DEACTIVATED)
        text = ngettext("%d subscription was deactivated.", "%d subscriptions were deactivated.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        return None
