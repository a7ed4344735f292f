"""The outbox in the admin: notifications, their status, and the events that browsers reported."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit import services
from django_webpush_kit.admin import notification_page
from django_webpush_kit.admin.browser_view import card_of
from django_webpush_kit.admin.contained import ContainedInline, exact_field, linked_field, viewer_of
from django_webpush_kit.admin.finding import find_events, find_notifications
from django_webpush_kit.admin.large_tables import LargeTableAdmin, Search
from django_webpush_kit.admin.list_filters import (
    BatchFilter,
    DateFilter,
    LaneFilter,
    NotificationFilter,
    PositionFilter,
    StatusFilter,
    SubscriptionFilter,
    TemplateFilter,
    UserFilter,
)
from django_webpush_kit.admin.pages import link, list_url, own_page_context
from django_webpush_kit.admin.reading import LANE_HELP, TypeFilter, type_label
from django_webpush_kit.admin.repeating import page_patterns
from django_webpush_kit.admin.statistics import statistics_page
from django_webpush_kit.models import get_analytics_model, get_notification_model


class EventInline(ContainedInline):
    """The events that browsers reported about a notification."""

    model = get_analytics_model()
    exact_timestamp = exact_field(get_analytics_model(), "timestamp")
    fields = ("action_type", "action_id", "action_data", "exact_timestamp")
    readonly_fields = fields
    extra = 0
    max_num = 0
    can_delete = False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        """Return False: reported events are never edited."""
        return False


class PushNotificationAdmin(LargeTableAdmin):
    """Look up notifications, read the story of one, send it again or cancel it, and open the statistics."""

    change_list_template = "django_webpush_kit/admin/outbox.html"

    exact_created_at = exact_field(get_notification_model(), "created_at")
    exact_sent_at = exact_field(get_notification_model(), "sent_at")
    exact_scheduled_for = exact_field(get_notification_model(), "scheduled_for")
    exact_next_attempt_at = exact_field(get_notification_model(), "next_attempt_at")
    linked_user = linked_field(get_notification_model(), "user")
    linked_subscription = linked_field(get_notification_model(), "subscription")
    linked_template = linked_field(get_notification_model(), "template")

    list_display = ("short_title", "recipient", type_label, "state", "created_at")
    list_filter = (
        PositionFilter,
        BatchFilter,
        UserFilter,
        SubscriptionFilter,
        TemplateFilter,
        StatusFilter,
        DateFilter,
        TypeFilter,
        ("lane", LaneFilter),
    )
    list_select_related = ("user",)
    page_relations = ("subscription", "user")
    search_fields = ("title",)
    search_help_text = _('User, e-mail address, id, batch, endpoint, or part of the title ("title:...").')
    window_field = "created_at"
    ordering = ("-created_at", "-pk")
    actions = ("cancel",)
    inlines = (EventInline,)
    readonly_fields = (
        *("story", "look", "payload", "related", "operations", "expires_at_or_ttl"),
        *("exact_created_at", "exact_sent_at", "exact_scheduled_for", "exact_next_attempt_at"),
        *("linked_user", "linked_subscription", "linked_template"),
    )
    fieldsets = (
        (None, {"fields": ("story", "operations", "look", "related")}),
        (_("Message"), {"fields": ("payload", "title", "body", "language", "data", "options", "topic")}),
        (
            _("Recipient"),
            {"fields": ("linked_user", "linked_subscription", "type", "linked_template", "batch", "exact_created_at")},
        ),
        (
            _("Delivery"),
            {
                "description": LANE_HELP,
                "fields": (
                    "status",
                    "failure_reason",
                    "response_status",
                    "exact_sent_at",
                    "lane",
                    "exact_scheduled_for",
                    "exact_next_attempt_at",
                    "expires_at_or_ttl",
                    "retry_count",
                    "max_retries",
                ),
            },
        ),
    )

    class Media:
        css = {"all": ("django_webpush_kit/admin.css",)}

    def get_urls(self) -> list[Any]:
        """Add `statistics/`, and the pages that ask before they act on one notification."""
        view = self.admin_site.admin_view(self.statistics_view)
        statistics = path("statistics/", view, name=self._name("statistics"))
        return [statistics, *page_patterns(self), *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Omit the operations for staff with only the view permission."""
        (name, options), *others = super().get_fieldsets(request, obj)
        if not self.has_act_permission(request):
            options = {**options, "fields": [field for field in options["fields"] if field != "operations"]}
        return ((name, options), *others)

    def search(self, text: str) -> Search:
        """Search by id, batch, endpoint, user or title."""
        return find_notifications(text)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Add a link to the statistics to the list."""
        statistics = {"statistics_url": reverse(f"admin:{self._name('statistics')}", current_app=self.admin_site.name)}
        return super().changelist_view(request, {**statistics, **(extra_context or {})})

    def statistics_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show the statistics to staff with the permission to view notifications."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        changelist = reverse(f"admin:{self._name('changelist')}", current_app=self.admin_site.name)
        return statistics_page(request, {**own_page_context(self, request), "list_url": changelist})

    def _name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"

    @admin.display(description=_("title"))
    def short_title(self, notification: Any) -> str:
        """Return the title, which the list shortens to its column."""
        return format_html('<span class="webpush-kit-short" dir="auto" title="{0}">{0}</span>', notification.title)

    @admin.display(description=_("user"))
    def recipient(self, notification: Any) -> str:
        """Return the user, with a link to all notifications to them."""
        if notification.user_id is None:
            return "-"
        return link(
            list_url(type(notification), user=notification.user_id, site=self.admin_site.name), notification.user
        )

    @admin.display(description=_("status"))
    def state(self, notification: Any) -> str:
        """Return the status and the reason."""
        return format_html(
            '<span class="webpush-kit-state webpush-kit-is-{}">{}</span> <span class="webpush-kit-reason">{}</span>',
            notification.status,
            notification.get_status_display(),
            notification.failure_reason,
        )

    @admin.display(description=_("story"))
    def story(self, notification: Any) -> str:
        """Return what happened to the notification, in words."""
        return notification_page.story_of(notification)

    @admin.display(description=_("looks like"))
    def look(self, notification: Any) -> str:
        """Return the notification roughly as a browser shows it."""
        return card_of(notification)

    @admin.display(description=_("payload"))
    def payload(self, notification: Any) -> str:
        """Return what the browser gets, without secrets."""
        return notification_page.payload_text(notification)

    @admin.display(description=_("see also"))
    def related(self, notification: Any) -> str:
        """Return links to related rows and to a few other notifications of the batch."""
        return notification_page.related_to(notification, viewer_of(notification))

    @admin.display(description=_("expires at"))
    def expires_at_or_ttl(self, notification: Any) -> str:
        """Return the deadline, which the TTL sets if the notification has no `expires_at`."""
        return notification_page.deadline_text(notification)

    @admin.display(description=_("actions"))
    def operations(self, notification: Any) -> str:
        """Return links to the pages that send it again or cancel it."""
        return notification_page.actions_for(notification, viewer_of(notification))

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


class NotificationAnalyticsAdmin(LargeTableAdmin):
    """The events that browsers reported."""

    exact_timestamp = exact_field(get_analytics_model(), "timestamp")

    list_display = ("exact_timestamp", "action_type", "action_id", "notification_link")
    list_filter = (PositionFilter, NotificationFilter, DateFilter, "action_type")
    list_select_related = ("notification",)
    page_relations = ("notification",)
    search_fields = ("notification",)
    search_help_text = _("The id of a notification, or a batch.")
    window_field = "timestamp"
    ordering = ("-timestamp", "-pk")
    fields = ("notification_link", "action_type", "action_id", "action_data", "exact_timestamp")
    readonly_fields = ("notification_link", "exact_timestamp")

    class Media:
        css = {"all": ("django_webpush_kit/admin.css",)}

    def search(self, text: str) -> Search:
        """Search by notification or batch."""
        return find_events(text)

    @admin.display(description=_("notification"))
    def notification_link(self, event: Any) -> str:
        """Return a link to the notification."""
        return viewer_of(event).row_link(event.notification)
