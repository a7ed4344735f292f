"""The parts of the page of one notification: its story, its payload, related rows and possible actions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from django_webpush_kit.admin.browser_view import payload_of
from django_webpush_kit.admin.contained import exact, shifted, with_edge_moments
from django_webpush_kit.admin.pages import Viewer, link, link_list
from django_webpush_kit.admin.story import deadline_of, tell
from django_webpush_kit.models import PushBroadcast, get_analytics_model
from django_webpush_kit.states import NotificationStatus

MAX_SIBLINGS = 5
"""Rows of the same batch, and of the same user, that are shown. A link leads to all of them."""

MAX_EVENTS = 50

NEARBY = timedelta(minutes=1)
"""Rows of a batch are searched among those created this long before and after."""


def story_of(row: Any) -> SafeString:
    """Return the story as a timeline."""
    events = get_analytics_model().objects.filter(notification=row.pk).order_by("timestamp")[:MAX_EVENTS]
    broadcast = PushBroadcast.objects.filter(batch=row.batch).first()
    origin = _("the broadcast %(broadcast)s") % {"broadcast": broadcast} if broadcast else ""
    story = tell(row, map(with_edge_moments, events), now=timezone.now(), origin=origin)
    return render_to_string("django_webpush_kit/admin/story.html", {"story": story})


def payload_text(row: Any) -> SafeString:
    """Return the payload as text, with its size."""
    payload = payload_of(row)
    if payload.error:
        return format_html('<p class="errornote">{}</p>', payload.error)
    size = _("%(size)s bytes. Receivers of pre_send may change it.") % {"size": payload.size}
    return format_html(
        '<pre class="webpush-kit-payload" tabindex="0">{}</pre><p class="help">{}</p>', payload.text, size
    )


def deadline_text(row: Any) -> str:
    """Return when the row expires, and whether its TTL is the reason."""
    deadline = deadline_of(row)
    if deadline is None:
        return "-"
    return exact(deadline) if row.expires_at else _("%(moment)s (from its TTL)") % {"moment": exact(deadline)}


def related_to(row: Any, viewer: Viewer) -> SafeString:
    """Return links to related rows, with a few other notifications of the batch."""
    return link_list([*_links(row, viewer), *_batch(row, viewer), *_of_user(row, viewer)])


def actions_for(row: Any, viewer: Viewer) -> SafeString:
    """Return links to the pages that ask before they act."""
    model = type(row)
    links = []
    if row.title:  # else its text was deleted after TEXT_RETENTION_DAYS
        links = [
            (viewer.page_url(model, "again", row.pk), _("Send again")),
            (viewer.page_url(model, "to_me", row.pk), _("Send to me")),
        ]
    if row.status == NotificationStatus.PENDING:
        links.insert(0, (viewer.page_url(model, "cancel", row.pk), _("Cancel")))
    return link_list(link(url, text) for url, text in links if url)


def _links(row: Any, viewer: Viewer) -> Iterator[Any]:
    broadcast = PushBroadcast.objects.filter(batch=row.batch).first()
    pages = [
        (viewer.row_url(row.subscription), _("The subscription")),
        (viewer.row_url(broadcast), _("The broadcast")),
        (viewer.list_url(get_analytics_model(), notification=row.pk), _("Events of this notification")),
        (viewer.row_url(row.user), _("The user")),
    ]
    yield from (link(url, text) for url, text in pages if url)


def _batch(row: Any, viewer: Viewer) -> Iterator[Any]:
    near = (shifted(row.created_at, -NEARBY), shifted(row.created_at, NEARBY))
    rows = type(row).objects.filter(batch=row.batch, created_at__range=near)
    yield _siblings(_("Of the same batch"), viewer.list_url(type(row), batch=row.batch), rows, row, viewer)


def _of_user(row: Any, viewer: Viewer) -> Iterator[Any]:
    if row.user_id is not None:
        rows = type(row).objects.filter(user=row.user_id)
        yield _siblings(_("To the same user"), viewer.list_url(type(row), user=row.user_id), rows, row, viewer)


def _siblings(title: str, url: str, rows: Any, row: Any, viewer: Viewer) -> SafeString:
    newest = rows.exclude(pk=row.pk).select_related("user").order_by("-created_at", "-pk")[:MAX_SIBLINGS]
    shown = [viewer.row_link(sibling, f"{sibling.title} ({_label(sibling, row)})") for sibling in newest]
    return format_html("{}{}", link(url, title), link_list(shown) if shown else "")


def _label(sibling: Any, row: Any) -> str:
    status = sibling.get_status_display()
    return f"{sibling.user}, {status}" if sibling.user and sibling.user_id != row.user_id else str(status)
