"""What a payload calls its notification."""

import json

import pytest
from django.db.models import IntegerField

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.exceptions import PayloadTooLarge
from django_webpush_kit.models import get_notification_model
from django_webpush_kit.options import RowOptions
from django_webpush_kit.outbox.payloads import PayloadEncoder, StoredMessage, build_message
from django_webpush_kit.tokens import NotificationIdentity
from django_webpush_kit.transports import locmem

pytestmark = pytest.mark.django_db(transaction=True)

IDENTITIES = [
    "7.fBwaU5sOSlWeC2o_ChssPQ",
    "1234567.fBwaU5sOSlWeC2o_ChssPQ",
    'a "key".x',
    "back\\slash.x",
    "größe.x",
    "\n.x",
]


def payloads():
    deliver_due()
    found = [json.loads(request.payload) for request in locmem.sent]
    locmem.sent.clear()
    return found


def test_a_reused_primary_key_gives_another_identity(subscription):
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


def test_every_accepted_message_fits_with_any_primary_key(subscription, push_settings):
    push_settings(PAYLOAD_BUDGET=400)
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


class TestRowsThatShareTheirMessage:
    """Their message is encoded once; each payload is the one that its row would get alone."""

    @pytest.mark.parametrize("declarative", [True, False])
    @pytest.mark.parametrize(
        "options",
        [
            RowOptions(),
            RowOptions(tag="orders", app_badge=3),
            RowOptions(url="/orders/1", actions=[{"action": "open", "title": "Open", "url": "/orders/2"}]),
        ],
    )
    def test_the_payload_equals_that_of_a_single_row(self, push_settings, declarative, options):
        push_settings(BASE_URL="https://shop.example", DECLARATIVE=declarative)
        stored = StoredMessage("Grüße \U0001f4e6", 'a "body" \ud800', "de", {"order": [1, "\\"]}, options)
        encoder = PayloadEncoder()
        for identity in IDENTITIES:
            payload = encoder.encode_stored(stored, identity)
            assert payload == encoder.encode(build_message(stored, identity), identity)
            assert json.loads(payload)["id"] == identity

    def test_the_budget_applies_to_each_row(self, push_settings):
        stored = StoredMessage("Hello", "x" * 150, "", {}, RowOptions())
        short, long = "7.x", f"{'7' * 30}.x"
        needed = len(PayloadEncoder().encode(build_message(stored, short), short))
        push_settings(PAYLOAD_BUDGET=needed)
        encoder = PayloadEncoder()
        assert len(encoder.encode_stored(stored, short)) == needed
        with pytest.raises(PayloadTooLarge, match=f"above the budget of {needed}"):
            encoder.encode_stored(stored, long)

    @pytest.mark.parametrize("room", range(-80, 80, 10))
    def test_each_text_is_shortened_as_its_row_needs(self, push_settings, room):
        stored = StoredMessage("Hello", "word " * 60, "", {}, RowOptions())
        needed = len(PayloadEncoder().encode(build_message(stored, IDENTITIES[0]), IDENTITIES[0]))
        push_settings(PAYLOAD_BUDGET=needed + room, OVERSIZE="truncate")
        encoder = PayloadEncoder()
        for identity in ("7.x", IDENTITIES[0], f"{'7' * 40}.x"):
            payload = encoder.encode_stored(stored, identity)
            assert payload == encoder.encode(build_message(stored, identity), identity)
            assert len(payload) <= needed + room
