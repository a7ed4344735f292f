"""A database user without a permission, and a database that is read-only: everybody is told, and nothing is lost."""

import json
import logging
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_webpush_kit import services
from django_webpush_kit.conf import swapped_model
from django_webpush_kit.database import GRANT
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.delivery.worker import Worker
from django_webpush_kit.health import get_health
from django_webpush_kit.models import PushBroadcast, get_notification_model, get_subscription_model
from tests.factories import make_template

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="it has no users"),
]


@contextmanager
def user_without(privilege, model):
    """This process works as a database user that lacks one privilege on the table of a model."""
    name = connection.settings_dict["NAME"]
    table = f"{name}.{model._meta.db_table}" if connection.vendor == "mysql" else model._meta.db_table
    statements = {
        "postgresql": [
            f"CREATE ROLE {name}_user",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}_user",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}_user",
        ],
        "mysql": [
            f"CREATE USER {name}_user IDENTIFIED BY 'secret'",
            *(
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.{other} TO {name}_user"
                for other in connection.introspection.table_names()
            ),
        ],
    }[connection.vendor]
    endings = {
        "postgresql": [f"DROP OWNED BY {name}_user", f"DROP ROLE {name}_user"],
        "mysql": [f"DROP USER {name}_user"],
    }[connection.vendor]
    changed = {
        "postgresql": {"OPTIONS": {"options": f"-c role={name}_user"}},
        "mysql": {"USER": f"{name}_user", "PASSWORD": "secret"},
    }[connection.vendor]
    run(*statements, f"REVOKE {privilege} ON {table} FROM {name}_user")
    usual = connection.settings_dict.copy()
    connection.close()
    connection.settings_dict.update(changed)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(usual)
        run(*endings)


def run(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def doctor():
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("push_doctor", "--json", stdout=out)
    return json.loads(out.getvalue())["findings"]


@pytest.mark.parametrize("model", [get_notification_model, get_subscription_model, lambda: PushBroadcast])
def test_health_names_the_table_that_may_not_be_read(model):
    with user_without("SELECT", model()):
        health = get_health(details=True)
    [problem] = health["findings"]
    assert (problem["level"], problem["fix"]) == ("unhealthy", GRANT)
    assert problem["text"].startswith("The database user lacks a permission: ")
    assert model()._meta.db_table in problem["text"]


@pytest.mark.parametrize("privilege", ["INSERT", "UPDATE", "DELETE"])
def test_the_doctor_names_the_table_that_may_not_be_written(privilege):
    model = swapped_model("WEBPUSH_KIT_ANALYTICS_MODEL")
    with user_without(privilege, model):
        [finding] = [finding for finding in doctor() if finding["area"] == "database"]
    start = f"The database refuses to write to {model._meta.db_table}: "
    assert finding["text"].startswith(start)
    assert (finding["level"], finding["fix"]) == ("error", GRANT)


def test_a_command_says_what_is_missing():
    with user_without("SELECT", get_notification_model()), pytest.raises(CommandError) as caught:
        call_command("push_stats", stdout=StringIO())
    assert str(caught.value).startswith("The database user lacks a permission: ")
    assert str(caught.value).endswith(GRANT)


def test_a_worker_says_so_once_and_goes_on(subscription, caplog):
    services.send(subscription, "Hello")
    with (
        user_without("UPDATE", get_notification_model()),
        caplog.at_level(logging.WARNING, logger=Worker.__module__),
    ):
        Worker(seconds=1).run_for_ever(0.1)
    [record] = [record for record in caplog.records if record.name == Worker.__module__]
    assert record.getMessage().startswith("The database refuses statements of this worker; retrying: ")
    assert deliver_due().sent == 1


def test_a_broadcast_waits_for_a_permission(subscription):
    make_template("news", title_template="News")
    row = services.broadcast("news")
    with user_without("INSERT", get_notification_model()):
        deliver_due()
    row.refresh_from_db()
    assert (row.status, row.failed) == (PushBroadcast.Status.RUNNING, 0)
    PushBroadcast.objects.update(next_page_at=None)
    assert deliver_due().sent == 1


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="MariaDB can be made read-only as a whole only")
def test_health_and_the_doctor_say_that_the_database_is_read_only(subscription):
    run("SET default_transaction_read_only = on")
    health = get_health(details=True)
    [problem] = [finding for finding in health["findings"] if finding["level"] == "unhealthy"]
    assert problem["text"] == "The database is read-only: nothing can be subscribed, written or sent."
    [finding] = [finding for finding in doctor() if finding["area"] == "database"]
    assert "read-only transaction" in finding["text"]
    connection.close()
    assert get_health()["status"] == "healthy"
