"""What tests do on the pages of `lab_site`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from example_project.backstage.running import Studio
from tests.browser.browser import Browser
from tests.browser.studio import open_site, relayed_to, select
from tests.browser.waiting import wait_until

_numbers = count(1)


@contextmanager
def open_lab(browser: Browser, folder: Path, *, port: int = 0, **environment: str) -> Iterator[Studio]:
    """Serve the example site with the pages of `lab_site`; what it sends goes to the browser's push service."""
    settings = {"DJANGO_SETTINGS_MODULE": "tests.browser.lab_settings", **relayed_to(browser), **environment}
    with open_site(folder, port=port, **settings) as studio:
        browser.allow_notifications(studio.origin)
        yield studio


def visit_lab(browser: Browser, studio: Studio, path: str = "/lab/") -> None:
    """Open a page whose head says nothing; scripts find `makePush(options)` and `codeOf(promise)` there."""
    browser.open(studio.origin + path)
    wait_until(lambda: browser.run("return Boolean(window.makePush)"), "the page's script")


def sign_in(browser: Browser, username: str) -> None:
    """Sign another user in, without a page load."""
    browser.run(
        "await fetch('/turbo/login/', {method: 'POST', body: new URLSearchParams({username: arguments[0]})})", username
    )


def sign_out(browser: Browser) -> None:
    """End the session without a page load, as if it had expired."""
    browser.run("await fetch('/lab/sign-out/', {method: 'POST'})")


def forget_origin(browser: Browser, studio: Studio) -> None:
    """Leave no worker, subscription and storage of the page's origin, and no active subscription on the server."""
    browser.run(
        """
        for (const one of await navigator.serviceWorker.getRegistrations()) {
            await (await one.pushManager.getSubscription())?.unsubscribe();
            await one.unregister();
        }
        localStorage.clear();
        sessionStorage.clear();
        for (const { name } of await indexedDB.databases()) indexedDB.deleteDatabase(name);
        """
    )
    with closing(sqlite3.connect(studio.folder / "db.sqlite3", timeout=20)) as database, database:
        database.execute("UPDATE webpush_kit_pushsubscription SET is_active = 0, deactivated_at = datetime('now')")


def new_title(what: str) -> str:
    """A title that no other notification has had: desktops keep those of other tests."""
    return f"{what} {next(_numbers)}"


def push(studio: Studio, username: str, title: str, *options: str) -> None:
    """Send a notification to all browsers of a user."""
    studio.manage("push_send", username, title, "--now", *options)


def count_alerts(browser: Browser, title: str) -> int:
    """How often the user was shown this."""
    return [alert.title for alert in browser.alerts()].count(title)


def owners(studio: Studio) -> list[str]:
    """The users of the active subscriptions."""
    query = (
        "SELECT username FROM webpush_kit_pushsubscription subscription JOIN auth_user ON auth_user.id = user_id"
        " WHERE subscription.is_active ORDER BY subscription.id"
    )
    return [name for (name,) in select(studio, query)]


def reports_of(studio: Studio, title: str) -> list[str]:
    """What the worker has reported of the notifications with this title."""
    query = (
        "SELECT event.action_type FROM webpush_kit_notificationanalytics event"
        " JOIN webpush_kit_pushnotification notification ON notification.id = event.notification_id"
        f" WHERE notification.title = '{title}' ORDER BY event.id"
    )
    return [action for (action,) in select(studio, query)]


def subscriptions(browser: Browser) -> dict[str, str]:
    """The endpoints that the browser has for the page's origin, by path of the worker's scope."""
    found: dict[str, Any] = browser.run(
        """
        const found = {};
        for (const { scope, pushManager } of await navigator.serviceWorker.getRegistrations()) {
            const subscription = await pushManager.getSubscription();
            if (subscription) found[new URL(scope).pathname] = subscription.endpoint;
        }
        return found;
        """
    )
    return found
