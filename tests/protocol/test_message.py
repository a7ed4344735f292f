import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import PayloadTooLarge
from django_webpush_kit.protocol.message import MAX_PAYLOAD, Message, encode_payload

ENVELOPE = {"id": "7", "token": "abc"}
FAMILY = "👨‍👩‍👧‍👦"


def encode(message, **options):
    return encode_payload(message, envelope=ENVELOPE, **options)


def decoded(message, **options):
    return json.loads(encode(message, **options))


def full_message():
    return Message(
        title="Übung 🎉",
        body="Läuft",
        url="/bookings/7",
        icon="/icon.png",
        badge="https://cdn.example/badge.png",
        image="/image.png",
        tag="7",
        actions=[
            {"action": "open", "title": "Open", "url": "/bookings/7?open", "icon": "/open.png"},
            {"action": "later", "title": "Later", "icon": ""},
        ],
        silent=True,
        require_interaction=True,
        renotify=True,
        vibrate=[100, 50],
        app_badge=3,
        language="de",
        dir="ltr",
        timestamp=datetime(2026, 11, 22, 12, tzinfo=timezone.utc),
        data={"booking": 7},
    )


NOTIFICATION = {
    "title": "Übung 🎉",
    "body": "Läuft",
    "navigate": "/bookings/7",
    "icon": "/icon.png",
    "badge": "https://cdn.example/badge.png",
    "image": "/image.png",
    "tag": "7",
    "lang": "de",
    "dir": "ltr",
    "timestamp": 1795348800000,
    "silent": True,
    "requireInteraction": True,
    "renotify": True,
    "vibrate": [100, 50],
    "actions": [
        {"action": "open", "title": "Open", "navigate": "/bookings/7?open", "icon": "/open.png"},
        {"action": "later", "title": "Later"},
    ],
    "data": {"booking": 7},
}


def test_a_payload_has_envelope_notification_and_app_badge():
    assert decoded(full_message()) == {**ENVELOPE, "notification": NOTIFICATION, "app_badge": 3}


def test_a_payload_is_compact_utf8_without_empty_members():
    assert encode(Message(title="Ü")) == '{"id":"7","token":"abc","notification":{"title":"Ü"}}'.encode()
    assert decoded(Message(title="", app_badge=0)) == {**ENVELOPE, "notification": {"title": ""}, "app_badge": 0}


def test_a_declarative_payload_has_absolute_urls_everywhere():
    assert decoded(full_message(), declarative_base_url="https://shop.example") == {
        "web_push": 8030,
        **ENVELOPE,
        "notification": {
            **NOTIFICATION,
            "app_badge": 3,
            "mutable": True,
            "data": {"booking": 7, "webpush_kit": ENVELOPE},
            "navigate": "https://shop.example/bookings/7",
            "icon": "https://shop.example/icon.png",
            "image": "https://shop.example/image.png",
            "actions": [
                {
                    "action": "open",
                    "title": "Open",
                    "navigate": "https://shop.example/bookings/7?open",
                    "icon": "https://shop.example/open.png",
                },
                {"action": "later", "title": "Later", "navigate": "https://shop.example/bookings/7"},
            ],
        },
        "app_badge": 3,
        "mutable": True,
    }


def test_a_declarative_payload_always_has_a_navigation_target():
    payload = decoded(Message(title="x"), declarative_base_url="https://shop.example/")
    assert payload["notification"]["navigate"] == "https://shop.example/"


def test_encoding_does_not_change_the_message():
    message = full_message()
    encode(message, declarative_base_url="https://shop.example", budget=750, oversize="truncate")
    assert message == full_message()


def test_the_budget_is_in_bytes_and_the_error_names_both_sizes():
    message = Message(title="x", body="ü" * 100)
    size = len(encode(message))
    assert encode(message, budget=size)
    with pytest.raises(PayloadTooLarge, match=f"{size} bytes of JSON, 1 above the budget of {size - 1}"):
        encode(message, budget=size - 1)


def test_the_budget_is_limited_to_the_maximum_plaintext():
    message = Message(title="x", body="a" * (MAX_PAYLOAD - len(encode(Message(title="x", body="a"))) + 1))
    assert len(encode(message, budget=9999)) == MAX_PAYLOAD
    message.body += "a"
    with pytest.raises(PayloadTooLarge):
        encode(message, budget=9999)


def test_the_body_is_cut_before_the_title():
    cut = decoded(Message(title="A title", body="word " * 100), budget=120, oversize="truncate")["notification"]
    assert cut["title"] == "A title"
    assert cut["body"].startswith("word word")
    assert cut["body"].endswith("word…") or cut["body"].endswith("wor…")
    cut = decoded(Message(title="title " * 50, body="word"), budget=120, oversize="truncate")["notification"]
    assert cut["title"].endswith("…")
    assert not cut["body"]


def test_a_message_that_cannot_be_shortened_is_an_error():
    with pytest.raises(PayloadTooLarge):
        encode(Message(title="x", data={"long": "x" * 500}), budget=100, oversize="truncate")


@pytest.mark.parametrize(
    "cluster",
    ["e\u0301", FAMILY, "👍🏽", "🇩🇪", "❤️", "🏴\U000e0067\U000e0062\U000e007f", "ü", "漢", "\\", '"', "\n"],
)
def test_texts_are_cut_between_grapheme_clusters(cluster):
    whole = len(encode(Message(title="x", body=cluster * 40)))
    for budget in range(whole - len(cluster.encode()) * 30, whole):
        body = decoded(Message(title="x", body=cluster * 40), budget=budget, oversize="truncate")["notification"][
            "body"
        ]
        kept = body.removesuffix("…")
        assert kept == cluster * (len(kept) // len(cluster))


@given(st.text(max_size=300), st.text(max_size=300), st.integers(min_value=80, max_value=400))
def test_a_truncated_payload_always_fits(title, body, budget):
    encoded = encode(Message(title=title, body=body), budget=budget, oversize="truncate")
    assert len(encoded) <= budget
    notification = json.loads(encoded)["notification"]
    if not notification.get("body", "").endswith("…"):
        assert notification.get("body", "") in ("", body)
    else:
        assert body.startswith(notification["body"][:-1])


def test_a_lone_surrogate_does_not_fail_delivery():
    assert decoded(Message(title="x\ud800"))["notification"]["title"] == "x?"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused(value):
    with pytest.raises(ValueError, match="JSON"):
        encode(Message(title="x", data={"n": value}))
