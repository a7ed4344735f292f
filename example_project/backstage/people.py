"""The cast: members who use the site over HTTP, as people with browsers do."""

from urllib.parse import urljoin

import requests

from django_webpush_kit.testing import FakeBrowser


class Member:
    """Somebody with a session on the site and any number of browsers. Every method is a real HTTP request."""

    def __init__(self, origin, username, name):
        self.origin = origin
        self.username = username
        self.name = name
        self.browsers = {}
        self._http = requests.Session()
        self._http.trust_env = False  # proxies of the environment are for other places than loopback

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._http.close()

    def log_in(self, password):
        page = self._post("/login/", username=self.username, password=password)
        if page.url.endswith("/login/"):
            raise AssertionError(f"{self.name} cannot log in.")

    def subscribe(self, push_service, device, *, language):
        """Do what `webpush-kit.js` does behind the button: ask for the key, subscribe, tell the server."""
        config = self.get("/api/v1/push/config").json()
        browser = FakeBrowser(push_service, config["public_key"], client=self.origin)
        reply = self._http.post(
            urljoin(self.origin, config["urls"]["subscribe"]),
            json={"subscription": browser.subscribe(), "language": language, "timezone": "Europe/Berlin"},
            headers={"X-CSRFToken": self._csrf_token("/notifications/")},
            timeout=30,
        )
        if reply.status_code != 201:
            raise AssertionError(f"subscribe answered {reply.status_code}: {reply.text[:300]}")
        self.browsers[device] = browser

    def book(self, course):
        """Book on the courses page, and return the address of the booking's page."""
        page = self._post(f"/courses/{course.pk}/book/", form_on="/")
        if "/bookings/" not in page.url:
            raise AssertionError(f"{self.name} could not book {course}.")
        return page.url.removeprefix(self.origin)

    def cancel(self, booking_path):
        self._post(f"{booking_path}cancel/", form_on=booking_path)

    def get(self, path):
        """Open a page, which must exist."""
        page = self._http.get(urljoin(self.origin, path), timeout=30)
        page.raise_for_status()
        return page

    def _post(self, path, *, form_on="", **fields):
        token = self._csrf_token(form_on or path)
        page = self._http.post(urljoin(self.origin, path), {**fields, "csrfmiddlewaretoken": token}, timeout=30)
        page.raise_for_status()
        return page

    def _csrf_token(self, page):
        self.get(page)
        return self._http.cookies["csrftoken"]
