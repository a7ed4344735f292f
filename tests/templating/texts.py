"""Templates that are in no database, and what they say."""

from __future__ import annotations

from typing import Any

from django_webpush_kit.models import get_template_model
from django_webpush_kit.templating.renderer import TemplateRenderer


def new_template(**fields: Any) -> Any:
    """A template row that is not saved."""
    return get_template_model()(**{"type": "news", "title_template": "News", **fields})


def renderer(context: Any = None, **fields: Any) -> TemplateRenderer:
    """A renderer of one template in the default language."""
    return TemplateRenderer("news", context, templates=[new_template(**fields)])


def body(source: str, **context: Any) -> str:
    """The body that a template text says."""
    return renderer(context, body_template=source).render("").body


def url(source: str, **context: Any) -> str:
    """The URL that a template text says."""
    return renderer(context, url_template=source).render("").url
