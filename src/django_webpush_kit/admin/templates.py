"""Notification templates in the admin: edit them with a preview. Templates that cannot be sent are not saved."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.db import models
from django.forms.fields import InvalidJSONInput
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin.bases import ModelAdmin
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.option_checks import storable
from django_webpush_kit.templating.preview import preview, template_variables


class BoundedJSONField(forms.JSONField):
    """A JSON field that refuses JSON which Python cannot parse: nested too deeply, or numbers with too many digits."""

    def to_python(self, value: Any) -> Any:
        """Return the parsed value. Raises ValidationError for all invalid JSON."""
        try:
            return super().to_python(value)
        except (ValueError, RecursionError):
            raise ValidationError(self.error_messages["invalid"], code="invalid", params={"value": value}) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return the value to show again: the text as typed if it cannot be parsed."""
        try:
            return super().bound_data(data, initial)
        except (ValueError, RecursionError):
            return InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        """Return the text for the widget. Characters that are not allowed in a page are escaped."""
        text = super().prepare_value(value)
        return text if storable(text) == text else json.dumps(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether the value changed. Text that cannot be parsed counts as changed."""
        try:
            return super().has_changed(initial, data)
        except ValidationError:
            return True


class NotificationTemplateAdmin(ModelAdmin):
    """Edit the text of each notification type in each language."""

    list_display = ("type", "language", "title_template", "updated_at")
    list_display_links = ("type", "title_template")
    list_filter = ("language",)
    search_fields = ("type", "title_template", "body_template")
    ordering = ("type", "language")
    readonly_fields = ("card", "variables", "languages", "created_at", "updated_at")
    save_as = True
    formfield_overrides = {
        models.JSONField: {"form_class": BoundedJSONField, "widget": AdminTextareaWidget(attrs={"rows": 3})},
        models.TextField: {"widget": AdminTextareaWidget(attrs={"rows": 4})},
    }
    fieldsets = (
        (None, {"fields": ("type", "language", "languages")}),
        (
            _("Texts"),
            {
                "fields": ("title_template", "body_template", "url_template", "icon_template", "card", "variables"),
                "description": _(
                    "Plain text with variables such as {{ number }} or {{ recipient.first_name }}, filters such as "
                    "{{ starts|date:'DATE_FORMAT' }}, and the tag {% if %}. Numbers and dates follow the language in "
                    "the title and the body, never in the URL and the icon."
                ),
            },
        ),
        (
            _("Behaviour"),
            {"fields": ("require_interaction", "silent", "vibrate_pattern", "actions", "options")},
        ),
        (None, {"fields": ("created_at", "updated_at")}),
    )

    class Media:
        css = {"all": ("django_webpush_kit/admin.css",)}

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Add help texts to the fields whose format is not obvious."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in _HELP_TEXTS:
            field.help_text = _HELP_TEXTS[db_field.name]
        return field

    @admin.display(description=_("preview"))
    def card(self, template: Any) -> str:
        """Return the saved notification with the names of variables in place of their values."""
        if template.pk is None:
            return str(_("Save the template to see a preview."))
        try:
            text = preview(template)
        except TemplateRenderError as error:
            return storable(str(error))
        titles = [(action["title"],) for action in text.actions]
        buttons = format_html_join("", '<span class="webpush-kit-button">{}</span>', titles)
        return format_html(
            '<div class="webpush-kit-card"><strong>{}</strong><p>{}</p>{}<small>{}</small></div>',
            text.title,
            text.body,
            buttons,
            text.url,
        )

    @admin.display(description=_("variables"))
    def variables(self, template: Any) -> str:
        """Return the variables that callers must pass, and the optional ones."""
        try:
            variables = template_variables(template)
        except TemplateRenderError:
            return "-"
        return ", ".join(
            variable.name if variable.is_required else str(_("%(name)s (optional)") % {"name": variable.name})
            for variable in variables
        )

    @admin.display(description=_("other languages"))
    def languages(self, template: Any) -> str | SafeString:
        """Return links to the same type in other languages, with the variables that differ."""
        others = type(template).objects.filter(type=template.type).exclude(pk=template.pk).order_by("language")
        return format_html_join(
            ", ", '<a href="{}">{}</a>{}', ((_url(row), row, _difference(template, row)) for row in others)
        )


_HELP_TEXTS = {
    "type": _("The name used in code, such as order_shipped."),
    "language": _('A language tag such as "de" or "pt-br". Leave empty for the default language.'),
    "url_template": _("The page that a click opens: a path on this site, or an https URL."),
    "icon_template": _("A path on this site, or an https URL."),
    "vibrate_pattern": _("Milliseconds on, off, on, and so on, for example [100, 50, 100]."),
    "actions": _('Buttons, for example [{"action": "track", "title": "Track", "url": "/orders/{{ number }}/"}].'),
    "options": _('Further options of send(), for example {"ttl": 86400, "urgency": "high"}.'),
}


def _url(template: Any) -> str:
    options = template._meta
    try:
        return reverse(f"admin:{options.app_label}_{options.model_name}_change", args=[template.pk])
    except NoReverseMatch:  # registered with an admin site that has another name
        return ""


def _difference(template: Any, other: Any) -> str:
    """Return the variables that only one of two templates uses."""
    try:
        here, there = ({variable.name for variable in template_variables(row)} for row in (template, other))
    except TemplateRenderError:
        return ""
    only = sorted(there - here)
    return str(_(" (also uses %(variables)s)") % {"variables": ", ".join(only)}) if only else ""
