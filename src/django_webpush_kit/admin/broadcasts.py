"""Broadcasts in the admin: compose one, watch it, pause, resume or cancel it, send failed notifications again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from django_webpush_kit import services
from django_webpush_kit.admin.bases import ModelAdmin
from django_webpush_kit.admin.broadcast_form import BroadcastForm
from django_webpush_kit.admin.broadcast_page import COUNT, broadcast_page, messages_of, retriable_rows
from django_webpush_kit.admin.broadcast_review import Review, review_of
from django_webpush_kit.admin.confirmation import Question, ask
from django_webpush_kit.admin.contained import exact_field, linked_field
from django_webpush_kit.admin.live_preview import PreviewingAdmin, field_problems
from django_webpush_kit.admin.numbers import formatted
from django_webpush_kit.admin.pages import own_page_context
from django_webpush_kit.admin.reading import COUNT_LIMIT, ReadingAdmin, TypeFilter, count_up_to, type_label
from django_webpush_kit.database import rows_of
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_template_model
from django_webpush_kit.outbox.audiences import EVERYBODY
from django_webpush_kit.outbox.retries import retry_failed

REVIEW_TEMPLATE = "django_webpush_kit/admin/broadcast_review.html"

FIGURES_TEMPLATE = "django_webpush_kit/admin/broadcast_figures.html"


class PushBroadcastAdmin(ReadingAdmin, PreviewingAdmin):
    """Compose broadcasts and watch them."""

    form = BroadcastForm
    add_form_template = "django_webpush_kit/admin/broadcast_form.html"
    change_form_template = "django_webpush_kit/admin/broadcast.html"
    panel_template = "django_webpush_kit/admin/broadcast_panel.html"

    linked_created_by = linked_field(PushBroadcast, "created_by")
    exact_created_at = exact_field(PushBroadcast, "created_at")
    exact_started_at = exact_field(PushBroadcast, "started_at")
    exact_finished_at = exact_field(PushBroadcast, "finished_at")

    list_display = (type_label, "audience", "status", "progress", "created_by", "created_at", "finished_at")
    list_filter = ("status", TypeFilter, "created_at")
    list_select_related = ("created_by",)
    ordering = ("-pk",)
    actions = ("pause", "resume", "cancel")
    add_fieldsets: Any = (
        (_("1. Message"), {"fields": ("type", "content", "title", "body", "url", "icon", "context")}),
        (_("2. Audience"), {"fields": ("audience",)}),
        (
            _("3. Delivery"),
            {"fields": ("scheduled_for", "is_local", "rate", "expires_at", "urgency", "options", "key")},
        ),
    )
    fields = (
        "type",
        "audience",
        "batch",
        "context",
        "options",
        "rate",
        "scheduled_for",
        "linked_created_by",
        "exact_created_at",
        "exact_started_at",
        "exact_finished_at",
    )
    readonly_fields = ("linked_created_by", "exact_created_at", "exact_started_at", "exact_finished_at")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow starting broadcasts with the permission to add them."""
        return ModelAdmin.has_add_permission(self, request)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show the form in steps for a new broadcast, and the arguments of an existing one."""
        return super().get_fieldsets(request, obj) if obj else self.add_fieldsets

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields of the page."""
        return self.fields if obj else [name for _title, step in self.add_fieldsets for name in step["fields"]]

    def get_urls(self) -> list[Any]:
        """Add the page that changes a broadcast and the figures that refresh themselves."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("<path:object_id>/control/", self.admin_site.admin_view(self.control_view), name=f"{name}_control"),
            path("<path:object_id>/figures/", self.admin_site.admin_view(self.figures_view), name=f"{name}_figures"),
            *super().get_urls(),
        ]

    # --- Compose ---------------------------------------------------------------------------------------------------

    def panel_context(self, request: HttpRequest, form: Any) -> dict[str, Any]:
        """Return the review of the form so far."""
        if form.is_bound:
            return {"review": review_of(form), "errors": field_problems(form) if hasattr(form, "fields") else []}
        given = {"audience": EVERYBODY, "type": form.fields["type"].choices[0][0]}
        for name in given:
            if form.initial.get(name) in dict(form.fields[name].choices):
                given[name] = form.initial[name]
        templates = rows_of(get_template_model()).filter(type=given["type"]).order_by("language")
        return {"review": Review(given, list(templates))}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what a valid form will do, and start the broadcast once that is confirmed."""
        if request.method == "POST" and self.has_add_permission(request) and not self.shows_again(request):
            form = self.get_form(request)(request.POST)
            if form.is_valid():
                review = review_of(form)
                question = Question(_("Start the broadcast?"), list(review.sentences()), _("Start"), 1)
                context = {**own_page_context(self, request), "review": review}
                page = ask(request, question, context, REVIEW_TEMPLATE)
                if page is not None:
                    return page
        return super().add_view(request, form_url, extra_context)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Start the broadcast, which also writes its row."""
        form.save(commit=False)  # defines save_m2m, which the admin calls later
        broadcast, is_new = form.start(request.user)
        if is_new:
            started = _("The broadcast %(broadcast)s was started.") % {"broadcast": broadcast}
            self.message_user(request, started, messages.SUCCESS)
        else:
            text = _("This form had been sent before: it started the broadcast below. Nothing new was started.")
            self.message_user(request, text, messages.WARNING)
        return broadcast

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing: `save_form` has written the row."""

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Go to the page of the new broadcast, for staff who may view it."""
        may_view = self.has_view_permission(request, obj)
        index = reverse("admin:index", current_app=self.admin_site.name)
        return HttpResponseRedirect(self._url("change", obj) if may_view else index)

    # --- Watch -----------------------------------------------------------------------------------------------------

    def page_context(self, request: HttpRequest, form: Any, obj: Any) -> dict[str, Any]:
        """Return the panel of a new broadcast, or the figures and texts of an existing one."""
        if obj is None:
            return super().page_context(request, form, obj)
        context = self._figures_context(request, obj, counts=COUNT in request.GET)
        context |= {"figures_url": self._url("figures", obj), "messages_sent": messages_of(obj)}
        if self.has_add_permission(request):
            again = {"type": obj.type, "audience": obj.audience, "rate": obj.rate}
            context["again_url"] = f"{self._url('add')}?{urlencode(again)}"
        return context

    def figures_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Render the figures of a broadcast alone."""
        broadcast = self._broadcast(request, object_id)
        if not self.has_view_permission(request, broadcast):
            raise PermissionDenied
        return TemplateResponse(request, FIGURES_TEMPLATE, self._figures_context(request, broadcast, counts=True))

    @method_decorator(require_POST)
    def control_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Pause, resume or cancel a broadcast, or send its failed notifications again."""
        broadcast = self._broadcast(request, object_id)
        if not (self.has_act_permission(request) and self.has_view_permission(request, broadcast)):
            raise PermissionDenied
        controls: dict[str, Callable[[HttpRequest, Any], HttpResponse | None]] = {
            "pause": self._pause_one,
            "resume": self._resume_one,
            "cancel": self._cancel_one,
            "retry": self._retry_one,
        }
        control = controls.get(request.POST.get("control", ""))
        if control is None:
            raise Http404
        return control(request, broadcast) or HttpResponseRedirect(self._url("change", broadcast))

    @admin.display(description=_("written"))
    def progress(self, broadcast: Any) -> str:
        """Return the number of processed recipients and the size of the audience."""
        total = max(broadcast.total, broadcast.processed)
        if not total:
            return "-"
        return f"{formatted(broadcast.processed)} / {formatted(total)} ({100 * broadcast.processed // total} %)"

    def _figures_context(self, request: HttpRequest, broadcast: Any, *, counts: bool) -> dict[str, Any]:
        return {
            "page": broadcast_page(broadcast, counts=counts),
            "notifications_url": self.viewer(request).list_url(get_notification_model(), batch=broadcast.batch),
            "broadcast": broadcast,
            "control_url": self._url("control", broadcast) if self.has_act_permission(request) else "",
        }

    # --- Act -------------------------------------------------------------------------------------------------------

    @admin.action(description=_("Pause"), permissions=["act"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Pause the selected broadcasts until they are resumed."""
        self._switch(request, queryset, services.pause_broadcast, "Paused.")

    @admin.action(description=_("Resume"), permissions=["act"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Resume the selected broadcasts where they stopped."""
        self._switch(request, queryset, services.resume_broadcast, "Resumed.")

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
        count = 0

        def cancel(broadcast: Any) -> bool:
            nonlocal count
            before, cancelled = broadcast.status, services.cancel(broadcast)
            broadcast.refresh_from_db(fields=["status"])
            count += cancelled
            return bool(cancelled) or broadcast.status != before

        self._switch(
            request,
            queryset,
            cancel,
            "Cancelled.",
            lambda: ngettext("%d notification was cancelled.", "%d notifications were cancelled.", count) % count,
        )
        return None

    def _switch(
        self,
        request: HttpRequest,
        broadcasts: Any,
        switch: Callable[[Any], bool],
        note: str,
        addition: Callable[[], str] = str,
    ) -> None:
        """Change broadcasts, log the changes, and say how many there were. Another person may have been faster."""
        changed = [broadcast for broadcast in broadcasts if switch(broadcast)]
        for broadcast in changed:
            self.log_change(request, broadcast, note)
        number = len(changed)
        text = ngettext("%d broadcast was changed.", "%d broadcasts were changed.", number) % number
        self.message_user(request, f"{text} {addition()}".rstrip(), messages.SUCCESS if number else messages.WARNING)

    def _pause_one(self, request: HttpRequest, broadcast: Any) -> None:
        self._switch(request, [broadcast], services.pause_broadcast, "Paused.")

    def _resume_one(self, request: HttpRequest, broadcast: Any) -> None:
        self._switch(request, [broadcast], services.resume_broadcast, "Resumed.")

    def _cancel_one(self, request: HttpRequest, broadcast: Any) -> HttpResponse | None:
        return self.cancel(request, PushBroadcast.objects.filter(pk=broadcast.pk))

    def _retry_one(self, request: HttpRequest, broadcast: Any) -> HttpResponse | None:
        rows = retriable_rows(broadcast)
        number = count_up_to(rows, COUNT_LIMIT + 1)
        if number > COUNT_LIMIT:
            refusal = _("More than %(limit)s notifications failed. Run the command push_retry instead.")
            self.message_user(request, refusal % {"limit": formatted(COUNT_LIMIT)}, messages.ERROR)
            return None
        question = self.ask(
            request,
            number,
            _("Send failed notifications again"),
            [
                ngettext(
                    "%d failed notification will be sent again.", "%d failed notifications will be sent again.", number
                )
                % number,
                _("Notifications whose deadline has passed expire instead."),
            ],
            _("Send again"),
        )
        if question is not None:
            return question
        count = retry_failed(rows)
        self.log_change(request, broadcast, f"Sent {count} failed notifications again.")
        text = ngettext("%d notification is pending again.", "%d notifications are pending again.", count) % count
        self.message_user(request, text, messages.SUCCESS if count else messages.WARNING)
        return None

    def _broadcast(self, request: HttpRequest, object_id: str) -> Any:
        broadcast = self.get_object(request, unquote(object_id))
        if broadcast is None:
            raise Http404
        return broadcast

    def _url(self, page: str, *broadcast: Any) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=[one.pk for one in broadcast], current_app=self.admin_site.name)
