from __future__ import annotations

import json

import pytest

from django_webpush_kit import services
from django_webpush_kit.testing import FakeBrowser, FakePushService, SentMessage, outbox
from django_webpush_kit.transports import LocmemTransport, PushRequest, PushResponse
from django_webpush_kit.transports.locmem import answers


def request(title: str, **members) -> PushRequest:
    payload = {"id": "7", "notification": {"title": title, **members}}
    return PushRequest(
        id=7,
        endpoint="https://updates.push.services.mozilla.com/wpush/v2/x",
        p256dh="",
        auth="",
        payload=json.dumps(payload).encode(),
        ttl=60,
        urgency="high",
        topic="score",
        vapid_authorization="",
    )


def test_the_outbox_is_a_live_sequence_of_messages():
    assert outbox == []
    assert not outbox
    assert list(LocmemTransport().send([request("One"), request("Two")]))
    assert len(outbox) == 2
    assert [message.title for message in outbox] == ["One", "Two"]
    assert outbox[-1].title == "Two"
    assert [message.title for message in outbox[:1]] == ["One"]
    assert outbox == [SentMessage.of(request("One")), SentMessage.of(request("Two"))]
    assert outbox == outbox  # its own __eq__ is under test
    assert outbox != (1, 2)
    assert repr(outbox).startswith("outbox[SentMessage(id='7', title='One', ")
    with pytest.raises(IndexError):
        _ = outbox[2]
    with pytest.raises(TypeError, match="unhashable"):
        hash(outbox)


def test_a_message_has_what_the_browser_would_get():
    members = {
        "body": "B",
        "navigate": "/x",
        "icon": "/i.png",
        "tag": "t",
        "data": {"a": 1},
        "actions": [{"action": "map", "title": "Map"}],
    }
    list(LocmemTransport().send([request("T", **members)]))
    (sent,) = outbox
    assert (sent.id, sent.title, sent.body, sent.url, sent.icon, sent.tag) == ("7", "T", "B", "/x", "/i.png", "t")
    assert (sent.data, sent.actions) == ({"a": 1}, [{"action": "map", "title": "Map"}])
    assert (sent.ttl, sent.urgency, sent.topic) == (60, "high", "score")
    assert sent.endpoint == sent.request.endpoint
    assert sent.payload["notification"]["title"] == "T"


def test_clearing_forgets_messages_and_scripted_answers():
    answers.append(PushResponse(id=None, status=410))
    outbox.clear()
    (response,) = LocmemTransport().send([request("T")])
    assert response.status == 201
    outbox.clear()
    assert outbox == []


@pytest.mark.django_db
def test_a_message_knows_its_row_and_type(push_outbox, django_capture_on_commit_callbacks):
    with FakePushService() as service:
        browser = FakeBrowser(service)
        browser.subscribe()
        fields = {**browser.subscription_fields, "endpoint": "https://updates.push.services.mozilla.com/wpush/v2/x"}
    subscription = services.subscribe(**fields)
    with django_capture_on_commit_callbacks(execute=True):
        result = services.send(subscription, "Booked", type="booking")
    (sent,) = push_outbox
    assert sent.notification == result.notifications.get()
    assert sent.type == "booking"
