"""Dates in variables that people type as JSON."""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from django_webpush_kit.templating.json_values import as_json, with_dates


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2030-05-01", date(2030, 5, 1)),
        ("2030-05-01T18:30", datetime(2030, 5, 1, 18, 30)),  # noqa: DTZ001  # naive, as typed
        ("2030-05-01 18:30:05", datetime(2030, 5, 1, 18, 30, 5)),  # noqa: DTZ001  # naive, as typed
        ("2030-05-01T18:30:05.123456Z", datetime(2030, 5, 1, 18, 30, 5, 123456, tzinfo=timezone.utc)),
        ("2030-05-01T18:30+02:00", datetime(2030, 5, 1, 18, 30, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_iso_8601_texts_become_dates(text, value):
    assert with_dates({"a": [{"b": text}]}) == {"a": [{"b": value}]}
    assert with_dates(as_json({"a": value})) == {"a": value}


@pytest.mark.parametrize(
    "value", ["2030-02-31", "2030-5-1", "18:30", "\u0662030-05-01", "on 2030-05-01", "", 7, None, True]
)
def test_other_values_are_unchanged(value):
    assert with_dates(value) == value


def test_values_that_are_not_json_become_text_and_depth_has_a_limit():
    assert as_json({"a": (Decimal("1.50"), True, None)}) == {"a": ["1.50", True, None]}
    deep = "2030-05-01"
    for _ in range(100):
        deep = [deep]
    assert with_dates(deep) == deep
