"""The transports that send nothing, and the package itself."""

import io
import json
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit import transports
from django_webpush_kit.protocol.endpoints import EndpointPolicy
from django_webpush_kit.transports import ConsoleTransport, LocmemTransport, PushResponse, Transport, curl, locmem

ENDPOINT = "https://fcm.googleapis.com/fcm/send/secret"


@pytest.fixture(autouse=True)
def _empty():
    locmem.sent.clear()
    locmem.answers.clear()


def test_locmem_stores_requests(browser):
    requests = [browser.request(ENDPOINT, id=number) for number in range(3)]
    responses = list(LocmemTransport(endpoint_policy=EndpointPolicy()).send(requests))
    assert [(response.id, response.status) for response in responses] == [(0, 201), (1, 201), (2, 201)]
    assert locmem.sent == requests


def test_locmem_gives_scripted_answers_first(browser):
    locmem.answers.append(PushResponse(id=None, status=429, headers={"retry-after": "5"}))
    locmem.answers.append(PushResponse(id=None, error="timed out"))
    responses = list(LocmemTransport().send([browser.request(ENDPOINT, id=number) for number in range(3)]))
    assert [(response.id, response.status, response.error) for response in responses] == [
        (0, 429, ""),
        (1, None, "timed out"),
        (2, 201, ""),
    ]
    assert responses[0].headers == {"retry-after": "5"}


def test_locmem_pulls_lazily(browser):
    responses = LocmemTransport().send(browser.request(ENDPOINT, id=number) for number in range(3))
    next(responses)
    assert len(locmem.sent) == 1


def test_console_prints_the_message_but_no_secrets(browser):
    stream = io.StringIO()
    payload = json.dumps({"notification": {"title": "Grüße"}}).encode()
    request = browser.request(ENDPOINT, payload=payload, topic="news", urgency="high")
    (response,) = ConsoleTransport(stream=stream).send([request])
    assert response.status == 201
    text = stream.getvalue()
    assert text.startswith("Web push to fcm.googleapis.com: ttl 60, urgency high, topic news\n{")
    assert '"title": "Grüße"' in text
    for secret in ("secret", browser.auth, browser.p256dh, "vapid"):
        assert secret not in text


def test_console_prints_payloads_that_are_not_json(browser, capsys):
    list(ConsoleTransport().send([browser.request(ENDPOINT, payload=b"\xff")]))
    assert capsys.readouterr().out.startswith("Web push to fcm.googleapis.com: ttl 60, urgency normal\nb'\\xff'\n")


@pytest.mark.parametrize("transport_class", [LocmemTransport, ConsoleTransport])
def test_an_unknown_option_is_a_type_error(transport_class):
    with pytest.raises(TypeError, match="timeout"):
        transport_class(timeout=3)


def test_repr_of_a_request_hides_its_secrets(browser):
    assert repr(browser.request(ENDPOINT, id=7)) == "PushRequest(id=7, ttl=60, urgency='normal', topic='')"


def test_the_base_class_requires_send(browser):
    with pytest.raises(NotImplementedError):
        Transport().send([])
    assert Transport().close() is None


def test_every_public_name_can_be_imported():
    for name in transports.__all__:
        assert getattr(transports, name).__name__ if name[0].isupper() and not name.isupper() else True
    with pytest.raises(AttributeError, match="SmtpTransport"):
        _ = transports.SmtpTransport


def test_curl_without_pycurl_names_the_extra(monkeypatch):
    monkeypatch.setattr(curl, "pycurl", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install django-webpush-kit\[curl\]"):
        curl.CurlTransport()


def test_the_package_can_be_imported_without_pycurl_and_loads_no_client():
    script = """
import sys
sys.modules["pycurl"] = None
import django_webpush_kit.transports as transports
assert not {"aiohttp", "pywebpush", "requests"} & set(sys.modules)
try:
    transports.CurlTransport()
except Exception as error:
    print(type(error).__name__)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == "ImproperlyConfigured\n"
