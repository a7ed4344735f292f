"""Confirmation pages of one notification: send it again, send it to your own browsers, or cancel it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_webpush_kit import services
from django_webpush_kit.admin.confirmation import Question, ask, idempotency_key
from django_webpush_kit.admin.pages import own_page_context, page_url
from django_webpush_kit.error_reports import message_of
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.batches import SendResult


def page_patterns(model_admin: Any) -> list[URLPattern]:
    """Return the URLs of the pages, for `ModelAdmin.get_urls`."""
    operations = {"again": _send_again, "to_me": _send_to_me, "cancel": _cancel}
    name = f"{model_admin.opts.app_label}_{model_admin.opts.model_name}"

    def pattern(page: str, operation: Callable[..., HttpResponse]) -> URLPattern:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            return operation(model_admin, request, _row(model_admin, request, object_id))

        page_view: Callable[..., HttpResponse] = model_admin.admin_site.admin_view(view)
        return path(f"<path:object_id>/{page}/", page_view, name=f"{name}_{page}")

    return [pattern(page, operation) for page, operation in operations.items()]


def _row(model_admin: Any, request: HttpRequest, object_id: str) -> Any:
    if not model_admin.has_act_permission(request):
        raise PermissionDenied
    row = model_admin.get_object(request, object_id)
    if row is None:
        raise Http404
    if not model_admin.has_view_permission(request, row):
        raise PermissionDenied
    return row


def _send_again(model_admin: Any, request: HttpRequest, row: Any) -> HttpResponse:
    if not row.title:
        return _refuse_blank(model_admin, request, row)
    if row.user_id != row.subscription.user_id:
        return _done(model_admin, request, row, _("Not sent: the browser belongs to another user now."), messages.ERROR)
    if not row.subscription.is_active:
        return _done(model_admin, request, row, _("Not sent: the subscription is not active."), messages.ERROR)
    consequences = [
        _("The same message goes to the same browser once more, as a new notification."),
        _("The user's preferences and quiet hours apply as they are now."),
    ]
    return _ask(model_admin, request, row, _("Send again"), consequences) or _send(model_admin, request, row)


def _send_to_me(model_admin: Any, request: HttpRequest, row: Any) -> HttpResponse:
    if not row.title:
        return _refuse_blank(model_admin, request, row)
    consequences = [_("The message goes to your own browsers, whatever your preferences and quiet hours.")]
    question = _ask(model_admin, request, row, _("Send to me"), consequences)
    return question or _send(model_admin, request, row, to=request.user, critical=True, topic=None)


def _refuse_blank(model_admin: Any, request: HttpRequest, row: Any) -> HttpResponse:
    text = _("Not sent: the text of this notification was deleted after TEXT_RETENTION_DAYS.")
    return _done(model_admin, request, row, text, messages.ERROR)


def _cancel(model_admin: Any, request: HttpRequest, row: Any) -> HttpResponse:
    question = _ask(model_admin, request, row, _("Cancel"), [_("The notification will never be sent.")])
    if question is not None:
        return question
    count = services.cancel(row)
    text = _("The notification was cancelled.") if count else _("It is not pending any more; nothing was changed.")
    return _done(model_admin, request, row, text, messages.SUCCESS if count else messages.WARNING)


def _ask(model_admin: Any, request: HttpRequest, row: Any, title: str, consequences: list[str]) -> HttpResponse | None:
    context = {**own_page_context(model_admin, request, row), "back_url": _url(model_admin, row)}
    return ask(request, Question(title, [_("“%(title)s”") % {"title": row.title}, *consequences], title, 1), context)


def _send(model_admin: Any, request: HttpRequest, row: Any, *, to: Any = None, **changes: Any) -> HttpResponse:
    try:
        changes["idempotency_key"] = idempotency_key(request)
        result = _sent(row, row.subscription if to is None else to, changes)
    except Exception as error:  # noqa: BLE001 - a function of the project, or a stored value; shown instead
        return _done(model_admin, request, row, _("Not sent: %(error)s") % {"error": message_of(error)}, messages.ERROR)
    count = result.queued + result.deferred
    if not count:
        reason = next(iter(result.notifications.values_list("failure_reason", flat=True)), "")
        text = _("Nothing was queued: %(reason)s") % {"reason": reason or _("there is no active subscription.")}
        return _done(model_admin, request, row, text, messages.WARNING)
    text = ngettext("%(count)d notification was queued: ", "%(count)d notifications were queued: ", count)
    first = model_admin.viewer(request).row_link(result.notifications.order_by("pk")[0])
    shown = format_html("{}{}", text % {"count": count}, first)
    return _done(model_admin, request, row, shown, messages.SUCCESS)


def _sent(row: Any, to: Any, changes: dict[str, Any]) -> SendResult:
    options = {
        **RowOptions.from_json(row.options).given,
        "data": row.data,
        "topic": row.topic or None,
        "language": row.language or None,
        "max_retries": row.max_retries,
        **changes,
    }
    return services.send(to, row.title, row.body, type=row.type or None, **options)


def _done(model_admin: Any, request: HttpRequest, row: Any, text: Any, level: int) -> HttpResponse:
    model_admin.message_user(request, text, level)
    return HttpResponseRedirect(_url(model_admin, row))


def _url(model_admin: Any, row: Any) -> str:
    return page_url(type(row), "change", row.pk, site=model_admin.admin_site.name)
