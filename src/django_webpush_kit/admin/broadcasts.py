"""Broadcasts in the admin: start one, watch it, pause, resume or cancel it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db import models
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit import services
from django_webpush_kit.admin.bases import ModelAdmin
from django_webpush_kit.admin.broadcast_review import review
from django_webpush_kit.admin.reading import ReadingAdmin, TypeFilter, template_types, type_labels
from django_webpush_kit.exceptions import WebPushKitError
from django_webpush_kit.models import PushBroadcast, get_analytics_model
from django_webpush_kit.options import SendOptions
from django_webpush_kit.outbox.audiences import audience_names
from django_webpush_kit.outbox.broadcasts import check, progress
from django_webpush_kit.states import ActionType

NOT_IN_OPTIONS = ("scheduled_for", "idempotency_key")


def written_types() -> list[tuple[str, str]]:
    """Return the notification types that have a template, with their labels."""
    labels = type_labels()
    return [(name, labels.get(name, name)) for name in template_types()]


def audiences() -> list[tuple[str, str]]:
    """Return the names of the audiences as choices."""
    return [(name, name) for name in audience_names()]


class BroadcastForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for the type checker only
    """The arguments of `services.broadcast`. Submitting the same form twice starts one broadcast."""

    type = forms.ChoiceField(label=capfirst(_("type")), choices=written_types)
    audience = forms.ChoiceField(label=capfirst(_("audience")), choices=audiences)
    key = forms.CharField(max_length=64, widget=forms.HiddenInput, initial=uuid4)

    class Meta:
        model = PushBroadcast
        fields = ("type", "audience", "context", "options", "scheduled_for")
        help_texts = {
            "context": _('The variables of the template, for example {"number": 7}.'),
            "options": _('Options of send(), for example {"ttl": 3600, "urgency": "low"}.'),
            "scheduled_for": _("Leave empty to send as soon as you start it."),
        }

    def clean(self) -> dict[str, Any]:
        """Validate as `services.broadcast` does."""
        given: dict[str, Any] = super().clean() or {}
        for name in ("context", "options"):
            if name in given and not isinstance(given[name], dict):
                self.add_error(name, _("This must be a JSON object."))
        for name in NOT_IN_OPTIONS:
            if name in given.get("options", ()):
                self.add_error("options", _("Set %s in its own field.") % name)
        if self.errors:
            return given
        field = "options"
        try:
            options = SendOptions.parse({**given["options"], "scheduled_for": given["scheduled_for"]})
            field = "context"
            check(given["type"], given["audience"], given["context"], options)
        except (WebPushKitError, TypeError) as error:
            self.add_error(field, str(error))
        return given

    def start(self, created_by: Any) -> PushBroadcast:
        """Start the broadcast that the form describes."""
        given = self.cleaned_data
        return services.broadcast(
            given["type"],
            given["audience"],
            given["context"],
            scheduled_for=given["scheduled_for"],
            idempotency_key=f"admin-{given['key']}",
            created_by=created_by,
            **given["options"],
        )


def _reported(broadcast: Any, *actions: str) -> str:
    """The number of a broadcast's notifications about which a browser reported one of the actions."""
    events = get_analytics_model().objects.filter(notification__batch=broadcast.batch, action_type__in=actions)
    return f"{events.aggregate(count=Count('notification', distinct=True))['count']:,}"


class PushBroadcastAdmin(ReadingAdmin):
    """Start broadcasts, watch them, and pause, resume or cancel them."""

    form = BroadcastForm
    formfield_overrides = {models.JSONField: {"widget": AdminTextareaWidget(attrs={"rows": 3})}}

    list_display = ("type", "audience", "status", "progress", "created_by", "created_at", "finished_at")
    list_filter = ("status", TypeFilter, "created_at")
    list_select_related = ("created_by",)
    ordering = ("-pk",)
    actions = ("pause", "resume", "cancel")
    readonly_fields = ("progress", "accepted", "shown", "clicked")
    fields = (
        "type",
        "audience",
        "batch",
        "context",
        "options",
        "status",
        "failure_reason",
        "progress",
        "accepted",
        "shown",
        "clicked",
        "total",
        "queued",
        "suppressed",
        "failed",
        "rate",
        "scheduled_for",
        "created_by",
        "created_at",
        "started_at",
        "finished_at",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow starting broadcasts with the permission to add them."""
        return ModelAdmin.has_add_permission(self, request)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the form's fields for a new broadcast, and every field for an existing one."""
        return self.fields if obj else (*BroadcastForm.Meta.fields, "key")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Make the fields of existing broadcasts read-only."""
        return self.readonly_fields if obj else ()

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what a valid form will do, and start the broadcast once that is confirmed."""
        if request.method == "POST" and self.has_add_permission(request):
            form = self.get_form(request)(request.POST)
            if form.is_valid():
                title = _("Start the broadcast?")
                question = self.ask(request, 1, title, review(form.cleaned_data), _("Start"))
                if question is not None:
                    return question
        return super().add_view(request, form_url, extra_context)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Start the broadcast, which also writes its row."""
        form.save(commit=False)  # defines save_m2m, which the admin calls later
        return form.start(request.user)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing: `save_form` has written the row."""

    @admin.display(description=_("written"))
    def progress(self, broadcast: Any) -> str:
        """Return the number of processed recipients and the size of the audience."""
        total = max(broadcast.total, broadcast.processed)
        if not total:
            return "-"
        return f"{broadcast.processed:,} / {total:,} ({100 * broadcast.processed // total} %)"

    @admin.display(description=_("accepted"))
    def accepted(self, broadcast: Any) -> str:
        """Return the number of accepted messages and, while some are pending, the rate and the remaining time."""
        state = progress(broadcast)
        parts = [f"{state.accepted:,} / {state.written:,}"]
        if state.unaccepted:
            parts.append(_("%(count)s not accepted") % {"count": f"{state.unaccepted:,}"})
        if state.waiting:
            parts.append(_("%(count)s pending") % {"count": f"{state.waiting:,}"})
        if state.rate is not None and state.remaining is not None:
            rate = f"{state.rate:,.0f}" if state.rate >= 10 else f"{state.rate:.1f}"
            parts.append(
                _("%(rate)s per second, %(seconds)s seconds left")
                % {"rate": rate, "seconds": f"{state.remaining:,.0f}"}
            )
        return ", ".join(parts)

    @admin.display(description=_("shown"))
    def shown(self, broadcast: Any) -> str:
        """Return how many browsers reported that they showed the notification."""
        return _reported(broadcast, ActionType.DELIVERED)

    @admin.display(description=_("clicked"))
    def clicked(self, broadcast: Any) -> str:
        """Return how many notifications were clicked, on a button or elsewhere."""
        return _reported(broadcast, ActionType.CLICKED, ActionType.ACTION_CLICKED)

    @admin.action(description=_("Pause"), permissions=["act"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Pause the selected broadcasts until they are resumed."""
        self._switch(request, queryset, services.pause_broadcast)

    @admin.action(description=_("Resume"), permissions=["act"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Resume the selected broadcasts where they stopped."""
        self._switch(request, queryset, services.resume_broadcast)

    @admin.action(description=_("Cancel, including pending notifications"), permissions=["act"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Cancel the selected broadcasts and their pending notifications, after confirmation."""
        number = queryset.count()
        question = self.ask(
            request,
            number,
            _("Cancel broadcasts"),
            [
                ngettext("%d broadcast will be cancelled.", "%d broadcasts will be cancelled.", number) % number,
                _("Their pending notifications are cancelled too. A cancelled broadcast cannot be resumed."),
            ],
            _("Cancel permanently"),
        )
        if question is not None:
            return question
        count = sum(services.cancel(broadcast) for broadcast in queryset)
        text = ngettext("%d notification was cancelled.", "%d notifications were cancelled.", count) % count
        self.message_user(request, text, messages.SUCCESS)
        return None

    def _switch(self, request: HttpRequest, queryset: QuerySet[Any], switch: Callable[[Any], bool]) -> None:
        count = sum(switch(broadcast) for broadcast in queryset)
        text = ngettext("%d broadcast was changed.", "%d broadcasts were changed.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
