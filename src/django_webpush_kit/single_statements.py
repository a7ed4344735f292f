"""Ask for several figures, or for the rows of several queries, in one statement.

Each query keeps its own condition, order and limit, so that an index serves each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import IntegerField, QuerySet, Subquery
from django.db.models.sql import Query


class CountOf(Subquery):
    """The number of rows of a queryset, which may be limited."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any]) -> None:
        super().__init__(rows.values("pk"))


class FirstOf(Subquery):
    """A column of the first row of a queryset, or None."""

    def __init__(self, rows: QuerySet[Any], column: str) -> None:
        super().__init__(rows.values(column)[:1])


class LatestOf(Subquery):
    """The greatest value of a column in a queryset, which may be limited; or None."""

    template = "(SELECT MAX(%(column)s) FROM (%(subquery)s) found)"

    def __init__(self, rows: QuerySet[Any], column: str) -> None:
        name = rows.model._meta.get_field(column).column
        super().__init__(rows.values(column), column=connections[rows.db].ops.quote_name(name))


def figures(alias: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of expressions, such as `CountOf`, by name. They may be about different tables."""
    query: Any = Query(None)
    for name, value in values.items():
        query.add_annotation(value, name)
    return dict(zip(values, next(iter(query.get_compiler(using=alias).results_iter())), strict=True))


def all_rows(alias: str, queries: Sequence[QuerySet[Any]]) -> list[tuple[Any, ...]]:
    """Return the rows of several `values_list` querysets of texts and numbers.

    Django's own `union` refuses querysets with a limit on SQLite.
    """
    parts = [query.query.get_compiler(alias).as_sql() for query in queries]
    texts = [f"SELECT * FROM ({part}) part_{number}" for number, (part, _) in enumerate(parts)]  # noqa: S608 - Django's
    sql = " UNION ALL ".join(texts)
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, [parameter for _, parameters in parts for parameter in parameters])
        return list(cursor.fetchall())
