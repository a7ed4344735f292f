"""The settings page is true to `conf.py`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from django_webpush_kit.conf import MODEL_SETTINGS, known_settings

PAGE = (Path(__file__).resolve().parent.parent / "docs/reference/settings.md").read_text()
ROWS = {
    name: (types, default, meaning)
    for name, types, default, meaning in re.findall(
        r"^\| `([A-Z_]+)` \| (.*?) \| (.*?) \| (.*) \|$", PAGE, re.MULTILINE
    )
}
LONG_DEFAULTS = {
    statement.targets[0].id: ast.literal_eval(statement.value)
    for statement in ast.parse(re.search(r"## Long defaults\n\n```python\n(.*?)```", PAGE, re.DOTALL)[1]).body
}
TYPE_NAMES = {tuple: "", Callable: "callable"}


def plain(value):
    return list(value) if isinstance(value, tuple) else value


def test_every_setting_has_its_row_and_no_other():
    assert sorted(ROWS) == sorted(known_settings())


@pytest.mark.parametrize("name", known_settings())
def test_a_row_matches_the_code(name):
    setting = known_settings()[name]
    types, default, meaning = ROWS[name]
    written = LONG_DEFAULTS[name] if default == "[below](#long-defaults)" else ast.literal_eval(default.strip("`"))

    assert written == plain(setting.default)
    named = types.partition(":")[0].partition(",")[0].replace("`", "").split(" or ")
    assert sorted(named) == sorted(filter(None, (TYPE_NAMES.get(kind, kind.__name__) for kind in setting.types)))
    assert re.findall(r'`"(\w+)"`', types.partition(":")[2]) == list(setting.choices)
    assert re.findall(r"(\d+) or more", types) == ([] if setting.min_value is None else [f"{setting.min_value:.15g}"])
    assert re.findall(r"(\d+) or less", types) == ([] if setting.max_value is None else [f"{setting.max_value:.15g}"])
    assert ("environment variable" in meaning) == bool(setting.environment)


def test_the_model_settings_are_listed():
    assert dict(re.findall(r'^\| `(WEBPUSH_KIT_\w+)` \| `"(.*)"` \|$', PAGE, re.MULTILINE)) == MODEL_SETTINGS
