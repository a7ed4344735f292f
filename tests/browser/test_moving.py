"""Browsers that django-webpush has subscribed go on with our service worker, and keep their subscription."""

from __future__ import annotations

import pytest

from tests.browser.studio import log_in, open_site, relayed_to, select
from tests.browser.waiting import wait_until

pytest.importorskip("django_q", reason="the example site's task backend")
pytest.importorskip("webpush", reason="what is moved away from")
pytestmark = pytest.mark.browser

OURS = "SELECT endpoint, is_active FROM webpush_kit_pushsubscription"
WORKER = "return (await navigator.serviceWorker.getRegistration('/webpush/'))?.active?.scriptURL ?? ''"


def test_a_subscription_of_django_webpush_is_taken_over(browser, studio_folder):
    environment = {**relayed_to(browser), "DJANGO_SETTINGS_MODULE": "tests.browser.former_settings"}
    with open_site(studio_folder, **environment) as studio:
        studio.manage("migrate", "--verbosity=0")
        browser.allow_notifications(studio.origin)
        log_in(browser, studio, "zoe")
        browser.open(f"{studio.origin}/former/")
        wait_until(lambda: browser.run(WORKER), "django-webpush's worker")
        browser.click("#webpush-subscribe-button")
        theirs = wait_until(lambda: select(studio, "SELECT endpoint FROM webpush_subscriptioninfo"), "its subscription")

        assert studio.manage("push_import_django_webpush").splitlines()[0] == "Imported: 1"
        assert select(studio, OURS) == [(theirs[0][0], 1)]

        browser.open(f"{studio.origin}/webpush/present/")
        wait_until(lambda: browser.run(WORKER).endswith("/push/service-worker.js"), "our worker in its place")
        studio.manage("push_send", "zoe", "Moved in", "--now")
        browser.wait_for_notification("Moved in")
        assert select(studio, OURS) == [(theirs[0][0], 1)]
