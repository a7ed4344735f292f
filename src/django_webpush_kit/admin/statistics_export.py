"""The statistics as CSV and JSON, streamed: one row for each day, dimension and value."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from typing import Any

from django.http import StreamingHttpResponse

from django_webpush_kit.analytics.figures import Figures
from django_webpush_kit.rollups.counts import COUNTERS, percentile

COLUMNS = ("day", "dimension", "value", *COUNTERS, "p50_seconds", "p95_seconds")

FORMULA = re.compile(r"""((?:^|[;,|\t\r\n"]) *)(?=[=+@\-\t\r\n\uff1d\uff0b\uff0d\uff20])""")
"""Where a spreadsheet may see the start of a formula: at the start of a cell, and after a character that ends one.

Which one that is depends on the settings of a country. U+FF1D and the others are full-width forms of "=+-@".
"""


def export_csv(figures: Figures) -> StreamingHttpResponse:
    """Return the rows as CSV, with a byte order mark, so that spreadsheets read it as UTF-8."""
    return _download(_csv_lines(figures), "text/csv; charset=utf-8", f"{_name(figures)}.csv")


def export_json(figures: Figures) -> StreamingHttpResponse:
    """Return the rows as JSON: `{"first", "last", "as_of", "rows": [{column: value}]}`."""
    return _download(_json_pieces(figures), "application/json", f"{_name(figures)}.json")


def harmless(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: with an apostrophe in front of what looks like one."""
    return FORMULA.sub(r"\1'", text)


class _Echo:
    """A file that returns what is written to it."""

    def write(self, text: str) -> str:
        return text


def _csv_lines(figures: Figures) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield "\ufeff"
    yield writer.writerow(COLUMNS)
    for day, dimension, value, *numbers in _rows(figures):
        yield writer.writerow([day, dimension, harmless(value), *numbers])


def _json_pieces(figures: Figures) -> Iterator[str]:
    head = {"first": figures.period[0], "last": figures.period[-1], "as_of": figures.as_of}
    yield json.dumps(head, default=str).removesuffix("}") + ', "rows": ['
    separator = "\n"
    for row in _rows(figures):
        yield separator + json.dumps(dict(zip(COLUMNS, row, strict=True)), default=str, ensure_ascii=False)
        separator = ",\n"
    yield "\n]}\n"


def _rows(figures: Figures) -> Iterator[tuple[Any, ...]]:
    for day, (dimension, value), counts in figures.rows():
        times = (percentile(counts.times, 0.5), percentile(counts.times, 0.95))
        yield day, dimension, value, *counts.numbers, *times


def _name(figures: Figures) -> str:
    return f"push-statistics-{figures.period[0]}-to-{figures.period[-1]}"


def _download(pieces: Iterator[str], content_type: str, name: str) -> StreamingHttpResponse:
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(pieces, content_type=content_type, headers=disposition)
