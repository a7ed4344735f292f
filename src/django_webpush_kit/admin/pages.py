"""URLs of admin pages, and links to rows and lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


def page_url(model: Any, page: str, *arguments: Any, query: Mapping[str, Any] | None = None) -> str:
    """Return the URL of an admin page of a model, or "" if the model is not registered with the default site."""
    options = model._meta
    try:
        url = reverse(f"admin:{options.app_label}_{options.model_name}_{page}", args=arguments)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode(query)}" if query else url


def list_url(model: Any, **query: Any) -> str:
    """Return the URL of a list with a query, or ""."""
    return page_url(model, "changelist", query=query)


def link(url: str, text: Any) -> str | SafeString:
    """Return a link, or the text alone if the URL is ""."""
    return format_html('<a href="{}">{}</a>', url, text) if url else str(text)


def row_link(row: Any, text: Any = None) -> str | SafeString:
    """Return a link to the page of a row."""
    return link(page_url(type(row), "change", row.pk), row if text is None else text)


def link_list(links: Iterable[Any]) -> SafeString:
    """Return links as a list."""
    return format_html('<ul class="webpush-kit-links">{}</ul>', format_html_join("", "<li>{}</li>", zip(links)))
