"""The transport and signers a worker keeps."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.delivery.transport import close_transport, get_transport, request_seconds, transport_spec
from django_webpush_kit.transports import LocmemTransport, PyWebPushTransport


def kit(settings, **values):
    settings.WEBPUSH_KIT = {**settings.WEBPUSH_KIT, **values}


def test_the_transport_is_kept_while_the_settings_stay_and_replaced_when_they_change(settings):
    first = get_transport()
    assert isinstance(first, LocmemTransport)
    assert get_transport() is first
    kit(settings, TRANSPORT="django_webpush_kit.transports.PyWebPushTransport")
    assert isinstance(get_transport(), PyWebPushTransport)
    close_transport()
    close_transport()
    assert get_transport() is not first


def test_auto_is_curl_where_pycurl_is_installed(settings, monkeypatch):
    kit(settings, TRANSPORT="auto")
    monkeypatch.setattr("django_webpush_kit.delivery.transport.find_spec", lambda name: None)
    assert transport_spec()[0].endswith(".PyWebPushTransport")


def test_auto_names_curl_when_it_can(settings):
    pytest.importorskip("pycurl")
    kit(settings, TRANSPORT="auto")
    assert transport_spec()[0].endswith(".CurlTransport")


def test_a_request_never_takes_longer_than_half_a_lease(settings):
    path = "django_webpush_kit.transports.PyWebPushTransport"
    kit(settings, TRANSPORT=path)
    assert request_seconds() == 30
    kit(settings, TRANSPORT={"BACKEND": path, "OPTIONS": {"timeout": 7}})
    assert request_seconds() == 7
    kit(settings, TRANSPORT=path, LEASE_SECONDS=10)
    assert request_seconds() == 5


def test_an_unknown_option_names_the_setting(settings):
    path = "django_webpush_kit.transports.PyWebPushTransport"
    kit(settings, TRANSPORT={"BACKEND": path, "OPTIONS": {"speed": "high"}})
    with pytest.raises(ImproperlyConfigured, match=r'WEBPUSH_KIT\["TRANSPORT"\].*speed'):
        get_transport()
