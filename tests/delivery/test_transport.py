"""The transport and signers a worker keeps."""

import subprocess
import sys
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.delivery.transport import (
    close_transport,
    get_transport,
    is_monkey_patched,
    request_seconds,
    transport_spec,
)
from django_webpush_kit.transports import LocmemTransport, PyWebPushTransport
from tests.transports.forking import in_child


def test_the_transport_is_replaced_only_when_the_settings_change(push_settings):
    first = get_transport()
    assert isinstance(first, LocmemTransport)
    assert get_transport() is first
    push_settings(TRANSPORT="django_webpush_kit.transports.PyWebPushTransport")
    assert isinstance(get_transport(), PyWebPushTransport)
    close_transport()
    close_transport()
    assert get_transport() is not first


def test_auto_is_curl_if_pycurl_is_installed(push_settings, monkeypatch):
    push_settings(TRANSPORT="auto")
    monkeypatch.setattr("django_webpush_kit.delivery.transport.find_spec", lambda name: None)
    assert transport_spec()[0].endswith(".PyWebPushTransport")


def test_auto_resolves_to_the_path_of_curl(push_settings):
    pytest.importorskip("pycurl")
    push_settings(TRANSPORT="auto")
    assert transport_spec()[0].endswith(".CurlTransport")


def test_a_request_never_takes_longer_than_half_a_lease(push_settings):
    path = "django_webpush_kit.transports.PyWebPushTransport"
    push_settings(TRANSPORT=path)
    assert request_seconds() == 30
    push_settings(TRANSPORT={"BACKEND": path, "OPTIONS": {"timeout": 7}})
    assert request_seconds() == 7
    push_settings(TRANSPORT=path, LEASE_SECONDS=10)
    assert request_seconds() == 5


def test_an_unknown_option_names_the_setting(push_settings):
    path = "django_webpush_kit.transports.PyWebPushTransport"
    push_settings(TRANSPORT={"BACKEND": path, "OPTIONS": {"speed": "high"}})
    with pytest.raises(ImproperlyConfigured, match=r'WEBPUSH_KIT\["TRANSPORT"\].*speed'):
        get_transport()


PORTABLE = "django_webpush_kit.transports.PyWebPushTransport"


def test_threads_share_the_transport(push_settings):
    push_settings(TRANSPORT=PORTABLE)
    found = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: found.append(get_transport()))
        thread.start()
        thread.join()
    assert found == [get_transport()] * 2
    close_transport()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_transport_of_its_own(push_settings):
    push_settings(TRANSPORT=PORTABLE)
    inherited = get_transport()

    def is_another():
        return get_transport() is not inherited and get_transport() is get_transport()

    assert in_child(is_another)
    assert get_transport() is inherited
    close_transport()


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("from gevent import monkey; monkey.patch_all()", id="gevent"),
        pytest.param("import eventlet; eventlet.monkey_patch()", id="eventlet"),
    ],
)
def test_auto_is_the_portable_transport_under_green_threads(code):
    pytest.importorskip("pycurl")
    pytest.importorskip(code.split()[1].rstrip(";"))
    code += (
        "; import warnings; from django.conf import settings; settings.configure(WEBPUSH_KIT={})"
        "; from django_webpush_kit.delivery.transport import transport_spec; print(transport_spec()[0])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert printed.strip() == PORTABLE


def test_importing_green_threads_without_patching_changes_nothing():
    pytest.importorskip("gevent.monkey")
    pytest.importorskip("eventlet.patcher")
    assert not is_monkey_patched()
