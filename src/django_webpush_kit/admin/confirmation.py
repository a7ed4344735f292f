"""Ask for confirmation, with the number of rows, before an admin action changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

TEMPLATE = "django_webpush_kit/admin/confirm.html"

CONFIRMED_FIELD = "confirmed"
"""The field of the form that holds the number of rows that the page named."""

OWN_FIELDS = (CONFIRMED_FIELD, "csrfmiddlewaretoken")
"""Fields that the page writes itself; all others are posted again, so that the action finds what it was called with."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a confirmation page says. `consequences` are sentences; `count` is how many rows the action will change."""

    title: Any
    consequences: Sequence[Any]
    button: Any
    count: int


def ask(request: HttpRequest, question: Question, context: dict[str, Any]) -> TemplateResponse | None:
    """Return the confirmation page; None when there is nothing to ask, or this number of rows has been confirmed.

    If there are more rows than the page said when it was confirmed, it asks again. `context` is what every admin page
    gets.
    """
    confirmed = _number(request.POST.get(CONFIRMED_FIELD, ""))
    if not question.count or (confirmed is not None and question.count <= confirmed):
        return None
    posted = [(name, value) for name, values in request.POST.lists() if name not in OWN_FIELDS for value in values]
    fields = [*posted, (CONFIRMED_FIELD, str(question.count))]
    page = {"title": question.title, "question": question, "fields": fields, "has_grown": confirmed is not None}
    return TemplateResponse(request, TEMPLATE, {**context, **page})


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
