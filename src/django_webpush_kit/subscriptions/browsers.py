"""Validate the values that a browser sends when it subscribes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from ipaddress import IPv6Address, ip_address
from typing import Any

from django.utils import timezone as django_timezone
from django.utils.functional import Promise

from django_webpush_kit import conf
from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.option_checks import storable
from django_webpush_kit.protocol.encryption import parse_keys
from django_webpush_kit.protocol.endpoints import Endpoint
from django_webpush_kit.subscriptions.languages import language_tag
from django_webpush_kit.subscriptions.preferences import check_preferences, find_zone


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSubscription:
    """Validated values of a browser. Create it with `check`."""

    endpoint: Endpoint
    p256dh: str
    auth: str
    expiration_time: datetime | None = None
    preferences: Mapping[str, Any] | None = None
    language: str = ""
    timezone: str = ""
    user_agent: str = ""
    ip_address: str | None = None

    @classmethod
    def check(
        cls,
        *,
        endpoint: str,
        p256dh: str,
        auth: str,
        expiration_time: datetime | float | None = None,
        preferences: Mapping[str, Any] | None = None,
        language: str | None = "",
        timezone: str | None = "",
        user_agent: str | None = "",
        ip_address: str | None = None,
    ) -> BrowserSubscription:
        """Return validated values. Raises `InvalidSubscription` that names the invalid field.

        `expiration_time` is an aware datetime, or milliseconds since 1970 as browsers send it.
        """
        checked_endpoint = conf.endpoint_policy().check(endpoint)
        parse_keys(p256dh, auth)
        return cls(
            endpoint=checked_endpoint,
            p256dh=p256dh,
            auth=auth,
            expiration_time=_checked_expiration(expiration_time),
            preferences=None if preferences is None else check_preferences(preferences),
            language=_checked_language(language),
            timezone=_checked_time_zone(timezone),
            user_agent=checked_text("user_agent", user_agent),
            ip_address=_checked_address(ip_address),
        )


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _checked_expiration(value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            value = _EPOCH + timedelta(milliseconds=value)
        except (OverflowError, ValueError):
            raise _invalid("expiration_time", f"is out of range: {value!r}") from None
    if not isinstance(value, datetime) or django_timezone.is_naive(value):
        raise _invalid("expiration_time", "must be an aware datetime, or milliseconds since 1970, or None")
    if value <= django_timezone.now():
        raise _invalid("expiration_time", "has passed")
    return value


def _checked_language(value: object) -> str:
    tag = language_tag(checked_text("language", value))
    if tag is None:
        raise _invalid("language", f'must be a language tag such as "de" or "pt-br", not {str(value)[:50]!r}')
    return tag


def _checked_time_zone(value: object) -> str:
    name = checked_text("timezone", value)
    if name and find_zone(name) is None:
        raise _invalid("timezone", f'must be an IANA time zone such as "Europe/Berlin", not {name[:50]!r}')
    return name


def checked_text(name: str, value: object) -> str:
    """Return a text that databases can store, "" for None. Raises `InvalidSubscription` for other values."""
    if value is None:
        return ""
    if not isinstance(value, str | Promise):
        raise _invalid(name, f"must be text or None, not {type(value).__name__}")
    try:
        return storable(str(value))
    except Exception as error:
        raise _invalid(name, f"has a value that cannot be read ({type(error).__name__})") from error


def _checked_address(value: object) -> str | None:
    if value is None or value == "":
        return None
    try:
        address = ip_address(str(value))
    except ValueError:
        raise _invalid("ip_address", f"must be an IP address, not {str(value)[:50]!r}") from None
    # databases do not accept a scope such as %eth0
    return str(IPv6Address(int(address)) if isinstance(address, IPv6Address) else address)


def _invalid(name: str, problem: str) -> InvalidSubscription:
    return InvalidSubscription(f"{name} {problem}.", field=name)
