"""Stored values that nobody expects: every page of the admin opens, and shows what it can."""

from datetime import datetime, timedelta, timezone

import pytest
from django.contrib import admin
from django.db import DatabaseError, models, transaction
from django.urls import NoReverseMatch, reverse

from django_webpush_kit.admin import notification_page
from django_webpush_kit.models import WorkerHeartbeat
from tests.admin.test_admin import rows as rows
from tests.admin.test_admin import url_of
from tests.factories import make_notification

pytestmark = pytest.mark.django_db

FIRST = datetime(1, 1, 1, tzinfo=timezone.utc)
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone.utc)
DEEP = {"a": {}}
for _ in range(25):  # MariaDB takes 32 levels
    DEEP = {"a": DEEP}

ODD = {
    models.DateTimeField: [FIRST, FIRST + timedelta(hours=1), datetime(1000, 2, 3, tzinfo=timezone.utc), LAST],
    models.DateField: [FIRST.date(), LAST.date()],
    (models.CharField, models.TextField): [
        "",
        " ",
        "{{ x|date }} {% if %}",
        "<script>\u202e\ud7ff</script>",
        "%s %(a)s {0} {}",
        "é" * 64,
        "?&#/../\r\t",
    ],
    models.JSONField: [
        0,
        "text",
        [],
        [None, [1]],
        DEEP,
        {"actions": 5, "ttl": "x", "url": [], "dir": {}, "urgency": None},
        {"actions": [{"action": "a", "title": 3}, 7], "ttl": 10**30, "types": 5, "quiet_hours": "x", "$type": "date"},
    ],
    models.IntegerField: [0, -1, 2**31 - 1],
    models.FloatField: [-1.0, 1e308, 5e-324],
}
"""Values by the kind of column."""


def columns_of(model, kind):
    """The columns of this kind whose values the application writes."""
    for field in model._meta.concrete_fields:
        is_date = kind is models.DateField and isinstance(field, models.DateTimeField)
        if isinstance(field, kind) and not is_date and not field.primary_key and not field.is_relation:
            yield field


def store(row, field, value):
    """Write the value behind the application's back. Returns whether the database accepts it."""
    if isinstance(value, str) and field.max_length:
        value = value[: field.max_length]
    try:
        with transaction.atomic():
            type(row)._base_manager.filter(pk=row.pk).update(**{field.attname: value})
    except (DatabaseError, OverflowError, ValueError, TypeError):
        return False
    return True


def pages_of(row):
    """The URLs of all admin pages of a model and of this row."""
    for pattern in admin.site._registry[type(row)].get_urls():
        for arguments in ([], [row.pk]):
            try:
                yield reverse(f"admin:{pattern.name}", args=arguments)
            except NoReverseMatch:
                continue


def broken_pages(client, rows):
    """The pages that raise, with the exception."""
    broken = []
    for url in [reverse("admin:index"), *dict.fromkeys(url for row in rows for url in pages_of(row))]:
        try:
            status = client.get(url).status_code
        except Exception as error:
            broken.append((url, f"{type(error).__name__}: {error}"[:200]))
        else:
            if status >= 500 and "health" not in url:
                broken.append((url, status))
    return broken


@pytest.fixture
def every_row(rows):
    now = datetime.now(tz=timezone.utc)
    worker = WorkerHeartbeat.objects.create(name="worker", command="deliver_push", started_at=now, seen_at=now)
    return [*rows.values(), worker]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("number", "zone"), [*((number, "Pacific/Kiritimati") for number in range(7)), (0, "America/Adak")]
)
def test_every_page_opens(admin_client, every_row, settings, number, zone):
    settings.TIME_ZONE = zone
    for kind, values in ODD.items():
        value = values[number % len(values)]
        stored = [store(row, field, value) for row in every_row for field in columns_of(type(row), kind)]
        assert value == -1 or not stored or any(stored)
    assert broken_pages(admin_client, every_row) == []


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Adak"])
def test_a_moment_that_the_time_zone_cannot_express_is_shown_as_it_is(admin_client, subscription, settings, zone):
    settings.TIME_ZONE = zone
    row = make_notification(subscription, title="Still here", created_at=FIRST, scheduled_for=LAST)
    page = admin_client.get(url_of(type(row), "change", row.pk)).content.decode()
    assert "Still here" in page
    assert "errornote" not in page
    assert "0001-01-01T" in page


def test_a_part_that_cannot_be_shown_names_the_error_and_the_others_are_shown(
    admin_client, subscription, monkeypatch, caplog
):
    row = make_notification(subscription, title="Still here")
    monkeypatch.setattr(notification_page, "tell", lambda *_args, **_kwargs: 1 / 0)
    page = admin_client.get(url_of(type(row), "change", row.pk)).content.decode()
    assert "ZeroDivisionError: division by zero" in page
    assert page.count("errornote") == 1
    assert "Still here" in page
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.filterwarnings("ignore:.*naive datetime")  # of Django, for the first moment
@pytest.mark.parametrize("name", ["notification", "subscription", "broadcast", "template", "key"])
@pytest.mark.parametrize("moment", ["0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_moments_in_the_address_that_utc_cannot_express_are_wrong_filters(admin_client, rows, settings, name, moment):
    settings.TIME_ZONE = "Europe/Berlin"
    url = url_of(type(rows[name]), "changelist")
    for lookup in ("created_at__gte", "created_at__lt", "created_at"):
        page = admin_client.get(url, {lookup: moment}, follow=True)
        assert page.status_code == 200
        assert page.redirect_chain in ([], [(f"{url}?e=1", 302)])


@pytest.mark.parametrize("key", ["x", "\x00", "9" * 5000, str(2**64), "1.5", "😀", ""])
@pytest.mark.parametrize("name", ["notification", "subscription", "broadcast", "template", "key"])
def test_an_action_on_what_is_no_row_changes_nothing(admin_client, rows, name, key):
    row = rows[name]
    data = {"action": "delete_selected", "_selected_action": [key], "post": "yes"}
    answer = admin_client.post(url_of(type(row), "changelist"), data, follow=True)
    assert answer.status_code == 200
    assert type(row)._base_manager.filter(pk=row.pk).exists()
    answer = admin_client.post(url_of(type(row), "changelist"), {**data, "_selected_action": [key, row.pk]})
    assert answer.status_code == 302
    assert not type(row)._base_manager.filter(pk=row.pk).exists()


@pytest.mark.parametrize("page", ["change", "delete"])
def test_an_empty_field_in_the_address_stands_for_none(admin_client, rows, page):
    for row in rows.values():
        assert admin_client.get(url_of(type(row), page, row.pk), {"_to_field": ""}).status_code == 200
