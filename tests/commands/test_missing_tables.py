"""Commands before `migrate`: they say what to run, not with a traceback."""

import logging
from contextlib import contextmanager
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection

from django_webpush_kit.conf import MODEL_SETTINGS, swapped_model
from django_webpush_kit.database import is_missing_table
from django_webpush_kit.delivery.worker import Worker
from django_webpush_kit.health import get_health

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def no_tables():
    """All tables of the package are away, as before the first `migrate`."""
    models = {*apps.get_app_config("webpush_kit").get_models(), *map(swapped_model, MODEL_SETTINGS)}
    tables = [model._meta.db_table for model in models]
    with renamed(tables):
        yield


@contextmanager
def renamed(tables):
    for table in tables:
        rename(table, f"{table}_away")
    try:
        yield
    finally:
        for table in tables:
            rename(f"{table}_away", table)


def rename(old, new):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


@pytest.mark.usefixtures("no_tables", "user")
@pytest.mark.parametrize(
    "arguments",
    [
        ("deliver_push",),
        ("push_broadcast", "news"),
        ("push_erase", "ada", "--no-input"),
        ("push_export", "ada"),
        ("push_pause", "--all"),
        ("push_prune",),
        ("push_resume",),
        ("push_retry", "--type", "news"),
        ("push_send", "ada", "Hello"),
        ("push_stats",),
        ("push_stats", "--rebuild"),
        ("push_templates", "import"),
        ("push_templates", "export"),
        ("push_templates", "lint"),
    ],
    ids=" ".join,
)
def test_a_command_says_that_migrations_are_missing(arguments):
    with pytest.raises(CommandError) as caught:
        call_command(*arguments, stdout=StringIO())
    assert str(caught.value) == "Migrations are missing. Run: python manage.py migrate"


@pytest.mark.usefixtures("no_tables")
def test_a_loop_waits_for_migrate_and_says_so(caplog):
    out = StringIO()
    with caplog.at_level(logging.WARNING, logger=Worker.__module__):
        call_command("deliver_push", "--loop", "--seconds", "2.5", stdout=out)
    own = [record for record in caplog.records if record.name == Worker.__module__]
    [record] = own
    start = "The tables of django_webpush_kit are missing or out of date: run manage.py migrate. Retrying: "
    assert record.getMessage().startswith(start)
    assert out.getvalue().endswith("Nothing was delivered: the outbox could not be read.\n")


@pytest.mark.usefixtures("no_tables")
def test_health_says_so():
    [problem] = get_health(details=True)["problems"]
    assert problem == "The tables of django_webpush_kit are missing or out of date. Run `manage.py migrate`."


@pytest.mark.parametrize("statement", ["SELECT colour FROM {}", "INSERT INTO {} (colour) VALUES (1)"])
def test_a_missing_column_is_recognised(statement):
    table = swapped_model("WEBPUSH_KIT_TEMPLATE_MODEL")._meta.db_table
    with pytest.raises(Exception, match="colour") as caught, connection.cursor() as cursor:
        cursor.execute(statement.format(table))
    assert is_missing_table(caught.value)


@pytest.mark.parametrize("statement", ["SELECT FROM WHERE", "INSERT INTO django_content_type (id) VALUES (7, 8)"])
def test_other_errors_are_not_taken_for_it(statement):
    with pytest.raises(Exception) as caught, connection.cursor() as cursor:  # noqa: PT011  # each database has its own
        cursor.execute(statement)
    assert not is_missing_table(caught.value)
