"""Settings read through, and the keyring."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from django_webpush_kit.conf import KitSettings, Setting, kit_settings, vapid_keyring
from django_webpush_kit.protocol.vapid import generate_vapid_keys


def test_a_setting_is_read_from_an_instance_and_described_by_the_class(settings):
    settings.WEBPUSH_KIT = {"MAX_RETRIES": 7}
    assert kit_settings.MAX_RETRIES == 7
    assert isinstance(KitSettings.MAX_RETRIES, Setting)


def test_a_subscription_without_a_key_id_uses_the_current_key():
    keyring = vapid_keyring()
    assert keyring.find("") is keyring.current
    assert keyring.find(keyring.current.key_id) is keyring.current
    assert keyring.find("unknown") is None


@pytest.mark.parametrize("name", ["VAPID_PRIVATE_KEY", "VAPID_FALLBACK_PRIVATE_KEYS"])
def test_djangos_error_reports_show_no_key(push_settings, name):
    """Neither one that works, nor one with a slip in it, which is in the hands of the function that fails."""
    secret = generate_vapid_keys()["private_key"]
    broken = secret[:-30]
    given = {"VAPID_PRIVATE_KEY": broken} if name == "VAPID_PRIVATE_KEY" else {name: [secret, broken]}
    push_settings(**given)
    with pytest.raises(ImproperlyConfigured, match=name) as caught:
        vapid_keyring()
    request = RequestFactory().get("/")
    reporter = ExceptionReporter(request, caught.type, caught.value, caught.tb.tb_next)  # without the test itself
    for report in (reporter.get_traceback_html(), reporter.get_traceback_text()):
        assert name in report
        assert secret[10:40] not in report
