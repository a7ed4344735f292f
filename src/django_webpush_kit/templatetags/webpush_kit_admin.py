"""`{% load webpush_kit_admin %}` and, on a page of the admin, `{% webpush_kit_panel %}`."""

from __future__ import annotations

import logging

from django import template
from django.template.context import RequestContext
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from django_webpush_kit.admin.dashboard import panel_context
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.error_reports import log_error

register = template.Library()

_logger = logging.getLogger(__name__)


@register.simple_tag(takes_context=True)
def webpush_kit_panel(context: RequestContext) -> str | SafeString:
    """Show the state of delivery to staff who may view workers, unless `ADMIN_PANEL` is False.

    Whatever goes wrong is logged: the page of the admin is shown all the same.
    """
    try:
        request = context.get("request")
        values = panel_context(request) if kit_settings.ADMIN_PANEL and request is not None else None
        return "" if values is None else render_to_string("django_webpush_kit/admin/includes/health_panel.html", values)
    except Exception as error:  # noqa: BLE001 - contained
        log_error(_logger, "The panel of the admin could not be shown", error=error)
        return ""
