from __future__ import annotations

import subprocess
import sys

import pytest

from django_webpush_kit import services
from django_webpush_kit.conf import kit_settings, vapid_keyring
from django_webpush_kit.models import get_analytics_model
from django_webpush_kit.testing import FakeBrowser

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("transport", ["CurlTransport", "PyWebPushTransport"])
def test_a_message_travels_from_send_to_the_browser_and_its_events_back(
    fake_browser, push_settings, client, django_capture_on_commit_callbacks, transport
):
    if transport == "CurlTransport":
        pytest.importorskip("pycurl")
    push_settings(TRANSPORT=f"django_webpush_kit.transports.{transport}")
    browser = fake_browser(client=client)
    browser.subscribe()
    subscription = services.subscribe(**browser.subscription_fields)
    with django_capture_on_commit_callbacks(execute=True):
        services.send(subscription, "Booked", "Studio 1", url="/bookings/1")
    browser.wait_for(1)
    (shown,) = browser.shown
    assert (shown.title, shown.body, shown.url) == ("Booked", "Studio 1", "/bookings/1")

    answers = [report.response.status_code for report in (*browser.deliver(), browser.click(shown))]
    assert answers == [200, 200]
    recorded = get_analytics_model().objects.values_list("action_type", flat=True)
    assert sorted(recorded) == ["clicked", "delivered"]
    assert browser.opened == ["/bookings/1"]


def test_a_browser_uses_the_key_of_the_settings_unless_another_is_given(fake_browser, fake_push_service):
    assert isinstance(fake_browser(), FakeBrowser)
    assert fake_browser().application_server_key == vapid_keyring().current.public_key
    assert fake_browser("other", client=print).application_server_key == "other"
    assert kit_settings.ALLOW_PRIVATE_ENDPOINTS
    assert fake_push_service.requests == []


def test_the_outbox_fixture_is_empty_at_first_and_afterwards(push_outbox, request):
    assert push_outbox == []
    assert kit_settings.TRANSPORT == "django_webpush_kit.transports.LocmemTransport"


@pytest.mark.thorough
def test_the_plugin_ignores_projects_without_django(tmp_path):
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n"
        "def test_nothing():\n"
        "    assert 'django_webpush_kit.testing.pytest_plugin' in sys.modules\n"
        "    loaded = [name for name in sys.modules if name.partition('.')[0] in ('django', 'aiohttp')]\n"
        "    assert loaded == []\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_names_of_the_testing_kit_are_loaded_on_first_use():
    from django_webpush_kit import testing

    assert {name for name in testing.__all__ if hasattr(testing, name)} == set(testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Browser'"):
        _ = testing.Browser
