"""`{% load webpush_kit_admin %}` and, on a page of the admin, `{% webpush_kit_panel %}`."""

from __future__ import annotations

import logging
import re

from django import template
from django.apps import apps
from django.template.context import RequestContext
from django.template.loader import render_to_string
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from django_webpush_kit.conf import kit_settings
from django_webpush_kit.error_reports import log_error

HAS_ADMIN = apps.is_installed("django.contrib.admin")
"""Django imports the tags of every app, also in projects without the admin, where our admin cannot be imported."""

if HAS_ADMIN:
    from django_webpush_kit.admin.dashboard import panel_context

CODE = re.compile(r"`([^`\n]+)`")

OPTION = re.compile(r"(?<![^\s])(-[\w-]+)")

register = template.Library()

_logger = logging.getLogger(__name__)


@register.filter
def code_in_backticks(text: object) -> SafeString:
    """Return a text as HTML, with `code` between backticks as an element whose options are not broken over lines."""
    return mark_safe(CODE.sub(_code, escape(str(text))))  # noqa: S308 - escaped first


def _code(found: re.Match[str]) -> str:
    return "<code>" + OPTION.sub(r"<span>\1</span>", found[1]) + "</code>"


@register.simple_tag(takes_context=True)
def webpush_kit_panel(context: RequestContext) -> str | SafeString:
    """Show the state of delivery to staff who may view workers, unless `ADMIN_PANEL` is False.

    Whatever goes wrong is logged: the page of the admin is shown all the same.
    """
    try:
        request = context.get("request")
        if request is None or not (HAS_ADMIN and kit_settings.ADMIN_PANEL):
            return ""
        values = panel_context(request)
        return "" if values is None else render_to_string("django_webpush_kit/admin/includes/health_panel.html", values)
    except Exception as error:  # noqa: BLE001 - contained
        log_error(_logger, "The panel of the admin could not be shown", error=error)
        return ""
