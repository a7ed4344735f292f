"""Declarative payloads: links that count the click where no service worker sees it."""

import json

import pytest
from django.urls import reverse

from django_webpush_kit import services
from django_webpush_kit.delivery.engine import deliver_due
from django_webpush_kit.transports import locmem

pytestmark = pytest.mark.django_db(transaction=True)

ACTIONS = [{"action": "track", "title": "Track", "url": "/orders/7/track"}, {"action": "later", "title": "Later"}]


@pytest.fixture(autouse=True)
def _declarative(push_settings):
    push_settings(BASE_URL="https://shop.example.com")


def payload_of(subscription, **options):
    services.send(subscription, "Shipped", **options)
    deliver_due()
    return json.loads(locmem.sent[-1].payload)


def test_links_lead_through_the_counting_redirect(subscription, client):
    payload = payload_of(subscription, url="/orders/7", actions=ACTIONS)
    counted = "https://shop.example.com" + reverse("webpush_kit:open", args=[payload["token"]])
    assert payload["web_push"] == 8030
    assert payload["notification"]["navigate"] == counted
    assert [action["navigate"] for action in payload["notification"]["actions"]] == [f"{counted}?action=track", counted]
    links = payload["notification"]["data"]["webpush_kit"]
    assert (links["navigate"], links["actions"]) == ("/orders/7", {"track": "/orders/7/track"})
    response = client.get(counted.removeprefix("https://shop.example.com"))
    assert (response.status_code, response["Location"]) == (302, "/orders/7")
    response = client.get(counted.removeprefix("https://shop.example.com") + "?action=track")
    assert (response.status_code, response["Location"]) == (302, "/orders/7/track")


def test_a_message_without_a_link_opens_the_site(subscription):
    assert payload_of(subscription)["notification"]["navigate"] == "https://shop.example.com/"


def test_declarative_payloads_can_be_switched_off(subscription, push_settings):
    push_settings(DECLARATIVE=False)
    payload = payload_of(subscription, url="/orders/7")
    assert "web_push" not in payload
    assert payload["notification"]["navigate"] == "/orders/7"


@pytest.mark.urls("tests.urls_without_api")
def test_without_the_api_urls_links_are_unchanged(subscription):
    payload = payload_of(subscription, url="/orders/7")
    assert payload["notification"]["navigate"] == "https://shop.example.com/orders/7"
    assert "events" not in payload
