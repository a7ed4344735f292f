"""The example site with its cluster, served for real, and what a member does there in a browser."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from example_project.backstage.running import Studio
from tests.browser.waiting import wait_until

POTTERY = "Töpfern für Ungeduldige 🏺"


class Browser(Protocol):
    """What Firefox and Chromium have in common here."""

    def open(self, url: str) -> None: ...
    def run(self, script: str, *arguments: Any) -> Any: ...


@contextmanager
def open_studio(folder: Path, **environment: str) -> Iterator[Studio]:
    """Set the site up in an empty folder and serve it."""
    with Studio(folder, environment={"STUDIO_ALLOW_PRIVATE_ENDPOINTS": "1", **environment}) as studio:
        studio.set_up()
        studio.start_site()
        studio.start_cluster()
        yield studio


def log_in(browser: Browser, studio: Studio, username: str) -> None:
    browser.open(f"{studio.origin}/login/")
    send_form(browser, "form:has([name=password])", f"{studio.origin}/", {"username": username, "password": "studio"})


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
