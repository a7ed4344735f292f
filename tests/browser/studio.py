"""The example site with its cluster, served for real, and what a member does there in a browser."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from example_project.backstage.running import Studio
from tests.browser.browser import Browser
from tests.browser.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
POTTERY = "Pottery for the Impatient 🏺"


@contextmanager
def open_site(folder: Path, *, port: int = 0, **environment: str) -> Iterator[Studio]:
    """Serve the site whose data are in a folder, set up there unless it is; nothing delivers.

    With the `port` of an earlier site, browsers take it for the same origin.
    """
    environment = {"STUDIO_ALLOW_PRIVATE_ENDPOINTS": "1", **environment}
    with Studio(folder, port=port, environment=environment) as studio:
        if not (folder / "db.sqlite3").exists():
            studio.set_up()
        studio.start_site()
        yield studio


def collect_static_files(folder: Path, environment: dict[str, str]) -> None:
    """For settings whose storage renames them."""
    with Studio(folder, environment=environment) as studio:
        studio.manage("collectstatic", "--noinput", "--verbosity=0")


@contextmanager
def open_studio(folder: Path, **environment: str) -> Iterator[Studio]:
    """The same with the cluster that delivers."""
    with open_site(folder, **environment) as studio:
        studio.start_cluster()
        yield studio


def relayed_to(browser: Browser) -> dict[str, str]:
    """The environment of a site that sends to this browser's push service."""
    return {
        "STUDIO_TRANSPORT": "tests.browser.relay.RelayTransport",
        "TEST_PUSH_ORIGIN": browser.push_service.origin,
        "PYTHONPATH": str(ROOT),
    }


def log_in(browser: Browser, studio: Studio, username: str) -> None:
    browser.open(f"{studio.origin}/login/")
    send_form(browser, "form:has([name=password])", f"{studio.origin}/", {"username": username, "password": "studio"})


def toggle_state(browser: Browser) -> str:
    state: str = browser.run("return document.querySelector('webpush-toggle')?.getAttribute('state') ?? ''")
    return state


def subscribe(browser: Browser, studio: Studio, username: str, page: str = "/notifications/") -> None:
    """Log in, and press the switch on a page."""
    browser.allow_notifications(studio.origin)
    log_in(browser, studio, username)
    browser.open(f"{studio.origin}{page}")
    wait_until(lambda: toggle_state(browser) == "off", "the switch to be off")
    browser.click("webpush-toggle button")
    wait_until(lambda: toggle_state(browser) == "on", "the switch to be on")


def book(browser: Browser, studio: Studio, title: str) -> str:
    """Press the button on the course's card, and return the address of the booking's page."""
    browser.open(f"{studio.origin}/")
    card = [*find_cards(browser)].index(title) + 1
    return send_form(browser, f".card:nth-child({card}) form", f"{studio.origin}/bookings/")


def find_cards(browser: Browser) -> list[str]:
    titles: list[str] = browser.run("return [...document.querySelectorAll('.card h2')].map(h => h.textContent)")
    return titles


def send_form(browser: Browser, selector: str, leads_to: str, fields: dict[str, str] | None = None) -> str:
    """Fill in a form, send it, wait for the page that follows, and return its address."""
    browser.run(
        """
        const form = document.querySelector(arguments[0]);
        for (const [name, value] of Object.entries(arguments[1])) form.elements[name].value = value;
        setTimeout(() => form.requestSubmit());
        """,
        selector,
        fields or {},
    )
    where = "return document.readyState === 'complete' ? location.href : ''"

    def find_next_page() -> str:
        address = browser.run(where) or ""  # None between two pages
        return address if address.startswith(leads_to) and not address.endswith("/login/") else ""

    return wait_until(find_next_page, f"a page below {leads_to}")


def select(studio: Studio, sql: str) -> list[tuple[Any, ...]]:
    """Ask the site's database."""
    with closing(sqlite3.connect(f"file:{studio.folder}/db.sqlite3?mode=ro", uri=True)) as database:
        return database.execute(sql).fetchall()


def events(studio: Studio) -> list[tuple[str, str]]:
    """The type of each notification and what became of it, in the order of the reports."""
    return select(
        studio,
        "SELECT notification.type, event.action_type FROM webpush_kit_notificationanalytics event"
        " JOIN webpush_kit_pushnotification notification ON notification.id = event.notification_id ORDER BY event.id",
    )
