"""What a payload calls its notification."""

import json

import pytest
from django.db.models import IntegerField

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.exceptions import PayloadTooLarge
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.tokens import NotificationIdentity
from django_webpush_kit.transports import locmem

pytestmark = pytest.mark.django_db(transaction=True)


def payloads():
    deliver_due()
    found = [json.loads(request.payload) for request in locmem.sent]
    locmem.sent.clear()
    return found


def test_a_primary_key_that_is_given_again_is_another_notification(subscription):
    """As another database on the same origin gives it, or one that was made anew or restored."""
    model = get_notification_model()
    first = services.send(subscription, "First").notifications.get()
    [before] = payloads()
    model.objects.all().delete()
    second = services.send(subscription, "Second").notifications.get()
    model.objects.filter(pk=second.pk).update(**{model._meta.pk.name: first.pk})
    [after] = payloads()
    assert before["id"].partition(".")[0] == after["id"].partition(".")[0] == str(first.pk)
    assert before["id"] != after["id"]
    assert before["notification"]["tag"] != after["notification"]["tag"]


def test_the_default_tag_is_the_identity(user, make_subscription):
    make_subscription(user)
    make_subscription(user)
    rows = services.send(user, "Hello").notifications
    found = payloads()
    assert {payload["id"] for payload in found} == {str(NotificationIdentity.of(row)) for row in rows}
    assert [payload["notification"]["tag"] for payload in found] == [payload["id"] for payload in found]


def test_every_message_that_send_accepts_fits_whatever_its_key(subscription, settings):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, "PAYLOAD_BUDGET": 400}
    body = "x"
    while True:
        try:
            row = services.send(subscription, "Hello", body).notifications.get()
        except PayloadTooLarge:
            break
        body += "x"
    model = get_notification_model()
    if isinstance(model._meta.pk, IntegerField):
        model.objects.filter(pk=row.pk).update(**{model._meta.pk.name: 10**18})
    deliver_due()
    assert max(len(request.payload) for request in locmem.sent) <= 400
    assert set(model.objects.values_list("status", flat=True)) == {"sent"}
