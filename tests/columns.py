"""Columns that a migration has added and that this process does not know."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.models import CharField


@contextmanager
def added_column(model: Any) -> Iterator[None]:
    """The table of the model has a column that must be filled, as for a new field with a `default`."""
    field: Any = CharField(max_length=20, default="")
    field.set_attributes_from_name("colour")
    field.model = model
    with connection.schema_editor() as editor:
        editor.add_field(model, field)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.remove_field(model, field)
