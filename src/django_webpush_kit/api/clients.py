"""Decide how much of a client's user agent and IP address is stored (setting `STORE_CLIENT_INFO`)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from django_webpush_kit.api.throttling import client_address
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.rollups.browsers import browser_family

MAX_USER_AGENT = 400

# The first match counts, because most browsers also name other browsers in their user agent.


def client_info(request: HttpRequest) -> dict[str, Any]:
    """Return `{"user_agent", "ip_address"}`. Without `STORE_CLIENT_INFO`, only the name of the browser."""
    user_agent = request.headers.get("User-Agent", "")
    if not kit_settings.STORE_CLIENT_INFO:
        return {"user_agent": browser_family(user_agent), "ip_address": None}
    printable = "".join(character for character in user_agent[:MAX_USER_AGENT] if character.isprintable())
    return {"user_agent": printable, "ip_address": client_address(request)}
