"""Which statements read a large part of a table: plans with the rows that were really read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction

MIN_ROWS = 50_000
"""Fewer rows of one table, as in a window of a list, are not reported."""

STEPS_A_ROW = 3
"""SQLite does not count rows, but steps of its virtual machine: at least so many for each row."""

STEPS_AT_ONCE = 1000

EXPLAIN = {
    "postgresql": "EXPLAIN (ANALYZE, COSTS OFF) ",
    "mysql": "ANALYZE ",
    "sqlite": "EXPLAIN QUERY PLAN ",
}


def report(queries: list[dict[str, str]], *, is_with_plans: bool) -> None:
    """Print which of the captured queries read a large part of a table, and on request every plan.

    Each of them is executed again, and rolled back.
    """
    for query in queries:
        sql = query["sql"]
        if not sql.startswith(("SELECT", "UPDATE", "DELETE")):
            continue
        for found in _LARGE_READS[connection.vendor](sql):
            print(f"    {found}: {sql[:300]}")
        if is_with_plans:
            print(f"    {sql[:600]}\n        " + "\n        ".join(_plan(sql)))


def _plan(sql: str) -> list[str]:
    rows = _rolled_back(EXPLAIN[connection.vendor] + sql)
    return [" ".join(str(value) for value in row if value is not None) for row in rows]


def _rolled_back(sql: str) -> list[Any]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
        found = cursor.fetchall()
        transaction.set_rollback(True)
        return list(found)


def _of_postgresql(sql: str) -> Iterator[str]:
    ((plans,),) = _rolled_back("EXPLAIN (ANALYZE, FORMAT JSON) " + sql)
    pending = [plans[0]["Plan"]]
    while pending:
        node = pending.pop()
        pending += node.get("Plans", [])
        rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        if "Relation Name" in node and rows >= MIN_ROWS:
            yield f"reads {rows:,.0f} rows of {node['Relation Name']} ({node['Node Type']})"


def _of_mariadb(sql: str) -> Iterator[str]:
    ((text,),) = _rolled_back("ANALYZE FORMAT=JSON " + sql)
    pending: list[Any] = [json.loads(text)]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        elif isinstance(node, dict):
            pending += node.values()
            rows = (node.get("r_rows") or 0) * (node.get("r_loops") or 0)
            if "table_name" in node and rows >= MIN_ROWS:
                yield f"reads {rows:,.0f} rows of {node['table_name']} ({node['access_type']} {node.get('key', '')})"


def _of_sqlite(sql: str) -> Iterator[str]:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += STEPS_AT_ONCE
        return 0

    connection.connection.set_progress_handler(step, STEPS_AT_ONCE)
    try:
        _rolled_back(sql)
    finally:
        connection.connection.set_progress_handler(None, 0)
    scans = [line for line in _plan(sql) if "SCAN" in line]
    if steps >= MIN_ROWS * STEPS_A_ROW * (1 if scans else 10):
        yield f"takes {steps:,} steps ({'; '.join(scans or _plan(sql))})"


_LARGE_READS = {"postgresql": _of_postgresql, "mysql": _of_mariadb, "sqlite": _of_sqlite}
