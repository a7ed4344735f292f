"""Rate limits: `RATE_LIMITS = {"subscribe": "30/m"}`, counted per action and identity in Django's default cache.

The identity is the signed-in user, or the client's IP address. Windows are fixed by the clock, so `Retry-After` is
exact. If the cache fails, no rate limit applies; MAX_SUBSCRIPTIONS_PER_USER is enforced in the database.
"""

from __future__ import annotations

import logging
import re
import time
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.translation import gettext as _

from django_webpush_kit.api.errors import ApiError, ErrorCode
from django_webpush_kit.caching import scoped_key
from django_webpush_kit.conf import kit_settings
from django_webpush_kit.error_reports import log_warning

_logger = logging.getLogger(__name__)

PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def check_rate(request: HttpRequest, action: str, user: Any = None) -> None:
    """Count one request. Raises the 429 error with `Retry-After` if the limit of `action` is exceeded."""
    rate = kit_settings.RATE_LIMITS.get(action)
    if not rate:
        return
    limit, period = parse_rate(rate)
    now = time.time()
    window = int(now // period)
    identity = f"user {user.pk}" if user is not None else f"address {_network(client_address(request))}"
    if _count(f"{action} {identity} {period} {window}", period) > limit:
        seconds = max(1, int((window + 1) * period - now) + 1)
        message = _("Too many requests; try again in %(seconds)d seconds.") % {"seconds": seconds}
        raise ApiError(ErrorCode.THROTTLED, message, headers={"Retry-After": str(seconds)})


@lru_cache(maxsize=64)
def parse_rate(rate: str) -> tuple[int, int]:
    """Return (requests, seconds) for a rate: "30/m" is (30, 60). Raises `ImproperlyConfigured` for a malformed rate."""
    match = re.fullmatch(r"([0-9]+)/([smhd])", rate)
    if match is None:
        raise ImproperlyConfigured(
            f'WEBPUSH_KIT["RATE_LIMITS"]: {rate!r} must be a number, a slash and s, m, h or d, such as "30/m".'
        )
    return int(match[1]), PERIODS[match[2]]


def client_address(request: HttpRequest) -> str | None:
    """Return the client's IP address, or None if it is unknown.

    `TRUSTED_PROXIES` is the number of proxies whose entries in `X-Forwarded-For` are trusted. A server on a Unix socket
    sees no address; the proxy that connects to it is trusted.
    """
    peer = parse_address(str(request.META.get("REMOTE_ADDR", "")))
    proxies = kit_settings.TRUSTED_PROXIES or (0 if peer else 1)
    if not proxies:
        return peer
    # Each proxy appends the address it sees; the client may have written the entries to the left.
    hops = list(filter(None, map(str.strip, request.headers.get("X-Forwarded-For", "").split(","))))
    return parse_address(hops[-proxies]) if len(hops) >= proxies else peer


def parse_address(text: str) -> str | None:
    """Return the IP address in an entry of `X-Forwarded-For`, or None.

    Proxies write `203.0.113.7`, `203.0.113.7:17085`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:443`, with or
    without quotes.
    """
    match = _ADDRESS_AND_PORT.fullmatch(text.strip().strip('"'))
    try:
        address = ip_address(match[1] or match[2] if match else text.strip().strip('"'))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # IPv6 servers see IPv4 clients as ::ffff:192.0.2.7. A scope such as %eth0 does not belong to the address.
        return str(address.ipv4_mapped or IPv6Address(int(address)))
    return str(address)


_ADDRESS_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.%\w-]+)\]|([0-9]+(?:\.[0-9]+){3}))(?::[0-9]{1,5})?")


def _network(address: str | None) -> str:
    """Return the network to count by: an IPv6 client usually controls a whole /64."""
    if address is None:
        return "unknown"
    parsed = ip_address(address)
    return str(IPv6Address(int(parsed) >> 64 << 64)) if parsed.version == 6 else address


def _count(name: str, period: int) -> int:
    key = scoped_key("rate", name)
    try:
        cache.add(key, 0, timeout=period * 2)
        return cache.incr(key)
    except ValueError:
        return 1  # the key was evicted between the two calls
    except Exception as error:  # noqa: BLE001 - cache backends raise different exceptions when their server is down
        log_warning(_logger, "The cache is not available; rate limits are not applied", error=error)
        return 0
