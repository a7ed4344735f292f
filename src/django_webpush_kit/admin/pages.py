"""URLs of admin pages, links to rows and lists, and what pages of ours have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst

DEFAULT_SITE = "admin"
"""The name of `django.contrib.admin.site`."""


def page_url(
    model: Any, page: str, *arguments: Any, query: Mapping[str, Any] | None = None, site: str = DEFAULT_SITE
) -> str:
    """Return the URL of a page of a model in the admin site of this name, or "" if it is not registered there."""
    options = model._meta
    try:
        url = reverse(f"admin:{options.app_label}_{options.model_name}_{page}", args=arguments, current_app=site)
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode(query)}" if query else url


def list_url(model: Any, *, site: str = DEFAULT_SITE, **query: Any) -> str:
    """Return the URL of a list with a query, or ""."""
    return page_url(model, "changelist", query=query, site=site)


def link(url: str, text: Any) -> str | SafeString:
    """Return a link, or the text alone if the URL is ""."""
    return format_html('<a href="{}">{}</a>', url, text) if url else str(text)


@dataclass(frozen=True, slots=True)
class Viewer:
    """A member of staff in an admin site. Links lead only to pages that they may open; all other URLs are ""."""

    request: HttpRequest | None
    site: Any

    def page_url(self, model: Any, page: str, *arguments: Any, query: Mapping[str, Any] | None = None) -> str:
        """Return the URL of a page of a model, or ""."""
        return page_url(model, page, *arguments, query=query, site=self.site.name) if self._may(model, page) else ""

    def list_url(self, model: Any, **query: Any) -> str:
        """Return the URL of a list with a query, or ""."""
        return self.page_url(model, "changelist", query=query)

    def row_url(self, row: Any) -> str:
        """Return the URL of the page of a row, or ""; also for None."""
        is_allowed = row is not None and self._may(type(row), "change", row)
        return self.page_url(type(row), "change", quote(row.pk)) if is_allowed else ""

    def row_link(self, row: Any, text: Any = None) -> str | SafeString:
        """Return a link to the page of a row, or the text alone."""
        return link(self.row_url(row), row if text is None else text)

    def _may(self, model: Any, page: str, row: Any = None) -> bool:
        if self.request is None or not self.site.is_registered(model):
            return False
        own = self.site.get_model_admin(model)
        return bool(
            own.has_add_permission(self.request) if page == "add" else own.has_view_permission(self.request, row)
        )


NOBODY = Viewer(None, None)
"""Sees texts without links."""


def link_list(links: Iterable[Any]) -> SafeString:
    """Return links as a list."""
    return format_html('<ul class="webpush-kit-links">{}</ul>', format_html_join("", "<li>{}</li>", zip(links)))


class TitlePlace:
    """Where the title of a page is shown: in the theme's own place or, if it has none, above the content."""

    def __init__(self) -> None:
        self._is_shown = False

    def is_here(self) -> bool:
        """Return whether this is the first place that asks."""
        is_here, self._is_shown = not self._is_shown, True
        return is_here


def own_page_context(model_admin: Any, request: HttpRequest, row: Any = None) -> dict[str, Any]:
    """Return the context of a page of ours: that of every admin page, and the way to it.

    `trail` has the URL and the text of the pages above: the app, the list and, if the page is about one, the row. The
    URL of a list is "" for staff who may not view it.
    """
    options, site = model_admin.opts, model_admin.admin_site

    def url(page: str, *arguments: Any) -> str:
        return reverse(f"admin:{page}", args=arguments, current_app=site.name)

    name = f"{options.app_label}_{options.model_name}"
    may_view = model_admin.has_view_permission(request)
    trail = [
        (url("app_list", options.app_label), options.app_config.verbose_name),
        (url(f"{name}_changelist") if may_view else "", capfirst(options.verbose_name_plural)),
    ]
    context = {**site.each_context(request), "opts": options, "trail": trail, "title_place": TitlePlace()}
    if row is not None:
        trail.append((url(f"{name}_change", row.pk), row))
        context["original"] = row
    return context
