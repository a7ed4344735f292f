"""The family of a browser, from its user agent or its push service."""

from __future__ import annotations

import re
from functools import lru_cache

# The first match counts, because most browsers also name other browsers in their user agent.
FAMILIES = (
    ("Edge", r"\bEdg(?:e|A|iOS)?/"),
    ("Opera", r"\bOPR/|\bOpera"),
    ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\bFirefox/|\bFxiOS/"),
    ("Chrome", r"\bChrom(?:e|ium)/|\bCriOS/"),
    ("Safari", r"\bSafari/|\bAppleWebKit/"),
)

OTHER = "other"

_NAMES = frozenset(name for name, _pattern in FAMILIES)

_BY_PUSH_SERVICE = (("mozilla.com", "Firefox"), ("apple.com", "Safari"), ("windows.com", "Edge"))


def browser_family(user_agent: str) -> str:
    """Return the browser's name in FAMILIES, such as "Firefox", or ""."""
    return next((name for name, pattern in FAMILIES if re.search(pattern, user_agent)), "")


def browser_name(stored: str) -> str:
    """Return the family in a stored user agent, which may be the family itself; "" if it is unknown."""
    return stored if stored in _NAMES else browser_family(stored)


@lru_cache(maxsize=4096)
def browser_of(user_agent: str, push_service: str) -> str:
    """Return the family of a subscription's browser.

    `user_agent` is a stored user agent, or already a family. Without one, the push service tells: FCM serves several
    browsers ("Chromium"), the others one.
    """
    if name := browser_name(user_agent):
        return name
    if push_service.endswith(("googleapis.com", "google.com")):
        return "Chromium"
    return next((name for host, name in _BY_PUSH_SERVICE if push_service.endswith(host)), OTHER)
