"""Every page of ours in the admin of the example site, filled with its sample history."""

from __future__ import annotations

import os
from typing import Any

from example_project.backstage.running import Studio
from tests.browser.browser import Browser
from tests.browser.studio import ROOT, select, send_form
from tests.browser.waiting import wait_until

ADMIN = "/admin/webpush_kit"

PAGES = {
    "index": "/admin/",
    "dashboard": f"{ADMIN}/workerheartbeat/dashboard/",
    "workers": f"{ADMIN}/workerheartbeat/",
    "push-services": f"{ADMIN}/pushservicestate/",
    "push-service": f"{ADMIN}/pushservicestate/{{service}}/change/",
    "idempotency-keys": f"{ADMIN}/idempotencykey/",
    "notifications": f"{ADMIN}/pushnotification/",
    "notifications-search": f"{ADMIN}/pushnotification/?q=title:kiln&status=sent",
    "notification": f"{ADMIN}/pushnotification/{{sent}}/change/",
    "notification-failed": f"{ADMIN}/pushnotification/{{failed}}/change/",
    "notification-again": f"{ADMIN}/pushnotification/{{again}}/again/",
    "statistics": f"{ADMIN}/pushnotification/statistics/?days=90",
    "events": f"{ADMIN}/notificationanalytics/",
    "event": f"{ADMIN}/notificationanalytics/{{event}}/change/",
    "subscriptions": f"{ADMIN}/pushsubscription/",
    "subscription": f"{ADMIN}/pushsubscription/{{subscription}}/change/",
    "templates": f"{ADMIN}/notificationtemplate/",
    "template": f"{ADMIN}/notificationtemplate/{{template}}/change/",
    "template-add": f"{ADMIN}/notificationtemplate/add/",
    "broadcasts": f"{ADMIN}/pushbroadcast/",
    "composer": f"{ADMIN}/pushbroadcast/add/?audience=sample",
    "broadcast": f"{ADMIN}/pushbroadcast/{{running}}/change/",
    "broadcast-finished": f"{ADMIN}/pushbroadcast/{{finished}}/change/",
    "broadcast-review": f"{ADMIN}/pushbroadcast/add/",
}
"""The path of each page; the keys of rows are those of `find_rows`. "broadcast-review" is the answer to a form."""

ROWS = {
    "sent": "SELECT max(notification_id) FROM webpush_kit_notificationanalytics WHERE action_type = 'action_clicked'",
    "failed": "SELECT max(id) FROM webpush_kit_pushnotification WHERE status = 'failed'",
    "again": "SELECT max(n.id) FROM webpush_kit_pushnotification n JOIN webpush_kit_pushsubscription s"
    " ON s.id = n.subscription_id WHERE n.status = 'sent' AND s.is_active AND s.user_id = n.user_id",
    "event": "SELECT max(id) FROM webpush_kit_notificationanalytics",
    "subscription": "SELECT min(id) FROM webpush_kit_pushsubscription WHERE is_active",
    "template": "SELECT id FROM webpush_kit_notificationtemplate WHERE type = 'booking_confirmed' AND language = ''",
    "running": "SELECT max(id) FROM webpush_kit_pushbroadcast WHERE status = 'running'",
    "finished": "SELECT max(id) FROM webpush_kit_pushbroadcast WHERE status = 'completed'",
    "service": "SELECT min(id) FROM webpush_kit_pushservicestate",
}

TROUBLE = """
from datetime import timedelta
from django.utils import timezone
from django_webpush_kit.models import IdempotencyKey, PushServiceState, WorkerHeartbeat
now = timezone.now()
WorkerHeartbeat.objects.create(
    name="web1:4711", version="0.1.0", command="deliver_push --loop", is_loop=True, started_at=now - timedelta(hours=5),
    seen_at=now, swept_at=now, rows=18234, per_minute=412.0, clock_difference=0.1)
WorkerHeartbeat.objects.create(
    name="web2:4712", version="0.1.0", command="qcluster", started_at=now - timedelta(hours=7), rows=931,
    seen_at=now - timedelta(hours=2), ended_at=now - timedelta(hours=2), ending="stopped by a signal")
PushServiceState.objects.create(
    push_service="updates.push.services.mozilla.com", paused_until=now + timedelta(minutes=4), failures=3,
    reason="outage: HTTP 503")
PushServiceState.objects.create(
    push_service="fcm.googleapis.com", rate=950, rate_changed_at=now, permits_until=now)
IdempotencyKey.objects.create(key_hash="5" * 64, batch="00000000-0000-4000-8000-000000000001", queued=3)
"""
"""Rows that a site has after some trouble."""


def fill(studio: Studio) -> None:
    """Write what the pages show."""
    studio.manage("seed_history")
    studio.manage("shell", "-c", TROUBLE)


def log_in(browser: Browser, studio: Studio) -> None:
    """Sign in to the admin."""
    browser.open(f"{studio.origin}/admin/login/")
    send_form(browser, "form:has([name=password])", f"{studio.origin}/", _LOGIN)  # themes lead to the site


def find_rows(studio: Studio) -> dict[str, Any]:
    """Return the primary keys of the rows whose pages are opened."""
    return {name: select(studio, sql)[0][0] for name, sql in ROWS.items()}


def open_page(browser: Browser, studio: Studio, name: str, rows: dict[str, Any]) -> None:
    """Open a page of `PAGES`."""
    browser.open(studio.origin + PAGES[name].format(**rows))
    if name == "broadcast-review":
        message = {"content": "text", "title": "Open day", "body": "On Saturday from 10.", "audience": "sample"}
        send_form(browser, "#pushbroadcast_form", f"{studio.origin}{PAGES[name]}", message)
        wait_until(lambda: browser.run("return !!document.querySelector('[name=confirmed]')"), "the page that asks")


def theme_environment(theme: str) -> dict[str, str]:
    """Return the environment of a site whose admin has a theme of another package: "unfold" or "jazzmin"."""
    if not theme:
        return {}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "example_project")])
    return {"DJANGO_SETTINGS_MODULE": "tests.browser.theme_settings", "PYTHONPATH": paths, "STUDIO_THEME": theme}


_LOGIN = {"username": "admin", "password": "studio"}
