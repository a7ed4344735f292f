"""The README's quick start, as it stands there, in a real browser: from `startproject` to the shown notification."""

from __future__ import annotations

import pytest

from tests.browser.browser import Browser
from tests.browser.studio import send_form, toggle_state
from tests.browser.waiting import wait_until
from tests.host_project import PASSWORD
from tests.test_readme import quick_start

pytestmark = pytest.mark.browser


def test_the_quick_start_ends_with_a_notification_on_the_screen(firefox: Browser, push_service, tmp_path):
    blocks, first_message, host = quick_start(tmp_path)
    with host.served() as origin:
        firefox.allow_notifications(origin)
        firefox.open(f"{origin}/admin/login/")
        send_form(firefox, "#login-form", f"{origin}/", {"username": "admin", "password": PASSWORD})
        firefox.open(f"{origin}/")
        wait_until(lambda: toggle_state(firefox) == "off", "the switch to be off")
        firefox.click("webpush-toggle button")
        wait_until(lambda: toggle_state(firefox) == "on", "the switch to be on")
        host.do(*blocks[first_message])
        assert firefox.wait_for_notification("It works! 🎉")["body"] == "Hello from Django."
