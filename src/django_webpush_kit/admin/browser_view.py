"""Show what the browser receives: the payload without its secrets, and a preview."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from django_webpush_kit.admin.story import row_options
from django_webpush_kit.error_reports import error_text
from django_webpush_kit.exceptions import InvalidOption
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.payloads import PayloadEncoder, StoredMessage
from django_webpush_kit.tokens import NotificationIdentity

HIDDEN = "(hidden)"
"""Stands for the token with which the browser reports events."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The payload as indented JSON text and its size in bytes, or an `error` that says why there is none."""

    text: str = ""
    size: int = 0
    error: str = ""


def payload_of(row: Any) -> Payload:
    """Return the payload of a row as it would be sent now. Receivers of `pre_send` are not called."""
    try:
        encoded = PayloadEncoder().encode_stored(_stored(row), str(NotificationIdentity.of(row)))
        token = json.loads(encoded)["token"]
        text = encoded.decode().replace(token, HIDDEN)
        return Payload(json.dumps(json.loads(text), indent=2, ensure_ascii=False), len(encoded))
    except Exception as error:  # noqa: BLE001  # stored data may be anything; the page shows it
        return Payload(error=error_text(error))


def _stored(row: Any) -> StoredMessage:
    if not isinstance(row.data, dict):
        raise InvalidOption(f"data must be a JSON object, not {type(row.data).__name__}")
    return StoredMessage(row.title, row.body, row.language, row.data, RowOptions.from_json(row.options))


def card_of(row: Any) -> SafeString:
    """Return the notification as a browser roughly shows it: title, body, buttons and the URL. No pictures."""
    options = row_options(row)
    titles = [(action["title"],) for action in options.actions or ()]
    return format_html(
        '<div class="webpush-kit-card" lang="{}" dir="{}"><strong>{}</strong><p>{}</p>{}<small>{}</small></div>',
        row.language,
        options.dir or "auto",
        row.title,
        row.body,
        format_html_join("", '<span class="webpush-kit-button">{}</span>', titles),
        options.url or "",
    )
