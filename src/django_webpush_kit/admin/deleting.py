"""Say what a deletion takes along without reading it: it may be many rows, or rows that Python cannot read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.contrib.admin.options import BaseModelAdmin
from django.db import router
from django.db.models import QuerySet
from django.db.models.deletion import Collector, ProtectedError, RestrictedError
from django.utils.html import format_html
from django.utils.text import capfirst

from django_webpush_kit.admin.pages import Viewer
from django_webpush_kit.readable_rows import ReadableRows


class ReadableCollector(Collector):
    """Collects the rows of a deletion, whatever moments they hold."""

    def related_objects(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the rows that refer to others."""
        rows: Any = super().related_objects(*arguments, **keywords)
        rows._iterable_class = ReadableRows  # noqa: SLF001  # Django has no public way to replace the class
        return rows

    def taken_along(self) -> Iterator[tuple[Any, Any]]:
        """Yield models with their rows: sets of rows, and querysets that were not read."""
        yield from self.data.items()
        for rows in self.fast_deletes:
            yield rows.model, rows


def deleted_objects(objects: Any, viewer: Viewer) -> tuple[list[Any], dict[Any, int], set[Any], Any]:
    """Return what Django's `get_deleted_objects` returns. Rows that are taken along are counted, but not listed."""
    rows = list(objects)
    if not rows:
        return [], {}, set(), []
    collector = ReadableCollector(using=router.db_for_write(type(rows[0])), origin=rows[0])
    protecting: set[Any] = set()
    try:
        collector.collect(rows)
    except ProtectedError as error:
        protecting = error.protected_objects
    except RestrictedError as error:
        protecting = error.restricted_objects
    counts: Counter[Any] = Counter()
    refused = set()
    for model, found in collector.taken_along():
        if count := found.count() if isinstance(found, QuerySet) else len(found):
            counts[model._meta.verbose_name_plural] += count
            if not _may_delete(viewer, model, found):
                refused.add(model._meta.verbose_name)
    return [_shown(row, viewer) for row in rows], dict(counts), refused, [_shown(row, viewer) for row in protecting]


def _may_delete(viewer: Viewer, model: Any, rows: Any) -> bool:
    """Ask the admin of a model once, or about each row if it has a rule of its own."""
    if not viewer.site.is_registered(model):
        return True
    own = viewer.site.get_model_admin(model)
    if type(own).has_delete_permission is BaseModelAdmin.has_delete_permission:
        return bool(own.has_delete_permission(viewer.request))
    return all(own.has_delete_permission(viewer.request, row) for row in rows)


def _shown(row: Any, viewer: Viewer) -> str:
    """Return the kind of a row and its text, with a link to its page if the viewer may open it."""
    return format_html("{}: {}", capfirst(row._meta.verbose_name), viewer.row_link(row))
