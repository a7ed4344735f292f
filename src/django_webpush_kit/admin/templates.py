"""Notification templates in the admin: staff edit them, with a preview, and cannot save one that would fail."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.db import models
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext_lazy as _

from django_webpush_kit.admin.bases import ModelAdmin
from django_webpush_kit.exceptions import TemplateRenderError
from django_webpush_kit.templating.preview import preview


class NotificationTemplateAdmin(ModelAdmin):
    """Edit the text of each notification type in each language."""

    list_display = ("type", "language", "title_template", "updated_at")
    list_display_links = ("type", "title_template")
    list_filter = ("language",)
    search_fields = ("type", "title_template", "body_template")
    ordering = ("type", "language")
    readonly_fields = ("card", "created_at", "updated_at")
    save_as = True
    formfield_overrides = {
        models.JSONField: {"widget": AdminTextareaWidget(attrs={"rows": 3})},
        models.TextField: {"widget": AdminTextareaWidget(attrs={"rows": 4})},
    }
    fieldsets = (
        (None, {"fields": ("type", "language")}),
        (
            _("Texts"),
            {
                "fields": ("title_template", "body_template", "url_template", "icon_template", "card"),
                "description": _(
                    "Plain text with variables such as {{ number }} or {{ recipient.first_name }}; filters such as "
                    "{{ starts|date:'DATE_FORMAT' }} and the tag {% if %} may be used."
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

    @admin.display(description=_("preview"))
    def card(self, template: Any) -> str:
        """The notification as saved, with the names of variables instead of their values."""
        if template.pk is None:
            return str(_("Save the template to see a preview."))
        try:
            text = preview(template)
        except TemplateRenderError as error:
            return str(error)
        titles = [(action["title"],) for action in text.actions]
        buttons = format_html_join("", '<span class="webpush-kit-button">{}</span>', titles)
        return format_html(
            '<div class="webpush-kit-card"><strong>{}</strong><p>{}</p>{}<small>{}</small></div>',
            text.title,
            text.body,
            buttons,
            text.url,
        )
