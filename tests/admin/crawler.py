"""A member of staff who opens every link of the admin and presses every button that its pages show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

from django.db import transaction
from django.test import Client
from django.urls import reverse

MAX_STEPS = 3
"""Pages that follow a button: a question, the page after its answer, and one more."""

MAX_FILTERS = 1
"""Filters of a list that are used together."""

NOT_TEXT = ("submit", "button", "reset", "image", "file")


@dataclass
class Form:
    """A form of a page: where it goes, its fields as they stand, and its buttons."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)
    boxes: list[tuple[str, str]] = field(default_factory=list)
    buttons: list[dict[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """The links and the forms of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._select = ""
        self._area: tuple[str, list[str]] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Note a link, a form or a field."""
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "form":
            self._form = Form(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._form)
        elif self._form is not None:
            self._field(self._form, tag, given)

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a form or of a text area."""
        if tag == "form":
            self._form = None
        elif tag == "textarea" and self._area is not None and self._form is not None:
            name, parts = self._area
            self._form.fields.append((name, "".join(parts)))
            self._area = None

    def handle_data(self, data: str) -> None:
        """Note the content of a text area."""
        if self._area is not None:
            self._area[1].append(data)

    def _field(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name, kind = given.get("name", ""), given.get("type", "text").lower()
        if tag == "button" or (tag == "input" and kind == "submit"):
            form.buttons.append(given)
        elif tag == "select":
            self._select = name
            form.choices[name] = []
        elif tag == "option":
            form.choices[self._select].append(given.get("value", ""))
            if "selected" in given:
                form.fields.append((self._select, given.get("value", "")))
        elif tag == "textarea":
            self._area = (name, [])
        elif tag == "input" and name and kind not in NOT_TEXT:
            if kind not in ("checkbox", "radio") or "checked" in given:
                form.fields.append((name, given.get("value", "on" if kind == "checkbox" else "")))
            elif kind == "checkbox":
                form.boxes.append((name, given.get("value", "on")))


class Crawler:
    """Opens what a client can reach from the index. What a button changes is undone before the next.

    `refused` has what did not work: (status, how it was reached).
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._opened: set[Any] = set()
        self._pressed: set[Any] = set()
        self.refused: set[tuple[int, str]] = set()
        self.opened: list[str] = []
        self.pressed: list[str] = []

    def crawl(self) -> None:
        """Start at the index."""
        index = reverse("admin:index")
        waiting = [(index, "")]
        while waiting:
            url, origin = waiting.pop()
            if _kind(url) in self._opened or len(_kind(url)[1]) > MAX_FILTERS:
                continue
            self._opened.add(_kind(url))
            self.opened.append(url)
            response = self._client.get(url, follow=True)
            if not self._is_fine(response, f"{origin} -> GET {url}"):
                continue
            page = _page_of(response)
            here = response.redirect_chain[-1][0] if response.redirect_chain else url
            waiting += [(link, url) for link in self._links(page, here)]
            for form in page.forms:
                for data, action in _ways_to_send(form):
                    self._press(form, urljoin(here, action), data, url)

    def _links(self, page: Page, here: str) -> Iterator[str]:
        for link in page.links:
            parts = urlsplit(urljoin(here, link))
            if not parts.scheme and parts.path.startswith(reverse("admin:index")):
                yield parts._replace(fragment="").geturl()

    def _press(self, form: Form, url: str, data: list[tuple[str, str]], origin: str) -> None:
        buttons = {name: value for name, value in data if name in BUTTONS or name.startswith("_")}
        kind = (form.method, _kind(url), tuple(sorted(name for name, _value in data)), tuple(buttons.items()))
        if (
            urlsplit(url).path == reverse("admin:logout")
            or "/auth/" in url
            or form.method == "dialog"
            or kind in self._pressed
        ):
            return
        self._pressed.add(kind)
        self.pressed.append(f"{url} {buttons}")
        with transaction.atomic():
            self._send(form.method, url, data, f"{origin} -> {form.method.upper()} {url} {buttons}", MAX_STEPS)
            transaction.set_rollback(True)

    def _send(self, method: str, url: str, data: list[tuple[str, str]], origin: str, steps: int) -> None:
        fields: dict[str, list[str]] = {}
        for name, value in data:
            fields.setdefault(name, []).append(value)
        send = self._client.post if method == "post" else self._client.get
        response = send(url, fields, follow=True)
        if not self._is_fine(response, origin) or method != "post" or steps == 0 or response.redirect_chain:
            return
        for form in _page_of(response).forms:  # a page that asks
            if ("confirmed" in dict(form.fields) or "post" in dict(form.fields)) and form.method == "post":
                self._send("post", urljoin(url, form.action), form.fields, f"{origin} -> yes", steps - 1)

    def _is_fine(self, response: Any, origin: str) -> bool:
        if response.status_code >= 400:
            self.refused.add((response.status_code, origin))
        elif any(url.startswith(reverse("admin:login")) for url, _status in response.redirect_chain):
            self.refused.add((302, origin))
        elif b'<span class="errornote">' in b"".join(response):
            self.refused.add((500, f"{origin}: a part could not be shown"))
        return bool(response.status_code < 400)


BUTTONS = ("action", "control", "forget_rate")
"""The fields that say what a form does."""


def _page_of(response: Any) -> Page:
    if not response["Content-Type"].startswith("text/html"):
        return Page("")
    return Page(b"".join(response).decode())


def _kind(url: str) -> Any:
    """Pages that differ in the values of their query only are of the same kind, as is a list in another order."""
    parts = urlsplit(url)
    names = {name for name, _value in parse_qsl(parts.query, keep_blank_values=True)} - {"o", "_changelist_filters"}
    return parts.path, tuple(sorted(names))


def _ways_to_send(form: Form) -> Iterator[tuple[list[tuple[str, str]], str]]:
    """Yield what each button and each action of a form posts, and where."""
    for button in form.buttons:
        action = button.get("formaction", form.action)
        pressed = [(button["name"], button.get("value", ""))] if button.get("name") else []
        if "action" in form.choices and button.get("name") != "_save":
            boxes = [box for box in form.boxes if box[0] == "_selected_action"][:1]
            for choice in filter(None, form.choices["action"]):
                others = [(name, value) for name, value in form.fields if name != "action"]
                yield [*others, *boxes, ("action", choice), *pressed], action
        else:
            yield [*form.fields, *pressed], action
