"""Notification templates in the admin: edit them with a live preview. Templates that cannot be sent are not saved."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_webpush_kit import services
from django_webpush_kit.admin.json_fields import BoundedJSONField
from django_webpush_kit.admin.live_preview import PreviewingAdmin, field_problems
from django_webpush_kit.admin.message_preview import preview_message
from django_webpush_kit.admin.reading import may_view, type_label
from django_webpush_kit.admin.template_form import OPTION_FIELDS, RAW, TemplateForm, field_name
from django_webpush_kit.admin.template_page import history_of, last_context, panel_of, placeholders, uses_of
from django_webpush_kit.error_reports import error_text
from django_webpush_kit.models import PushBroadcast
from django_webpush_kit.option_checks import storable
from django_webpush_kit.templating.context import recipient_values

SEND_BUTTON = "_send_to_me"
"""The name of the button that sends the typed message to the staff member's own browsers."""

NOT_TESTED = frozenset({"topic", "idempotency_key", "scheduled_for", "scheduled_local", "expires_at", "language"})
"""Options that a test does not use: it is sent now, and replaces no real message."""


class LanguageFilter(admin.SimpleListFilter):
    """Filter by language. The default language, which has no tag, has a name here."""

    title = _("language")
    parameter_name = "language"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the languages of the stored templates."""
        tags = model_admin.get_queryset(request).order_by("language").values_list("language", flat=True).distinct()
        return [(tag, tag or _("default language")) for tag in tags]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the templates of the selected language."""
        value = self.value()
        return queryset if value is None else queryset.filter(language=storable(value))


class NotificationTemplateAdmin(PreviewingAdmin):
    """Edit the text of each notification type in each language."""

    form = TemplateForm
    change_form_template = "django_webpush_kit/admin/template_form.html"
    panel_template = "django_webpush_kit/admin/template_panel.html"

    list_display = (type_label, "language", "title_template", "updated_at")
    list_display_links = (type_label, "title_template")
    list_filter = (LanguageFilter,)
    search_fields = ("type", "title_template", "body_template")
    ordering = ("type", "language")
    readonly_fields = ("created_at", "updated_at")
    save_as = True
    formfield_overrides = {
        models.JSONField: {"form_class": BoundedJSONField, "widget": AdminTextareaWidget(attrs={"rows": 3})},
        models.TextField: {"widget": AdminTextareaWidget(attrs={"rows": 4})},
    }
    fieldsets = (
        (None, {"fields": ("type", "language")}),
        (
            _("Texts"),
            {
                "fields": ("title_template", "body_template", "url_template", "icon_template", "actions"),
                "description": _(
                    "Plain text with variables such as {{ number }} or {{ recipient.first_name }}, filters such as "
                    "{{ starts|date:'DATE_FORMAT' }}, and the tag {% if %}. Numbers and dates follow the language in "
                    "the title and the body, never in the URL and the icon."
                ),
            },
        ),
        (_("Behaviour"), {"fields": ("require_interaction", "silent", "vibrate_pattern")}),
        (
            _("Options"),
            {"classes": ("collapse",), "fields": (*(field_name(name) for name in OPTION_FIELDS), "options")},
        ),
        (_("Preview with"), {"fields": ("sample_context",)}),
        (None, {"fields": ("created_at", "updated_at")}),
    )

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Add help texts to the fields whose format is not obvious."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in _HELP_TEXTS:
            field.help_text = _HELP_TEXTS[db_field.name]
        return field

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form, with sample variables and, if the URL asks for it, buttons as JSON."""
        form = super().get_form(request, obj, change=change, **kwargs)
        template = obj or self.model(**self._known_fields(request))
        last = last_context(template.type) if may_view(request, PushBroadcast) else {}
        values = {
            "starting_sample": {**placeholders(template), **last},
            "is_sample_of_broadcast": bool(last),
            "buttons_as_json": RAW in request.GET,
        }
        return type(form.__name__, (form,), values)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the values in the URL, without the parameter for JSON."""
        initial = super().get_changeform_initial_data(request)
        initial.pop(RAW, None)
        return initial

    def shows_again(self, request: HttpRequest) -> bool:
        """Show the form again after a preview and after a test."""
        return super().shows_again(request) or SEND_BUTTON in request.POST

    def panel_context(self, request: HttpRequest, form: Any) -> dict[str, Any]:
        """Return the preview of the template as typed."""
        errors = field_problems(form) if form.is_bound else []
        return {**panel_of(form.instance, self._sample(form), viewer=self.viewer(request)), "errors": errors}

    def page_context(self, request: HttpRequest, form: Any, obj: Any) -> dict[str, Any]:
        """Add where the template is used and its history. Send the test, if its button was pressed."""
        may_test = self.has_add_permission(request) if obj is None else self.has_change_permission(request, obj)
        if may_test and SEND_BUTTON in request.POST:
            self._send_to_me(request, form)
        context = super().page_context(request, form, obj)
        context |= {"may_test": may_test, "raw_parameter": RAW, "is_raw": RAW in request.GET}
        if obj is not None and obj.pk is not None:
            context |= {"uses": uses_of(obj, viewer=self.viewer(request)), "history": history_of(obj)}
            if not may_view(request, PushBroadcast):
                context["uses"]["broadcasts"] = []
        return context

    def _send_to_me(self, request: HttpRequest, form: Any) -> None:
        if form.errors:
            self.message_user(request, _("Nothing was sent. Correct the errors first."), messages.ERROR)
            return
        try:
            sample = {"recipient": recipient_values(request.user), **self._sample(form)}
            message = preview_message(form.instance, sample)
            if message.problems:
                self.message_user(request, message.problems[0], messages.ERROR)
                return
            options = {name: value for name, value in message.options.given.items() if name not in NOT_TESTED}
            user: Any = request.user
            # critical: the test ignores the preferences of the staff member
            result = services.send(
                user, message.text.title, message.text.body, type=form.instance.type, **{**options, "critical": True}
            )
        except Exception as error:  # noqa: BLE001 - a function of the project; shown instead
            self.message_user(request, error_text(error), messages.ERROR)
            return
        count = result.queued + result.deferred
        if not count:
            text = _("You have no browser that gets notifications. Switch them on in the site with your own account.")
            self.message_user(request, text, messages.WARNING)
            return
        sent = ngettext("Sent to %(count)s browser of yours.", "Sent to %(count)s browsers of yours.", count)
        self.message_user(request, sent % {"count": count}, messages.SUCCESS)

    def _sample(self, form: Any) -> dict[str, Any]:
        """Return the typed sample variables; those at the start if the form is unbound, has none or invalid ones."""
        typed = form.cleaned_data.get("sample_context") if form.is_bound else None
        if typed is None and "sample_context" in form.fields:
            with suppress(ValidationError):  # a broadcast may have been stored with any variables
                typed = form.fields["sample_context"].to_python(form.fields["sample_context"].initial)
        return typed or {}

    def _known_fields(self, request: HttpRequest) -> dict[str, str]:
        """Return the type of a new template from the URL or the posted form."""
        return {"type": storable(request.POST.get("type", request.GET.get("type", "")))}


_HELP_TEXTS = {
    "type": _("The name used in code, such as order_shipped."),
    "language": _('A language tag such as "de" or "pt-br". Leave empty for the default language.'),
    "url_template": _("The page that a click opens: a path on this site, or an https URL."),
    "icon_template": _("A path on this site, or an https URL."),
    "options": _('Other options of send() as JSON, for example {"data": {"order": 7}}.'),
}
