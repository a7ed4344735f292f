"""What a subscription row derives from its endpoint, however it is written."""

from hashlib import sha256

import pytest
from django.db import IntegrityError, connection

from django_webpush_kit.models import get_subscription_model

pytestmark = pytest.mark.django_db

ENDPOINT = "https://web.push.apple.com/abc"


def new(endpoint=ENDPOINT):
    return get_subscription_model()(endpoint=endpoint, p256dh_key="x", auth_key="y")


def check(row):
    row.refresh_from_db()
    assert row.endpoint_hash == sha256(row.endpoint.encode()).hexdigest()
    assert row.push_service in ("push.apple.com", "fcm.googleapis.com")


def test_saving_derives_hash_and_push_service():
    row = new()
    row.save()
    check(row)
    row.endpoint = "https://fcm.googleapis.com/fcm/send/1"
    row.save(update_fields=["endpoint"])
    check(row)
    assert row.push_service == "fcm.googleapis.com"


def test_bulk_create_derives_them_too():
    rows = get_subscription_model().objects.bulk_create([new(), new(ENDPOINT + "d")])
    for row in rows:
        check(row)


def test_two_rows_cannot_have_one_endpoint():
    new().save()
    with pytest.raises(IntegrityError):
        new().save()


def test_migrations_see_plain_columns():
    field = get_subscription_model()._meta.get_field("endpoint_hash")
    assert field.deconstruct()[1] == "django.db.models.CharField"
    assert field.db_type(connection).endswith("(64)")


def test_a_historical_model_keeps_the_stored_values():
    field = get_subscription_model()._meta.get_field("endpoint_hash").clone()
    field.set_attributes_from_name("endpoint_hash")
    row = new()
    row.endpoint_hash = "stored"
    assert field.pre_save(row, True) == "stored"
