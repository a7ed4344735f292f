"""Ask for confirmation, with the number of rows, before an admin action changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.http import HttpRequest
from django.template.response import TemplateResponse

from django_webpush_kit.option_checks import storable

TEMPLATE = "django_webpush_kit/admin/confirm.html"

CONFIRMED_FIELD = "confirmed"
"""The form field with the number of rows shown on the page."""

ONCE_FIELD = "asked"
"""The form field with a random value that belongs to one page."""

OWN_FIELDS = (CONFIRMED_FIELD, "csrfmiddlewaretoken")
"""Fields written by the page. All other fields are posted again, so that the action gets the original request."""


@dataclass(frozen=True, slots=True)
class Question:
    """The content of a confirmation page. `consequences` are sentences; `count` is the number of rows to change."""

    title: Any
    consequences: Sequence[Any]
    button: Any
    count: int


def ask(
    request: HttpRequest, question: Question, context: dict[str, Any], template: str = TEMPLATE
) -> TemplateResponse | None:
    """Return the confirmation page, or None if no rows would change or their number was confirmed.

    Asks again if there are now more rows than were confirmed. `context` is the context of every admin page.
    `template` may extend the default one to show details.
    """
    confirmed = _number(request.POST.get(CONFIRMED_FIELD, ""))
    if not question.count or (confirmed is not None and question.count <= confirmed):
        return None
    posted = [(name, value) for name, values in request.POST.lists() if name not in OWN_FIELDS for value in values]
    once = [] if ONCE_FIELD in request.POST else [(ONCE_FIELD, uuid4().hex)]
    fields = [*posted, *once, (CONFIRMED_FIELD, str(question.count))]
    page = {"title": question.title, "question": question, "fields": fields, "has_grown": confirmed is not None}
    return TemplateResponse(request, template, {**context, **page})


def idempotency_key(request: HttpRequest) -> str | None:
    """Return the key of a call that a confirmation page leads to: a second click on its button does nothing more."""
    asked = storable(request.POST.get(ONCE_FIELD, ""))[:64]
    return f"admin-{asked}" if asked else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
